"""Tables: as wide as the terminal allows, and complete elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import click

from cnn_registry.text import cell_width, printable, shorten_all, wrapped

from .output import terminal_width

GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column of a table, and what becomes of it on a narrow terminal.

    Attributes:
        title: its heading.
        number: aligned to the right.
        at_least: columns of the terminal that its text is shortened to at most; 0 to leave it whole.
        rank: columns are left out from the highest rank down; those of rank 0 never.
    """

    title: str
    number: bool = False
    at_least: int = 0
    rank: int = 0


class Lines(NamedTuple):
    """A table as lines.

    Attributes:
        heading: the titles.
        lines: one per row.
        left_out: titles of the columns for which there is no room.
        shortened: titles of the columns in which text was shortened.
    """

    heading: str
    lines: list[str]
    left_out: list[str]
    shortened: list[str]


def print_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, wide: bool = False, footnote: bool = True
) -> None:
    """Print a table. On a terminal it fits the width, and a footnote names what does not; elsewhere it is complete.

    Args:
        columns: from left to right.
        rows: cells, as many as columns.
        wide: print all of it on a terminal also.
        footnote: whether to name what is left out or shortened.
    """
    width = terminal_width()
    made = layout(columns, rows, None if wide else width)
    if width is None:
        click.echo("\n".join([made.heading, *made.lines]))
        return
    click.echo(click.style(made.heading, bold=True))
    for line in made.lines:
        click.echo(line)
    if footnote and (said := _footnote(made, width)):
        click.echo(wrapped(said, width))


def layout(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> Lines:
    """The table in lines of at most ``width`` columns of a terminal; ``None`` for as many as it takes.

    Numbers are never shortened. Text is shortened where the most of a column still differs.
    """
    cells = [[_shown(cell) for cell in row] for row in rows]
    natural = [
        max(map(cell_width, [column.title, *(row[index] for row in cells)])) for index, column in enumerate(columns)
    ]
    chosen = _chosen(columns, natural, width)
    widths = _widths([columns[index] for index in chosen], [natural[index] for index in chosen], width)
    mark = _shown("…") if len(_shown("…")) == 1 else "..."
    texts, shortened = [], []
    for index, room in zip(chosen, widths, strict=True):
        column = [row[index] for row in cells]
        if room < natural[index]:
            column = shorten_all(column, room, mark)
            shortened.append(columns[index].title)
        texts.append([columns[index].title, *column])
    lines = [_line(line, widths, [columns[index].number for index in chosen]) for line in zip(*texts, strict=True)]
    left_out = [column.title for index, column in enumerate(columns) if index not in chosen]
    return Lines(lines[0], lines[1:], left_out, shortened)


def _shown(cell: str) -> str:
    """A cell as this output shows it: in one line, with escapes for what the encoding does not have."""
    cell = " ".join(cell.split())
    if cell.isascii() and cell.isprintable():
        return cell
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return printable(cell).encode(encoding, "backslashreplace").decode(encoding)


def _chosen(columns: Sequence[Column], natural: Sequence[int], width: int | None) -> list[int]:
    """Which columns are shown, by their positions: by rank, until the next one has no room."""
    if width is None:
        return list(range(len(columns)))
    chosen: list[int] = []
    room = width + len(GAP)
    for index in sorted(range(len(columns)), key=lambda index: columns[index].rank):
        room -= _least(columns[index], natural[index]) + len(GAP)
        if columns[index].rank and room < 0:
            break
        chosen.append(index)
    return sorted(chosen)


def _widths(columns: Sequence[Column], natural: Sequence[int], width: int | None) -> list[int]:
    """The widths of columns: what is left goes to the narrowest of those whose text had to be shortened."""
    if width is None:
        return list(natural)
    least = [_least(column, full) for column, full in zip(columns, natural, strict=True)]
    room = width - len(GAP) * (len(columns) - 1)
    for level in range(max(natural), 0, -1):
        widths = [max(low, min(full, level)) for low, full in zip(least, natural, strict=True)]
        if sum(widths) <= room:
            return widths
    return least


def _least(column: Column, natural: int) -> int:
    return min(natural, max(column.at_least, cell_width(column.title))) if column.at_least else natural


def _line(cells: Sequence[str], widths: Sequence[int], to_the_right: Sequence[bool]) -> str:
    padded = []
    for cell, width, right in zip(cells, widths, to_the_right, strict=True):
        space = " " * (width - cell_width(cell))
        padded.append(space + cell if right else cell + space)
    return GAP.join(padded).rstrip()


def _footnote(made: Lines, width: int) -> str:
    parts = [
        f"{_listed(titles)} {'is' if len(titles) == 1 else 'are'} {what}"
        for titles, what in ((made.left_out, "left out"), (made.shortened, "shortened"))
        if titles
    ]
    return f"To fit {width} columns, {'; '.join(parts)}. --wide shows everything." if parts else ""


def _listed(titles: Sequence[str]) -> str:
    """``"a, b and c"``."""
    return " and ".join(filter(None, [", ".join(titles[:-1]), titles[-1]]))
