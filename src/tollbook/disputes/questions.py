"""The ordered questions about one request. Each is answered by itself, from facts alone. Pure.

What each answer means for the verdict is said in docs/disputes.md, row by row.
"""

from collections.abc import Callable, Iterable
from typing import Final

from tollbook.core.clock import format_instant, parse_instant
from tollbook.core.money import format_amount, parse_decimal
from tollbook.disputes.inquiry import Document, Finding, Inquiry, entry_of, pico, recharge_of, share
from tollbook.journal.casework import Expected

_REPLACED: Final = ("retry", "fallback", "hedge")
_NOT_SENT: Final = "connect_failed"
_UNREPORTED: Final = ("estimated", "unreported")


def is_ours(one: Inquiry, expected: Expected) -> Finding:
    """Was it made with a key of this tenant?"""
    request = one.trace["request"]
    told = f"it came with key {request['key']} of tenant {request['tenant']}; the tenant follows from the key alone"
    if expected.tenant not in (None, request["tenant"]):
        told += f", nothing on record ties it to {expected.tenant}"
    return Finding(
        question="Was it made with a key of this tenant?",
        answer="yes",
        strength="credential",
        text=told,
        evidence=entry_of(one.trace, 1),
    )


def is_suspected(one: Inquiry, expected: Expected) -> Finding:
    """Was the key in other hands?"""
    question = "Was the key known to be in other hands?"
    request = one.trace["request"]
    occurred = parse_instant(request["occurred_at"] or request["opened_at"])
    if one.suspected is None or occurred < one.suspected:
        told = f"key {request['key']} is not on record as suspected at that time (tollbook key suspect)"
        return Finding(question=question, answer="no", strength="journal", text=told)
    told = (
        f"key {request['key']} is on record as suspected from {format_instant(one.suspected)} on, before this request"
    )
    return Finding(question=question, answer="yes", strength="journal", text=told, wrong=one.charged or 0)


def was_sent(one: Inquiry, expected: Expected) -> Finding:
    """Did anything go to a vendor?"""
    question = "Was anything sent to a vendor?"
    charged = [attempt for attempt in one.attempts if attempt["outcome"] == _NOT_SENT and recharge_of(attempt)]
    sent = [attempt for attempt in one.attempts if attempt["outcome"] != _NOT_SENT]
    if not sent:
        wrong = sum(map(recharge_of, charged))
        told = "nothing was sent" + ("; it is charged all the same" if wrong else ", and nothing is charged")
        return Finding(question=question, answer="no", strength="journal", text=told, wrong=wrong)
    named = [f"attempt {attempt['number']}: vendor's id {attempt['vendor_request_id'] or 'none'}" for attempt in sent]
    told = f"{_count(len(sent), 'attempt')} went to {', '.join(sorted({attempt['vendor'] for attempt in sent}))}"
    return Finding(question=question, answer="yes", strength="journal", text=told, evidence=named)


def fell_back(one: Inquiry, expected: Expected) -> Finding:
    """Did another target answer than the one tried first?"""
    question = "Did another model answer than the one tried first?"
    if not any(attempt["reason"] in ("fallback", "downgrade") for attempt in one.attempts):
        served = _served(one)
        return Finding(
            question=question, answer="no", strength="journal", text=f"it was served by {served or 'nobody'}"
        )
    first, last = one.attempts[0], one.attempts[-1]
    told = (
        f"{_target(first)} did not answer ({last['because'] or first['outcome']}), and {_served(one)} did, as policy "
        f"{one.trace['request']['policy']['id'] or 'unknown'} plans; the tenant pays for what it received"
    )
    wrong, charged = 0, one.charged
    would = pico(one.first.amount) if one.first is not None else None
    claimed = expected.model is not None and expected.model != _served(one)
    if claimed and charged is not None and would is not None and one.first is not None:
        told += f"; at the price of {_target(first)} it would have been {one.first.amount} {one.first.currency}"
        wrong = max(0, charged - would)
    evidence = [f"attempt {attempt['number']} ({attempt['outcome']})" for attempt in one.attempts]
    return Finding(
        question=question,
        answer="yes",
        strength="journal",
        text=told,
        evidence=evidence,
        wrong=wrong,
        concession=wrong > 0,
    )


