"""Every source that can be read, and which of them a file looks like."""

from typing import Final

from tollbook.core.faults import BadInput
from tollbook.statements import (
    anthropic_costs,
    anthropic_usage,
    aws_cur,
    bedrock_log,
    focus,
    litellm,
    openai_costs,
    openai_usage,
    openrouter,
)
from tollbook.statements.document import Importer

IMPORTERS: Final[dict[str, Importer]] = {
    one.kind: one
    for one in (
        openai_costs.IMPORTER,
        openai_usage.IMPORTER,
        anthropic_usage.IMPORTER,
        anthropic_costs.IMPORTER,
        openrouter.GENERATIONS,
        openrouter.ACTIVITY,
        litellm.IMPORTER,
        focus.IMPORTER,
        aws_cur.IMPORTER,
        bedrock_log.IMPORTER,
    )
}

HEAD_BYTES: Final = 256 * 1024
"""So much of a file's beginning is looked at."""


def importer_of(kind: str) -> Importer:
    """The importer of a kind. Raises BadInput."""
    found = IMPORTERS.get(kind)
    if found is None:
        raise BadInput(f"--as: found {kind!r}; allowed: {', '.join(IMPORTERS)}")
    return found


def guess(head: bytes) -> Importer:
    """The one importer that recognises a file by its first bytes. Raises BadInput when none does, or several."""
    found = [one for one in IMPORTERS.values() if one.recognises(head)]
    if len(found) == 1:
        return found[0]
    told = f"could be {' or '.join(one.kind for one in found)}" if found else "looks like no source that is known"
    raise BadInput(f"the file {told}: say what it is with --as, one of {', '.join(IMPORTERS)}")
