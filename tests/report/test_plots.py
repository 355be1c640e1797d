"""The plots, as far as a program can judge them: nothing is cut, nothing lies on something else, names can be read."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import BboxBase
from PIL import Image

from cnn_registry.inference.confusion import Confusion
from cnn_registry.report.plots import plot_confusion, plot_curves, plot_rates
from cnn_registry.runs.history import Epoch

NAMES: dict[str, Callable[[int], str]] = {
    "short": lambda number: f"c{number}",
    "long": lambda number: f"{number:04}-" + "a_name_of_$class$_" * 6,
    "words": lambda number: f"Some flower with a name of forty letters {number}",
    "chinese": lambda number: f"{number}号" + "鬱金香花" * 9,
    "emoji": lambda number: f"\N{TULIP}{number}\N{MAN}\u200d\N{WOMAN}",
    "decomposed": lambda number: f"Cafe\u0301 {number}",
    "hostile": lambda number: f"\x1b[2J $_{number}^{{ \\frac",
}


@pytest.fixture
def only_dejavu(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fonts but those of Matplotlib, whatever this machine has."""
    own = [font for font in font_manager.fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved, in order."""
    saved: list[Figure] = []
    save = Figure.savefig

    def savefig(figure: Figure, *arguments: Any, **options: Any) -> None:
        saved.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def history(epochs: int, val_loss: float = 1.0) -> list[Epoch]:
    return [Epoch(n, 1 / n, 1 - 1 / n, val_loss, 0.5, 0.1, 1.0, 9.0) for n in range(1, epochs + 1)]


def counts(classes: int) -> Confusion:
    generator = np.random.default_rng(0)
    confused = generator.random((classes, classes)) < 3 / classes
    return Confusion.of_rows(np.diag(generator.integers(1, 90, classes)) + confused)


def box(figure: Figure, drawn: Text | Axes) -> BboxBase:
    return drawn.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]  # Agg's canvas has one


def texts(figure: Figure) -> list[Text]:
    """What can be read, without the counts in the cells."""
    found = [*figure.texts]
    for axes in figure.axes:
        legend = axes.get_legend()
        found += legend.texts if legend else []
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            found += [axis.label, *(label for tick in ticks for label in (tick.label1, tick.label2))]
    return [text for text in found if text.get_visible() and text.get_text()]


def assert_all_can_be_read(figure: Figure) -> None:
    edge = figure.bbox
    boxes = [(text.get_text(), box(figure, text)) for text in texts(figure)]
    for text, place in boxes:
        assert edge.x0 <= place.x0 < place.x1 <= edge.x1, text
        assert edge.y0 <= place.y0 < place.y1 <= edge.y1, text
    for (one, place), (other, there) in itertools.combinations(boxes, 2):
        assert not place.overlaps(there.shrunk(0.9, 0.9)), (one, other)


@pytest.mark.parametrize(
    ("kind", "epochs", "val_loss"),
    [
        *((kind, 80, 1.0) for kind in NAMES),
        *(("short", *row) for row in [(1, 1.0), (2, 0.5), (3, math.nan), (3, 1e30)]),
    ],
)
def test_nothing_in_the_curves_is_cut_or_covered(
    tmp_path: Path, figures: list[Figure], only_dejavu: None, kind: str, epochs: int, val_loss: float
) -> None:
    plot_curves(history(epochs, val_loss), tmp_path / "curves.png", title=f"tiny on {NAMES[kind](0)}")
    [figure] = figures
    assert_all_can_be_read(figure)
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert not axes.get_window_extent().overlaps(legend.get_window_extent())
        assert not axes.texts  # a value would lie on a curve
        assert f"{getattr(history(epochs, val_loss)[0], f'val_{axes.get_ylabel()}'):.4g}" in legend.texts[2].get_text()
        assert all(float(tick).is_integer() for tick in axes.get_xticks() if epochs == 1)


def test_with_one_epoch_each_of_three_marks_is_seen(tmp_path: Path, figures: list[Figure]) -> None:
    row = Epoch(1, 1.0, 0.5, 1.0, 0.5, 0.1, 1.0, 9.0)
    plot_curves([row], tmp_path / "curves.png", title="title")
    for axes in figures[0].axes:
        training, validation, best = axes.lines
        assert training.get_markersize() > validation.get_markersize() > 0
        assert best.get_markersize() > training.get_markersize()
        assert best.get_markerfacecolor() == "none"


@pytest.mark.parametrize(
    ("kind", "classes"),
    [*((kind, classes) for kind in NAMES for classes in (2, 17)), ("short", 1), ("long", 100), ("chinese", 111)],
)
def test_nothing_in_the_confusion_matrix_is_cut_or_covered(
    tmp_path: Path, figures: list[Figure], only_dejavu: None, kind: str, classes: int
) -> None:
    names = [NAMES[kind](number) for number in range(classes)]
    path = tmp_path / "confusion.png"
    plot_confusion(counts(classes), names, path, title=f"tiny on {names[0]}: 45.6% of 360 images, best weights")
    [figure] = figures
    assert_all_can_be_read(figure)
    matrix = figure.axes[0]
    edge = box(figure, matrix).width
    assert edge >= 3 * 110
    assert box(figure, matrix).width == pytest.approx(box(figure, matrix).height, rel=0.01)
    labels = [label.get_text() for label in matrix.get_yticklabels()]
    assert len(labels) >= min(classes, 20)
    assert len(set(labels)) == len(labels)
    with Image.open(path) as image:
        assert max(image.size) < 1900
    for count in matrix.texts:
        assert box(figure, count).width < edge / classes


def test_many_classes_are_numbered_as_the_lines_of_their_file(tmp_path: Path, figures: list[Figure]) -> None:
    names = [f"class {number}" for number in range(1000)]
    plot_confusion(counts(1000), names, tmp_path / "confusion.png", title="title")
    matrix = figures[0].axes[0]
    assert [label.get_text() for label in matrix.get_xticklabels()][:3] == ["50", "100", "150"]
    assert [matrix.get_xticks()[0], matrix.get_yticks()[-1]] == [49, 999]
    assert "labels.txt" in matrix.get_xlabel()
    assert not matrix.texts


def test_letters_without_a_font_are_named_once(
    tmp_path: Path, figures: list[Figure], only_dejavu: None, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["Café", "Кошка", "花", "a\N{TULIP}"]
    plot_confusion(counts(4), names, tmp_path / "confusion.png", title="花")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("No installed font has 花 \N{TULIP}: ")
    assert "labels.txt" in line
    assert [label.get_text() for label in figures[0].axes[0].get_xticklabels()] == ["Café", "Кошка", "3", "4"]
    assert "labels.txt" in figures[0].axes[0].get_ylabel()


def test_learning_rates_are_written_as_numbers(tmp_path: Path, figures: list[Figure]) -> None:
    rates = np.geomspace(1e-5, 10.0, 30).tolist()
    losses = [2.5 - 0.1 * math.log10(rate) for rate in rates]
    plot_rates(rates, losses, losses, {"steepest": 1e-3}, tmp_path / "r.png", title="net on photos")
    assert_all_can_be_read(figures[0])
    shown = [text.get_text() for text in texts(figures[0])]
    assert {"1e-05", "0.001", "1", "10"} <= set(shown)
    assert not any("$" in text for text in shown)


@pytest.fixture
def font(tmp_path: Path) -> Path:
    """A font that has one Chinese letter."""
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # it has no types

    font = TTFont(font_manager.findfont("DejaVu Sans"))
    for table in font["cmap"].tables:
        table.cmap = {ord("花"): "A"}
    for record in font["name"].names:
        record.string = "Noto Sans CJK Test"
    font.save(tmp_path / "test.ttf")
    return tmp_path / "test.ttf"


def test_an_installed_font_is_found(
    tmp_path: Path, figures: list[Figure], only_dejavu: None, font: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    font_manager.fontManager.addfont(font)
    plot_confusion(counts(2), ["daisy", "花"], tmp_path / "confusion.png", title="花")
    assert capsys.readouterr().err == ""
    [figure] = figures
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["daisy", "花"]
    assert {tuple(text.get_fontfamily()) for text in texts(figure)} == {("DejaVu Sans", "Noto Sans CJK Test")}


def test_a_font_that_was_installed_after_matplotlib_listed_them_is_found(
    tmp_path: Path,
    figures: list[Figure],
    only_dejavu: None,
    font: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"not a font")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(broken), str(font)])
    plot_confusion(counts(2), ["daisy", "花"], tmp_path / "confusion.png", title="花")
    assert capsys.readouterr().err == ""
    assert [label.get_text() for label in figures[0].axes[0].get_xticklabels()] == ["daisy", "花"]


def test_a_home_that_cannot_be_written_makes_no_noise(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from cnn_registry.inference.confusion import Confusion
from cnn_registry.report.plots import plot_confusion
plot_confusion(Confusion.of_rows([[1, 0], [0, 1]]), ["a", "b"], Path(sys.argv[1]), title="title")
"""
    left_out = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "confusion.png")],
        env=environment | {"HOME": "/dev/null"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_plots_leave_no_other_file(tmp_path: Path) -> None:
    plot_curves(history(2), tmp_path / "curves.png", title="title")
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