def paid_for_failures(one: Inquiry, expected: Expected) -> Finding:
    """Is an attempt charged that gave no answer because another followed?"""
    question = "Is an attempt charged to the tenant that another one replaced?"
    replaced = [attempt for attempt in one.attempts if attempt["next"] in _REPLACED]
    billed = [attempt for attempt in replaced if recharge_of(attempt)]
    if not billed:
        told = f"{_count(len(replaced), 'attempt')} gave no answer and cost the tenant nothing" if replaced else (
            "there was one attempt only"
        )  # fmt: skip
        return Finding(question=question, answer="no", strength="journal", text=told)
    wrong = sum(map(recharge_of, billed))
    numbers = ", ".join(str(attempt["number"]) for attempt in billed)
    told = f"attempt {numbers} was replaced by another, and is charged with {format_amount(wrong)}"
    evidence = [f"attempt {attempt['number']}: borne by {attempt['borne_by']}" for attempt in billed]
    return Finding(question=question, answer="yes", strength="journal", text=told, evidence=evidence, wrong=wrong)


def was_whole(one: Inquiry, expected: Expected) -> Finding:
    """Did the client get the whole answer?"""
    question = "Did the client get the whole answer?"
    request = one.trace["request"]
    if request["outcome"] == "ok" and request["client"] in ("answered", None):
        return Finding(question=question, answer="yes", strength="journal", text="it was delivered to its end")
    last = one.attempts[-1] if one.attempts else None
    told = f"it ended as {request['outcome']}, the client {request['client'] or 'unknown'}"
    if last is not None:
        told += f" after {last['delivered'] or 0:,} bytes; what the vendor made until then is what it bills"
    return Finding(question=question, answer="no", strength="journal", text=told, evidence=entry_of(one.trace, 2))


def is_reported(one: Inquiry, expected: Expected) -> Finding:
    """Did the vendor report the usage of all that it bills?"""
    question = "Did the vendor report the usage of all that it may bill?"
    unsure = [attempt for attempt in one.attempts if _is_unsure(attempt)]
    if not unsure:
        told = "each attempt that the vendor may bill has the usage that the vendor reported"
        return Finding(question=question, answer="yes", strength="vendor_usage", text=told)
    numbers = ", ".join(str(attempt["number"]) for attempt in unsure)
    bound = unsure[0]["usage_bound"]
    told = f"attempt {numbers}: {unsure[0]['outcome']}, usage {unsure[0]['usage_basis']}"
    told += f", at most {sum(bound.values()):,} units" if bound else ""
    return Finding(
        question=question,
        answer="no",
        strength="estimate" if any(attempt["usage"] for attempt in unsure) else "none",
        text=told,
        asked=f"request {one.id}: the vendor's own record of the usage of attempt {numbers}",
    )


def agrees_with_raw(one: Inquiry, expected: Expected) -> Finding:
    """Do the charged tokens agree with the vendor's usage object, read anew?"""
    question = "Do the tokens charged agree with the vendor's own usage object, read anew?"
    rated = [
        attempt for attempt in one.attempts if attempt["charges"] and attempt["usage_basis"] == "provider_reported"
    ]
    known = [(attempt, one.again[attempt["number"]]) for attempt in rated if attempt["number"] in one.again]
    read = [(attempt, again) for attempt, again in known if again.usage is not None]
    if not read:
        why = next((again.why for _, again in known if again.why), "no attempt has a usage that the vendor reported")
        return Finding(question=question, answer="unknown", strength="none", text=str(why))
    wrong = [(attempt, again) for attempt, again in read if _quantities(attempt) != _without_zeros(again.usage)]
    evidence = [f"attempt {attempt['number']}: raw usage as the vendor gave it" for attempt, _ in read]
    if not wrong:
        tokens = sum(sum(_quantities(attempt).values()) for attempt, _ in read)
        told = f"all {tokens:,} units are those of the vendor's answer, each in one class{_cached(read[-1][0])}"
        return Finding(question=question, answer="yes", strength="recomputed", text=told, evidence=evidence)
    attempt, again = wrong[0]
    told = f"attempt {attempt['number']} is charged for {_quantities(attempt)}, the vendor said {again.usage}"
    over = sum(_excess(attempt, again.amount) for attempt, again in wrong)
    return Finding(question=question, answer="no", strength="recomputed", text=told, evidence=evidence, wrong=over)


