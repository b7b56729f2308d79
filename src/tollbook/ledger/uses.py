"""When each key was last used, as far as the ledger knows: nothing is written per request for it."""

from pathlib import Path

from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Reader, read


def last_uses(source: Reader | Path) -> dict[tuple[str, str], int]:
    """The instant of the last request by tenant and key, refused ones included. Raises NotFound without a ledger."""

    def query(lake: Lake) -> dict[tuple[str, str], int]:
        rows = lake.rows(
            "SELECT tenant, key, epoch_us(max(occurred)) FROM (SELECT tenant, key, occurred FROM attempts "
            "UNION ALL SELECT tenant, key, occurred FROM requests WHERE requests = 1 "
            "UNION ALL SELECT tenant, key, occurred FROM open_attempts) GROUP BY ALL"
        )
        return {(tenant, key): instant for tenant, key, instant in rows}

    return read(source, query)
