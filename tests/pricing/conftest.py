"""Small books to price with."""

from collections.abc import Callable

import pytest

from tollbook.pricing.book import PriceBook
from tollbook.pricing.entry import BilledAs, Entry, Header, Party
from tollbook.pricing.match import Match
from tollbook.pricing.row import Row

MakeBook = Callable[..., PriceBook]


@pytest.fixture
def make_book() -> MakeBook:
    """A book with the parties `acme` and `reseller` (which shares acme's prices) and one model `m` of acme's."""

    def make(*rows: Row, entries: tuple[Entry, ...] = (), party: Party | None = None) -> PriceBook:
        header = Header(
            billed_as=(
                BilledAs(class_="output_reasoning", as_="output", source="test"),
                BilledAs(class_="input_cache_write", as_="input_cache_write_5m", assumed="cache_ttl", source="test"),
            ),
            currency="USD",
            format="tollbook.prices/1",
            parties={
                "acme": party or Party(name="Acme"),
                "reseller": Party(name="Reseller", falls_back=("acme",)),
            },
            retrieved="2026-01-01",
            source="test",
        )
        own = (Entry(party="acme", model="m", match=Match(equals=("m",)), rows=rows),) if rows else ()
        return PriceBook.assemble(header, (*own, *entries))

    return make