def is_priced_right(one: Inquiry, expected: Expected) -> Finding:
    """Is each line the price of the book that was in force?"""
    question = "Is each line priced by the book in force when it occurred?"
    rated = [attempt for attempt in one.attempts if attempt["charges"]]
    for attempt in rated:
        for line in attempt["charges"]:
            if not _multiplies(line):
                told = (
                    f"attempt {attempt['number']}, {line['class']}: {line['quantity']} x {line['unit_price']} is wrong"
                )
                return Finding(question=question, answer="no", strength="recomputed", text=told)
    known = [(attempt, one.again[attempt["number"]]) for attempt in rated if attempt["number"] in one.again]
    same = [(attempt, again) for attempt, again in known if _quantities(attempt) == _without_zeros(again.usage or {})]
    if not rated:
        return Finding(question=question, answer="yes", strength="journal", text="nothing is priced")
    if not same or any(again.amount is None for _, again in same):
        why = next((again.why for _, again in known if again.why), "some of it has no price")
        return Finding(question=question, answer="unknown", strength="none", text=str(why))
    over = sum(_excess(attempt, again.amount) for attempt, again in same)
    rows = sorted({str(line["price_row"]) for attempt in rated for line in attempt["charges"]})
    evidence = [f"price row {row} of book {str(rated[0]['price_book'])[:12]}" for row in rows]
    wrong = [(attempt, again) for attempt, again in same if pico(attempt["amounts"]["expected"]) != pico(again.amount)]
    if not wrong:
        told = f"rated again by book {str(same[0][1].book)[:12]}, it comes to the same picodollar"
        return Finding(question=question, answer="yes", strength="recomputed", text=told, evidence=evidence)
    attempt, again = wrong[0]
    told = f"attempt {attempt['number']} is rated at {attempt['amounts']['expected']}, and by the book in force "
    told += f"({str(again.book)[:12]}) it is {again.amount} {again.currency}"
    return Finding(
        question=question, answer="no", strength="recomputed", text=told, evidence=evidence, wrong=max(0, over)
    )


def is_tier_right(one: Inquiry, expected: Expected) -> Finding:
    """Is the tier priced that was served?"""
    question = "Was it served in the tier that was asked for?"
    for attempt in one.attempts:
        asked = one.tiers.get(attempt["number"])
        if asked not in (None, "auto", "default", attempt["tier"]):
            told = (
                f"{asked} was asked for, {attempt['tier'] or 'an unknown tier'} was served; what was served is priced"
            )
            return Finding(question=question, answer="no", strength="vendor_usage", text=told)
    return Finding(
        question=question, answer="yes", strength="journal", text="no other tier was asked for than was served"
    )


def was_sent_twice(one: Inquiry, expected: Expected) -> Finding:
    """Did the client send it more than once?"""
    question = "Did the client send the same request more than once?"
    if not one.twins:
        return Finding(
            question=question, answer="no", strength="journal", text="no other request is marked as the same"
        )
    named = ", ".join(f"{twin.request} ({twin.because})" for twin in one.twins[:3])
    told = f"the client sent it again: {named}; each was answered and is charged by itself"
    evidence = [f"request {twin.request}, charged {twin.amount or 'unknown'}" for twin in one.twins]
    return Finding(question=question, answer="yes", strength="journal", text=told, evidence=evidence)


def was_budgeted(one: Inquiry, expected: Expected) -> Finding:
    """Was a budget's directive involved?"""
    downgraded = [attempt for attempt in one.attempts if attempt["reason"] == "downgrade"]
    told = "a directive sent it to another target" if downgraded else "no directive of a budget is on record for it"
    answer = "yes" if downgraded else "no"
    return Finding(question="Was a budget's directive involved?", answer=answer, strength="journal", text=told)


