"""A run as plain values, ready for JSON: amounts are decimal text in US dollars, instants RFC 3339, unknown is None."""

from typing import Any

from tollbook.core.clock import format_instant
from tollbook.core.money import format_amount
from tollbook.ledger.reader import provenance
from tollbook.reconciliation.causes import causes
from tollbook.reconciliation.cell import Scope, Share, Side
from tollbook.reconciliation.drift import Passed
from tollbook.reconciliation.finding import Finding
from tollbook.reconciliation.run import RULES, Run, ranked
from tollbook.reconciliation.theirs import CURRENCY

Document = dict[str, Any]


def document_of(run: Run) -> Document:
    """The run as `tollbook reconcile --json` prints it."""
    asked, controls = run.asked, {f"{name}_usd": format_amount(sum_) for name, sum_ in run.totals.items()}
    parameters = {"vendor": asked.vendor, "from": format_instant(asked.since), "to": format_instant(asked.until)}
    return {
        "run": run.name,
        "vendor": asked.vendor,
        "currency": CURRENCY,
        "period": {"from": parameters["from"], "to": parameters["to"]},
        "inputs": {
            "position": {"number": run.position.number, "digest": run.position.digest},
            "statements": [one._asdict() for one in run.statements],
        },
        "rules": {
            "version": RULES,
            "tolerance": {
                "relative": str(asked.tolerance.relative),
                "absolute_usd": format_amount(asked.tolerance.absolute),
            },
        },
        "cells": [_cell(one) for one in run.findings],
        "totals": controls,
        "causes": _causes(run),
        "within_tolerance": [_passed(one) for one in run.passed],
        "uncovered_usd": format_amount(run.uncovered),
        "left_out": run.left_out,
        "notes": list(run.notes),
        "provenance": provenance(parameters, run.position, books=[], rows=len(run.findings), control_totals=controls),
    }


def _cell(one: Finding) -> Document:
    pair = one.pair
    return {
        "bucket": {"from": format_instant(pair.bucket.since), "to": format_instant(pair.bucket.until)},
        **_scope(pair.scope),
        "class": pair.class_,
        "ours": _side(pair.ours),
        "theirs": {**_side(pair.theirs), "maturity": pair.maturity},
        "variance": {"quantity": pair.quantity, "amount_usd": format_amount(pair.amount)},
        "causes": [_share(share) for share in one.shares],
        "unexplained": {"quantity": one.quantity, "amount_usd": format_amount(one.amount)},
        "verdict": one.verdict,
        "missing": one.missing,
    }


def _scope(scope: Scope) -> Document:
    return scope._asdict()


def _side(side: Side) -> Document:
    return {"quantity": side.quantity, "amount_usd": None if side.amount is None else format_amount(side.amount)}


def _share(share: Share) -> Document:
    return {
        "cause": share.cause,
        "among": list(share.among),
        "quantity": share.quantity,
        "amount_usd": format_amount(share.amount),
        "evidence": share.evidence,
        "requests": list(share.requests),
    }


def _causes(run: Run) -> list[Document]:
    known = causes()
    return [
        {
            "cause": cause,
            "nature": known[cause].nature if cause in known else None,
            "amount_usd": format_amount(amount),
            "cells": cells,
            "settles": known[cause].settles if cause in known else None,
        }
        for cause, amount, cells in ranked(run.findings)
    ]


def _passed(one: Passed) -> Document:
    return {
        **_scope(one.scope),
        "class": one.class_,
        "cells_above": one.above,
        "cells_below": one.below,
        "quantity": one.quantity,
        "amount_usd": format_amount(one.amount),
        "drift": one.drifts,
    }
