"""A diagnosis: findings about every request of a case, the verdict that they carry, and what is missing. Pure.

The verdict is by the book's own entries, prices and rules. What an answer shows to be charged wrongly is upheld; where
the charge follows the rules and the claim has a point all the same (a dearer model answered than the one asked for), it
is partly upheld, and the amount is what a concession would be.
"""

from collections.abc import Sequence
from typing import Final

from tollbook.core.money import format_amount
from tollbook.disputes.inquiry import Document, Finding, Inquiry, WhatIf, pico
from tollbook.disputes.questions import ask
from tollbook.journal.casework import Expected

_SHOWN: Final = 20
"""Of a case about many requests, so many are told question by question; all are counted."""


def diagnose(case: str, expected: Expected | None, inquiries: Sequence[Inquiry], release: str) -> Document:
    """The diagnosis as it is put on record and printed: the shape of docs/reference/schemas/dispute-diagnose.json."""
    claim = expected or Expected()
    answers = [(one, list(ask(one, claim))) for one in inquiries]
    wrong = sum(_wrong(one, found) for one, found in answers)
    charged = [one.charged for one in inquiries]
    missing = [finding.asked for _, found in answers for finding in found if finding.asked is not None]
    verdict = _verdict(answers, wrong, missing, claim)
    currency = _currency(inquiries)
    unknown = verdict == "cannot_be_settled_locally"
    amount = None if unknown else format_amount(wrong)
    told = [_told(one, finding) for one, found in answers[:_SHOWN] for finding in found]
    return {
        "case": case,
        "verdict": verdict,
        "amount_usd": amount if currency == "USD" else None,
        "amount": amount,
        "currency": currency,
        "charged": None if None in charged else format_amount(sum(one or 0 for one in charged)),
        "text": _text(verdict, answers, wrong, currency),
        "carried_by": _carried(answers, verdict),
        "findings": told,
        "missing": missing,
        "counterfactuals": [_what_if(one) for inquiry in inquiries[:_SHOWN] for one in _counterfactuals(inquiry)],
        "ticket": _ticket(inquiries, answers) if missing else None,
        "requests": [one.id for one in inquiries],
        "by": f"tollbook {release}",
    }


def _wrong(one: Inquiry, found: list[Finding]) -> int:
    """What should not have been charged for a request: never more than was charged."""
    total = sum(finding.wrong for finding in found)
    return total if one.charged is None else min(total, one.charged)


def _verdict(answers: list[tuple[Inquiry, list[Finding]]], wrong: int, missing: list[str], expected: Expected) -> str:
    errors = [finding for _, found in answers for finding in found if finding.wrong > 0]
    if not errors:
        return "cannot_be_settled_locally" if missing else "rejected"
    clean = sum(1 for one, found in answers if not _wrong(one, found))
    claimed = _claimed([one for one, _ in answers], expected)
    part = missing or clean or all(finding.concession for finding in errors)
    return "partly_upheld" if part or (claimed is not None and wrong < claimed) else "upheld"


def _claimed(inquiries: Sequence[Inquiry], expected: Expected) -> int | None:
    """How much too much was charged by the claim itself."""
    charged = [one.charged for one in inquiries]
    wanted = pico(expected.amount)
    if wanted is None or None in charged:
        return None
    return sum(one or 0 for one in charged) - wanted


def _currency(inquiries: Sequence[Inquiry]) -> str | None:
    found = {one.trace["request"]["currency"] for one in inquiries} - {None}
    return str(found.pop()) if len(found) == 1 else None if found else "USD"


def _text(verdict: str, answers: list[tuple[Inquiry, list[Finding]]], wrong: int, currency: str | None) -> str:
    """The verdict in words for people who pay."""
    errors = [finding for _, found in answers for finding in found if finding.wrong > 0]
    asked = [finding for _, found in answers for finding in found if finding.asked is not None]
    money = f"{format_amount(wrong)} {currency or ''}".strip()
    if verdict == "rejected":
        kinds = [finding for _, found in answers for finding in found if _is_telling(finding)]
        why = "; ".join(dict.fromkeys(finding.text for finding in kinds[:3]))
        return f"The charge is right by our own record, prices and rules: {why}."
    if verdict == "cannot_be_settled_locally":
        why = "; ".join(dict.fromkeys(finding.text for finding in asked[:3]))
        return f"We cannot settle this by ourselves: {why}. The vendor must be asked; a draft of the question is below."
    why = "; ".join(dict.fromkeys(finding.text for finding in errors[:3]))
    if all(finding.concession for finding in errors):
        return f"The charge follows the rules, and the claim has a point: {why}. The difference is {money}."
    return f"{money} should not have been charged: {why}."


def _is_telling(finding: Finding) -> bool:
    """Whether an answer says something out of the ordinary, or carries a rejection."""
    ordinary = {"yes": ("Was it made", "Did the client get", "Did the vendor report"), "no": ("Did another", "Is an")}
    if finding.strength in ("recomputed", "vendor_usage") and not finding.question.startswith(ordinary["yes"]):
        return True
    twice = finding.question.startswith(("Did the client send", "Did another")) and finding.answer == "yes"
    gone = finding.question.startswith(("Was anything sent", "Did the client get")) and finding.answer == "no"
    return twice or gone


def _carried(answers: list[tuple[Inquiry, list[Finding]]], verdict: str) -> list[str]:
    """The smallest set of evidence that carries the verdict."""
    if verdict == "cannot_be_settled_locally":
        chosen = [finding for _, found in answers for finding in found if finding.asked is not None]
    elif verdict == "rejected":
        chosen = [finding for _, found in answers for finding in found if _is_telling(finding)]
    else:
        chosen = [finding for _, found in answers for finding in found if finding.wrong > 0]
    return list(dict.fromkeys(one for finding in chosen for one in (finding.evidence or [finding.text])))[:_SHOWN]


def _counterfactuals(one: Inquiry) -> list[WhatIf]:
    return [*([one.first] if one.first is not None else []), *one.others]


def _what_if(one: WhatIf) -> Document:
    dollars = one.amount if one.currency == "USD" else None
    return {"what_if": one.what_if, "amount_usd": dollars, "amount": one.amount, "currency": one.currency}


def _told(one: Inquiry, finding: Finding) -> Document:
    return {
        "request": one.id,
        "question": finding.question,
        "answer": finding.answer,
        "evidence": finding.evidence,
        "strength": finding.strength,
        "text": finding.text,
        "wrong": format_amount(finding.wrong) if finding.wrong else None,
    }


def _ticket(inquiries: Sequence[Inquiry], answers: list[tuple[Inquiry, list[Finding]]]) -> str:
    """The draft of what to ask the vendor."""
    lines = [
        "Please tell us, from your own records, the usage and the charge of the following requests.",
        "We hold no usage report for them.",
        "",
    ]
    for one, found in answers[:_SHOWN]:
        if not any(finding.asked for finding in found):
            continue
        for attempt in one.attempts:
            known = attempt["vendor_request_id"] or attempt["response_id"] or "no id was returned to us"
            lines.append(
                f"- {attempt['vendor']}, model {attempt['model_sent']}, sent {attempt['opened_at']}: "
                f"request id {known}; x-tollbook-attempt-id {one.id}.{attempt['number']}; ended {attempt['outcome']}, "
                f"HTTP {attempt['status'] or 'unknown'}"
            )
    return "\n".join(lines)
