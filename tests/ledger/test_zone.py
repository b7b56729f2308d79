"""Zones: offsets as the zone's rules have them, to the second."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.clock import SECOND, format_instant, parse_instant
from tollbook.core.faults import BadInput
from tollbook.ledger.zone import TZDATA, load_zone, offset_sql, offset_text, offsets, timestamp_sql

NAMES = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]


@given(st.sampled_from(NAMES), st.integers(1_400_000_000, 1_900_000_000), st.integers(0, 700 * 86_400), st.floats(0, 1))
def test_offsets_are_the_zones_own(name: str, since: int, length: int, where: float) -> None:
    """At any instant of a span, whole second or not, the offset is what the zone's clocks showed."""
    begin, end = since * SECOND + 499_999, (since + length) * SECOND + 3
    instant = begin + int((end - begin) * where)
    zone = load_zone(name)
    clock = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)).astimezone(zone)
    assert timedelta(seconds=offsets(zone, begin, end).at(instant)) == clock.utcoffset()


def test_changes_are_found_to_the_second() -> None:
    """Lord Howe moves its clocks by half an hour."""
    span = offsets(
        load_zone("Australia/Lord_Howe"), parse_instant("2026-01-01T00:00:00Z"), parse_instant("2026-12-31T00:00:00Z")
    )
    changes = ["2026-04-04T15:00:00.000000Z", "2026-10-03T15:30:00.000000Z"]
    assert [format_instant(change) for change in span.changes] == changes
    assert span.offsets == [39_600, 37_800, 39_600]
    assert offset_sql("t", span).count("WHEN t < TIMESTAMP") == 2


@pytest.mark.parametrize("name", ["", "Nowhere", "/etc/localtime", "../UTC", "Europe", "Europe/Berlin\n", "a/../UTC"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    """Only names that the data holds; never a path."""
    with pytest.raises(BadInput, match="no such time zone"):
        load_zone(name)


def test_the_data_names_its_version() -> None:
    """Results can say which rules they used, and these are the package's, not the machine's."""
    assert TZDATA[:2] == "20"
    assert load_zone("Europe/Berlin").utcoffset(datetime(2026, 7, 1)) == ZoneInfo("Europe/Berlin").utcoffset(  # noqa: DTZ001
        datetime(2026, 7, 1)  # noqa: DTZ001
    )


def test_offsets_and_instants_are_written_out() -> None:
    """Offsets as ISO 8601 has them; instants to the microsecond."""
    assert [offset_text(offset) for offset in (0, 19_800, -12_600, -18_000, 1_172)] == [
        "+00:00",
        "+05:30",
        "-03:30",
        "-05:00",
        "+00:19:32",
    ]
    assert timestamp_sql(1) == "TIMESTAMP '1970-01-01 00:00:00.000001'"
