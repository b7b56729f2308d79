"""Exit codes, and what each fault gives."""

from typing import Final

from tollbook.core.faults import BadInput, BrokenPromise, Fault

FINE: Final = 0
FINDINGS: Final = 1
USAGE: Final = 2
BROKEN: Final = 3

MEANINGS: Final = {
    FINE: "fine: what was asked was done, and nothing needs attention",
    FINDINGS: (
        "findings: something needs attention, was not found, waits to be approved, is not allowed, or is held by "
        "another process just now"
    ),
    USAGE: "usage: an argument, a file or the configuration is wrong; the message says where and what to do",
    BROKEN: "broken promise: history does not verify, or figures do not tie out",
}
"""Every exit code and what it means."""


def code_of(fault: Fault) -> int:
    """The exit code a fault gives."""
    if isinstance(fault, BrokenPromise):
        return BROKEN
    if isinstance(fault, BadInput):
        return USAGE
    return FINDINGS
