"""A ``history.csv`` that is not what a training wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_registry.errors import RunError
from cnn_registry.runs.history import Epoch, csv_text, read_history

HISTORY = [Epoch(number, 1.5, 0.25, 2.0, 0.5, 0.1, 2.0, 16.0) for number in (1, 2, 3)]
TEXT = csv_text(HISTORY)
HEADER, FIRST, SECOND, THIRD = TEXT.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a history: expected the columns epoch, loss, "),
        (TEXT.replace("val_loss", "val-loss"), "is not a history"),
        (FIRST + SECOND, "is not a history"),
        (HEADER + FIRST + THIRD, "row 2 is not of epoch 2"),
        (HEADER + FIRST + SECOND[:9], "row 2 is not of epoch 2"),
        (HEADER + FIRST.replace("\n", ",7\n"), "row 1 is not of epoch 1"),
        (HEADER + FIRST.replace("1.5", "1,5"), "row 1 is not of epoch 1"),
        (HEADER + FIRST.replace("1.5", "x\x1b[31m"), r"could not convert string to float: 'x\x1b[31m'"),
        (HEADER + "nan" + FIRST[1:], "row 1 is not of epoch 1"),
        (HEADER + '"' + FIRST, "unexpected end of data"),
        (HEADER + "1" * 200_000, "field larger than field limit"),
    ],
)
def test_a_malformed_history_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "history.csv"
    file.write_text(text)
    with pytest.raises(RunError) as caught:
        read_history(file)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@given(
    content=st.binary(max_size=100)
    | st.tuples(st.integers(0, len(TEXT)), st.binary(min_size=1, max_size=3)).map(
        lambda edit: TEXT.encode()[: edit[0]] + edit[1] + TEXT.encode()[edit[0] + len(edit[1]) :]
    )
)
def test_a_history_is_read_or_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "history.csv"
    file.write_bytes(content)
    try:
        rows, message = read_history(file), ""
    except RunError as error:
        rows, message = [], str(error)
    assert message.isprintable()
    assert [row.epoch for row in rows] == list(range(1, len(rows) + 1))


def test_a_history_that_is_mostly_a_hole_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "history.csv").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(RunError, match=r"history\.csv cannot be read: .* more than 16,777,216 bytes"):
        read_history(tmp_path / "history.csv")


def test_a_history_that_is_missing_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"history\.csv cannot be read: No such file or directory\.$"):
        read_history(tmp_path / "history.csv")
