"""The base book against the package it is made from: an independent calculation of the same prices."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import yaml

from tollbook.core.clock import parse_instant
from tollbook.core.money import PICO
from tollbook.pricing.book import PriceBook, base_book
from tollbook.pricing.entry import Entry
from tollbook.pricing.rate import Rater

genai_prices = pytest.importorskip("genai_prices")
catalogue = pytest.importorskip("tollbook.pricing.catalogue")

NOW = "2026-11-23T12:30:00Z"
CORRECTED = {
    *(("deepseek", name) for name in ("deepseek-flash", "deepseek-v4-flash", "deepseek-v4-pro")),
    ("openai", "gpt-4o-mini-tts"),
}
"""Models whose rows come from corrections.yaml: test_rating has them."""


def reported(usage: dict[str, int]) -> dict[str, int]:
    """Our disjoint classes in the source's inclusive words."""

    def total(begin: str, end: str = "") -> int:
        return sum(quantity for name, quantity in usage.items() if name.startswith(begin) and name.endswith(end))

    found = {
        "input_tokens": total("input"),
        "cache_read_tokens": total("input_cache_read"),
        "cache_write_tokens": total("input_cache_write"),
        "cache_write_1h_tokens": total("input_cache_write_1h"),
        "output_tokens": total("output"),
        "output_reasoning_tokens": total("output_reasoning"),
        "web_searches": usage.get("web_searches", 0),
        "storage_searches": usage.get("file_searches", 0),
        "input_characters": usage.get("characters", 0),
        "input_document_pages": usage.get("pages", 0),
        "audio_seconds": usage.get("seconds", 0),
        "input_audio_seconds": usage.get("seconds", 0),
    }
    for modality in ("audio", "image", "video"):
        found[f"input_{modality}_tokens"] = total("input", f".{modality}")
        found[f"output_{modality}_tokens"] = total("output", f".{modality}")
        found[f"cache_{modality}_read_tokens"] = total("input_cache_read", f".{modality}")
    return {name: quantity for name, quantity in found.items() if quantity}


def name_of(entry: Entry) -> str:
    """A name that leads to an entry."""
    match = entry.match
    names = (*match.equals, *match.starts_with, *match.contains, *match.ends_with, entry.model)
    return next(name for name in names if base_book().find(entry.party, name).entry == entry)


def usages(entry: Entry, at: int, dimensions: dict[str, str]) -> list[dict[str, int]]:
    """A small request and one beyond every context band, in all classes that have a price there and then."""
    names = {
        row.class_
        for row in entry.rows
        if all(getattr(row, name) == dimensions.get(name) for name in ("tier", "processing", "speed", "region"))
        and row.span[0] <= at < row.span[1]
    } - {"requests"}
    small = {name: 10 + number * 7 for number, name in enumerate(sorted(names))}
    return [small, {name: quantity * 1_000_000 for name, quantity in small.items()}]


def differences(entry: Entry, at: str, dimensions: dict[str, str], context: dict[str, str]) -> list[str]:
    """Where our rating and the source's calculation disagree by more than our rounding of each charge."""
    found, name = [], name_of(entry)
    rater = Rater(base_book())
    for usage in usages(entry, parse_instant(at), dimensions):
        ours = rater.rate(entry.party, name, usage, parse_instant(at), **dimensions)
        theirs = genai_prices.calc_price(
            genai_prices.Usage(**reported(usage)),
            name,
            provider_id=entry.party,
            genai_request_timestamp=datetime.fromisoformat(at),
            price_context=context or None,
        ).total_price
        rounding = Decimal(len(ours.charges)) / 2 / PICO
        if ours.expected is None or abs(Decimal(ours.expected) / PICO - theirs) > rounding:
            found.append(f"{entry.party} {name} {dimensions} {at}: {ours} != {theirs}")
    return found


def priced() -> list[Entry]:
    return [entry for entry in base_book().entries() if entry.rows and (entry.party, entry.model) not in CORRECTED]


def test_shipped_book_is_what_the_pinned_package_gives() -> None:
    """The shipped file holds nothing but the conversion of the pinned snapshot and the two files of rules beside it."""
    assert catalogue.convert().book.dump() == base_book().dump()


def test_standard_prices_equal_the_source() -> None:
    """Every model with a standard price costs what the package says, small requests and beyond every band."""
    entries = [entry for entry in priced() if any(row.tier is None and row.processing is None for row in entry.rows)]
    assert len(entries) > 2100
    assert [line for entry in entries for line in differences(entry, NOW, {}, {})] == []


@pytest.mark.parametrize(
    ("dimension", "key"),
    [("tier", "service_tier"), ("processing", "processing"), ("speed", "speed"), ("region", "route")],
)
def test_variants_equal_the_source(dimension: str, key: str) -> None:
    """Every tier, batch, fast and route price the source has is ours too, with what it leaves at the standard."""
    found, compared = [], 0
    for entry in priced():
        for word in {getattr(row, dimension) for row in entry.rows} - {None}:
            compared += 1
            found += differences(entry, NOW, {dimension: word}, {key: word})
    assert found == []
    assert compared >= {"tier": 70, "processing": 100, "speed": 5, "region": 1}[dimension]


def test_changes_in_time_equal_the_source() -> None:
    """On both sides of every dated change of a standard price we price as the source does."""
    found, compared = [], 0
    for entry in priced():
        days = {row.since for row in entry.rows if row.since and row.tier is None and row.processing is None}
        for day in days:
            edge = datetime.fromisoformat(day).replace(tzinfo=UTC)
            for at in (edge - timedelta(seconds=1), edge):
                compared += 1
                found += differences(entry, at.isoformat(), {}, {})
    assert found == []
    assert compared > 400


def test_model_without_a_price_is_unpriced_and_not_free() -> None:
    """What the source lists without any price, and calculates as $0, has no price here."""
    without = [entry for entry in base_book().entries() if not entry.rows]
    assert len(without) > 100
    for entry in without[:20]:
        priced = Rater(base_book()).rate(entry.party, name_of(entry), {"input": 5}, parse_instant(NOW))
        assert (priced.unpriced, priced.expected) == ("no_price", None)


def test_what_is_left_out_is_listed_with_a_reason() -> None:
    """Nothing of the source disappears silently: each omission names model, price and reason."""
    omitted = catalogue.convert().omitted
    assert {omission.why for omission in omitted if omission.what != "audio_hours" and "/3600" not in omission.why} == {
        "the source lists none",
        "no dimension of ours",
        "no usage class of ours",
    }
    assert all(omission.party and omission.model and omission.what for omission in omitted)


def test_corrections_name_existing_models_and_their_evidence() -> None:
    """A correction that the snapshot no longer needs, or without a source, is noticed."""
    corrections = yaml.safe_load((catalogue.BOOKS / "corrections.yaml").read_text())
    assert {(one["party"], one["model"]) for one in corrections} == CORRECTED
    for one in corrections:
        assert one["source"].startswith("https://")
        assert one["found"]
        entry = base_book().find(one["party"], one["model"]).entry
        assert entry is not None
        assert {row.source for row in entry.rows} == {one["source"]}


def test_row_ids_are_unique_in_the_base_book() -> None:
    """A charge names its price by twelve digits; no two prices of the book share them."""
    from tollbook.pricing.row import row_id

    book: PriceBook = base_book()
    ids = [row_id(entry.party, entry.model, row) for entry in book.entries() for row in entry.rows]
    assert len(set(ids)) == len(ids) > 7000