def was_corrected(one: Inquiry, expected: Expected) -> Finding:
    """Was it settled late, or corrected before?"""
    question = "Was it settled late, or corrected before?"
    late = [entry["kind"] for entry in one.trace["entries"] if entry["kind"] in ("attempt.aged", "attempt.matched")]
    corrected = one.trace.get("adjustments") or []
    if not late and not corrected:
        told = "its charge is the one of the entry that ended it"
        return Finding(question=question, answer="no", strength="journal", text=told)
    cases = sorted({leg["case"] for leg in corrected})
    told = "; ".join([*(f"{kind} came later" for kind in late), *(f"case {case} corrected it" for case in cases)])
    return Finding(question=question, answer="yes", strength="journal", text=told, evidence=entry_of(one.trace, 9)[-2:])


def is_in_statement(one: Inquiry, expected: Expected) -> Finding:
    """Does the vendor's statement agree?"""
    told = (
        "no statement line of the vendor's is held against this request yet; a bill is by day and model, not by request"
    )
    return Finding(
        question="Does the vendor's statement agree, in the cell that holds it?",
        answer="unknown",
        strength="none",
        text=told,
    )


def is_recounted(one: Inquiry, expected: Expected) -> Finding:
    """Does an independent count agree?"""
    told = "prompts and answers are not stored, so nobody here can count their tokens again"
    question = "Does an independent count of the text agree?"
    return Finding(question=question, answer="unknown", strength="none", text=told)


QUESTIONS: Final[tuple[Callable[[Inquiry, Expected], Finding], ...]] = (
    is_ours,
    is_suspected,
    was_sent,
    fell_back,
    paid_for_failures,
    was_whole,
    is_reported,
    agrees_with_raw,
    is_in_statement,
    is_recounted,
    is_priced_right,
    is_tier_right,
    was_sent_twice,
    was_budgeted,
    was_corrected,
)
"""In the order in which they are asked."""


def _target(attempt: Document) -> str:
    return f"{attempt['vendor']}/{attempt['model_sent']}"


def _served(one: Inquiry) -> str | None:
    """The model that answered."""
    answered = [attempt for attempt in one.attempts if attempt["outcome"] in ("ok", "client_gone")]
    return str(answered[-1]["model_served"] or answered[-1]["model_sent"]) if answered else None


def _is_unsure(attempt: Document) -> bool:
    """Whether the vendor may bill an attempt and what is not reported by it."""
    if attempt["billable"] is False:
        return False
    return attempt["outcome"] in ("unsettled", "open") or attempt["usage_basis"] in _UNREPORTED


def _quantities(attempt: Document) -> dict[str, int]:
    """What is charged, by class."""
    found: dict[str, int] = {}
    for line in attempt["charges"]:
        found[line["class"]] = found.get(line["class"], 0) + line["quantity"]
    return _without_zeros(found)


def _without_zeros(usage: dict[str, int] | None) -> dict[str, int]:
    return {name: quantity for name, quantity in (usage or {}).items() if quantity}


def _excess(attempt: Document, amount: str | None) -> int:
    """What is charged beyond an amount that would be right."""
    right, expected = pico(amount), pico(attempt["amounts"].get("expected"))
    return 0 if right is None or expected is None else share(attempt, expected - right)


def _multiplies(line: Document) -> bool:
    """Whether quantity times unit price is the amount, to half a picodollar."""
    if line["unit_price"] is None or line["amounts"].get("expected") is None:
        return True
    exact = parse_decimal(line["unit_price"]) * line["quantity"]
    return bool(abs(exact * 10**12 - (pico(line["amounts"]["expected"]) or 0)) <= parse_decimal("0.5"))


def _cached(attempt: Document) -> str:
    cached = _quantities(attempt).get("input_cache_read", 0)
    return f"; {cached:,} of them read from the cache, at the price of that" if cached else "; none from the cache"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def ask(one: Inquiry, expected: Expected) -> Iterable[Finding]:
    """All answers about one request, in order."""
    return (question(one, expected) for question in QUESTIONS)
