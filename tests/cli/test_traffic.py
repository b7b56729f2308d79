"""Recorded traffic: read whole or refused with its line."""

import json
from pathlib import Path

import pytest

from tollbook.cli.traffic import Recorded, read_traffic, shots_of
from tollbook.core.faults import BadInput

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"


def write(directory: Path, text: str) -> Path:
    path = directory / "trace.csv"
    path.write_text(text)
    return path


def test_a_trace_is_read_with_its_pace(tmp_path: Path) -> None:
    """Instants become seconds after the first, to the microsecond, also when written with seven digits."""
    rows = "2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109"
    assert read_traffic(write(tmp_path, HEADER + rows)) == [Recorded(0.0, 374, 44), Recorded(4.314579, 396, 109)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: lacks TIMESTAMP, ContextTokens, GeneratedTokens"),
        ("TIMESTAMP,ContextTokens\n", "line 1: lacks GeneratedTokens"),
        (HEADER + "yesterday,1,2", "line 2: TIMESTAMP is 'yesterday'"),
        (HEADER + "2023-11-16 18:15:46,1.5,2", "line 2: ContextTokens is '1.5'"),
        (HEADER + "2023-11-16 18:15:46,1", "line 2: GeneratedTokens is None"),
        (HEADER + "2023-11-16 18:15:46,1,-2", "line 2: GeneratedTokens is '-2'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, words: str) -> None:
    """Nothing is skipped in silence: the first line that cannot be read stops it, by number."""
    with pytest.raises(BadInput, match=words.replace("(", r"\(")):
        read_traffic(write(tmp_path, text))


def test_counts_are_told_from_inside_the_body() -> None:
    """Each request carries the counts of its line for the simulator, and its time divided by the speed."""
    traffic = [Recorded(0.0, 374, 44), Recorded(10.0, 396, 109)]
    shots = list(shots_of(traffic, model="m", key="k", template="replay@1", speed=5))
    assert [shot.at for shot in shots] == [0.0, 2.0]
    assert json.loads(shots[1].body)["messages"][0]["content"] == "[[sim input=396 output=109]]"
    assert [shot.at for shot in shots_of(traffic, model="m", key="k", template="t", speed=0)] == [0.0, 0.0]


def test_the_recorded_hours_are_whole() -> None:
    """The published traces of 2023 have the requests and tokens that are told of them."""
    path = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "azure_llm_2023_conv.csv"
    if not path.exists():
        pytest.skip("the recorded traffic is not there")
    traffic = read_traffic(path)
    assert (len(traffic), sum(row.tokens_input for row in traffic), sum(row.tokens_output for row in traffic)) == (
        19_366,
        22_361_870,
        4_088_665,
    )
