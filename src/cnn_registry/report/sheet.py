"""Images in rows and columns, with a label under each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cnn_registry.data.dataset import Bytes
from cnn_registry.system.quiet import quiet_matplotlib
from cnn_registry.text import shorten

from .fonts import lettering

if TYPE_CHECKING:
    from PIL import Image

INCHES, DPI = 1.45, 110
"""Width of a column, and pixels per inch."""

LETTERS = 24
"""Columns of a terminal to which a line of a label is shortened."""


class SheetCell(NamedTuple):
    """An image and what is written under it.

    Attributes:
        image: uint8 RGB ``(height, width, 3)``.
        label: one line or more.
    """

    image: Bytes
    label: str


@quiet_matplotlib()
def draw_sheet(title: str, heads: Sequence[str], rows: Sequence[Sequence[SheetCell]]) -> Image.Image:
    """Rows of images under a title.

    Args:
        title: of the sheet.
        heads: above each column.
        rows: as many cells as there are columns, each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    labels = [cell.label for row in rows for cell in row]
    letters = lettering([title, *labels])
    height, width, _ = rows[0][0].image.shape
    row_inches = INCHES * min(max(height / width, 0.4), 2.5) + 0.45
    figure = Figure(figsize=(INCHES * len(heads), row_inches * len(rows) + 0.6), dpi=DPI, layout="constrained")
    figure.suptitle(letters.shown(title), fontsize=9)
    grid = figure.subplots(len(rows), len(heads), squeeze=False)
    for place, (row, axes_of_row) in enumerate(zip(rows, grid, strict=True)):
        for head, cell, axes in zip(heads, row, axes_of_row, strict=True):
            axes.imshow(cell.image, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            lines = [letters.shown(shorten(line, LETTERS)) for line in cell.label.split("\n")]
            axes.set_xlabel("\n".join(lines), fontsize=6.5)
            if place == 0:
                axes.set_title(head, fontsize=6.5)
    FigureCanvasAgg(figure)
    letters.set_in(figure)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    image = Image.open(content)
    image.load()
    return image.convert("RGB")
