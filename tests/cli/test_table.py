"""Every command's table, from narrow to wide terminals, with few and many rows and names of any kind."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from cnn_registry.cli import cache, check, datasets, doctor, evaluate, predict, recipes, runs, train
from cnn_registry.cli import list as list_command
from cnn_registry.cli.table import Column, print_table
from cnn_registry.text import cell_width

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

TABLES = {
    "list": list_command.COLUMNS,
    "datasets": datasets.COLUMNS,
    "recipes": recipes.COLUMNS,
    "predict": predict.columns(3),
    "evaluate": evaluate.COLUMNS,
    "check": check.COLUMNS,
    "doctor": doctor.COLUMNS,
    "folds": train.FOLDS,
    "plan": recipes.SETTINGS,
    "runs": runs.COLUMNS,
    "cache": cache.COLUMNS,
}
WHOLE = {"input": "224x224x3", "plugin": "cnnreg-inception-v4 0.1.0", "kind": "dataset", "comes": "download"}
WHOLE |= {"setting": "fine_tuning.layer_decay", "began": "2026-01-31 12:59", "last use": "2026-01-31 12:59"}
WHOLE |= {"check": "light-import", "outcome": "skipped", "status": "ambiguous", "fold": "fold-10-of-10"}
NAMES = {
    "short": lambda number: f"c{number}",
    "long": lambda number: f"{number:04}-" + "abcdefghij" * 11,
    "chinese": lambda number: f"{number}号" + "鬱金香花" * 14,
    "emoji": lambda number: f"\N{TULIP}{number}" + "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}\N{ROSE}" * 12,
    "decomposed": lambda number: f"Cafe\u0301 {number} " + "n\u0303" * 90,
}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """The lines of a table on a terminal of ``width`` columns, or in a pipe for ``None``."""

    def show(columns: tuple[Column, ...], rows: list[list[str]], width: int | None, wide: bool = False) -> list[str]:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: width is not None)
        monkeypatch.setenv("COLUMNS", str(width or 40))
        print_table(columns, rows, wide=wide)
        return re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()

    return show


def rows_of(columns: tuple[Column, ...], count: int, name: Callable[[int], str]) -> list[list[str]]:
    def cell(column: Column, number: int) -> str:
        if column.number:
            return f"{number + 0.125:.3f}"
        return WHOLE.get(column.title) or name(number)

    return [[cell(column, number) for column in columns] for number in range(count)]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("table", TABLES)
def test_no_line_is_wider_than_the_terminal_and_numbers_survive(
    shown: Callable[..., list[str]], table: str, kind: str, width: int
) -> None:
    columns = TABLES[table]
    for count in (2, 200) if width == 80 else (2, 40):
        rows = rows_of(columns, count, NAMES[kind])
        heading, *lines = shown(columns, rows, width)
        assert max(map(cell_width, [heading, *lines])) <= width
        names = [column for column in columns if column.rank == 0]
        assert [column.title for column in names if column.title not in heading] == []
        for row, line in zip(rows, lines, strict=False):
            for column, cell in zip(columns, row, strict=True):
                if column.title in heading and not column.at_least:
                    assert cell in line
        assert len(lines) - count in (0, 1, 2)  # the footnote


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("table", TABLES)
def test_elsewhere_a_table_is_complete_and_its_columns_stand_below_each_other(
    shown: Callable[..., list[str]], table: str, kind: str
) -> None:
    columns = TABLES[table]
    rows = rows_of(columns, 12, NAMES[kind])
    heading, *lines = shown(columns, rows, None)
    assert len(lines) == 12
    begin = cell_width(heading[: heading.index(columns[-1].title)])
    for row, line in zip(rows, lines, strict=True):
        assert all(cell in line for cell in row)
        if not columns[-1].number:
            assert cell_width(line[: line.rindex(row[-1])]) == begin
    assert shown(columns, rows, 60, wide=True) == [heading, *lines]


def test_what_does_not_fit_is_named(shown: Callable[..., list[str]]) -> None:
    rows = rows_of(list_command.COLUMNS, 2, NAMES["long"])
    assert " ".join(shown(list_command.COLUMNS, rows, 60)[3:]) == (
        "To fit 60 columns, family, MACs, plugin and summary are left out; name is shortened. --wide shows everything."
    )


@pytest.mark.parametrize(("width", "titles"), [(60, 5), (80, 6), (100, 7), (250, 8)])
def test_list_has_one_line_per_model(
    cnnreg: Cnnreg, plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch, width: int, titles: int
) -> None:
    plugins.install("cnnreg-many-inceptions", *(f"inception_resnet_v{number}" for number in range(1, 10)))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    heading, *lines = re.sub(r"\x1b\[\d*m", "", cnnreg("list").out).splitlines()
    assert [line.split()[0] for line in lines[:9]] == [f"inception_resnet_v{number}" for number in range(1, 10)]
    assert len(heading.split()) == titles
    assert max(map(len, [heading, *lines])) <= width
    assert "plugin" in re.sub(r"\x1b\[\d*m", "", cnnreg("list", "--wide").out).splitlines()[0]


def test_in_an_encoding_without_a_letter_its_escape_is_counted(
    shown: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(sys.stdout), "encoding", "ascii", raising=False)
    lines = shown(evaluate.COLUMNS, rows_of(evaluate.COLUMNS, 2, NAMES["chinese"]), 60)
    assert all(line.isascii() for line in lines)
    assert max(map(len, lines)) <= 60
    assert lines[1].endswith("0.125")
