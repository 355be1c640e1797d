"""The plots of a run.

Figures are drawn without pyplot, so that drawing needs no display and leaves no global state behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry.inference.confusion import Confusion
from cnn_registry.recipes.schema import BestBy
from cnn_registry.runs.history import Epoch, best_epoch
from cnn_registry.system.files import whole_file
from cnn_registry.system.quiet import quiet_matplotlib
from cnn_registry.text import cell_width, shorten, shorten_all

from .fonts import Lettering, lettering
from .scales import loss_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, VAL, BEST = "#7f8fa6", "#d35400", "#2c3e50"

DPI = 110
TITLE, TICK, SMALL, COUNT = 11.0, 8.0, 6.5, 8.0
"""Sizes of texts in points: titles, names of classes, names of many classes, and at most of counts."""

SMALLEST, LARGEST = 3.2, 14.0
"""Edge of the confusion matrix, in inches."""

DIGIT = 0.64
"""Width of a digit, as a share of the size of its font."""

NAME = 24
"""Columns of a terminal to which names of classes are shortened."""

MOST_NAMED = 110
"""With more classes the confusion matrix has no room for their names."""


@quiet_matplotlib()
def plot_curves(
    history: Sequence[Epoch],
    path: Path,
    *,
    title: str,
    letters: Lettering | None = None,
    best_by: BestBy = "val_loss",
) -> None:
    """Loss and accuracy by epoch, training against validation, the best epoch marked.

    Args:
        history: one row per epoch.
        path: PNG to write.
        title: above the plot; long ones go over several lines.
        letters: fonts for the title; default those that have its letters.
        best_by: which epoch is the best.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), dpi=DPI, layout="constrained")
    letters = letters or lettering([title])
    figure.suptitle("\n".join(_title_lines(title, figure.get_figwidth() - 0.2, letters)), fontsize=TITLE)
    loss, accuracy = figure.subplots(1, 2)
    best = best_epoch(history, best_by)
    _draw(loss, history, "loss", best)
    _draw(accuracy, history, "accuracy", best)
    loss.set_ylim(loss_limits([row.loss for row in history], [row.val_loss for row in history]))
    accuracy.set_ylim(0, 1.02)
    _save(figure, path, letters)


def _draw(axes: Axes, history: Sequence[Epoch], name: str, best: Epoch) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [row.epoch for row in history]
    train, val = ([getattr(row, key) for row in history] for key in (name, f"val_{name}"))
    at_best = getattr(best, f"val_{name}")
    is_point = len(epochs) == 1
    points: dict[str, Any] = {"marker": "o"} if is_point else {}
    axes.plot(epochs, train, color=TRAIN, markersize=9, label="training", **points)
    axes.plot(epochs, val, color=VAL, markersize=5, label="validation", **points)
    label = f"best epoch ({best.epoch}): {at_best:.4g}"
    ring: dict[str, Any] = {"markersize": 13, "markerfacecolor": "none", "markeredgewidth": 1.8, "linestyle": "none"}
    axes.plot([best.epoch], [at_best], color=BEST, marker="o", label=label, **ring)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if is_point:
        axes.set_xticks(epochs)
    axes.grid(alpha=0.3)
    # Below the axes it hides no curve; its label has the figure, which then covers nothing.
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14), columnspacing=1.2)


@quiet_matplotlib()
def plot_confusion(
    confusion: Confusion, class_names: Sequence[str], path: Path, *, title: str, letters: Lettering | None = None
) -> None:
    """True classes in rows, predicted ones in columns; shaded by the share of the true class.

    Up to 110 classes are named, by shortened names; more are numbered as the lines of ``labels.txt``, and so is a class
    whose name has a letter that no installed font has. A cell shows its count if there is room for it.

    Args:
        confusion: the matrix.
        class_names: in its order.
        path: PNG to write.
        title: above the plot; long ones go over several lines.
        letters: fonts for the title and the names; default those that have their letters.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    letters = letters or lettering([title, *class_names])
    classes = len(class_names)
    edge = min(max(0.36 * classes, SMALLEST), LARGEST)
    size = TICK if edge / classes >= 0.18 or classes > MOST_NAMED else SMALL
    labels = _labels(class_names, letters)
    beside = 0.5 + max(letters.width(label, size) for label in labels)  # names, ticks and the axis' own name
    width = beside + edge + 1.2
    lines = _title_lines(title, width - 0.2, letters)
    height = beside + edge + 0.3 + 0.2 * len(lines)
    # Every length is known, so the matrix has its size whatever stands around it.
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.suptitle("\n".join(lines), fontsize=TITLE, y=1 - 0.1 / height, va="top")
    axes = figure.add_axes((beside / width, beside / height, edge / width, edge / height))
    shares = confusion.laid_out(confusion.shares, round(DPI * edge))
    extent = (-0.5, classes - 0.5, classes - 0.5, -0.5)
    # With many classes, the few images that are confused would be too pale to be seen.
    norm = PowerNorm(1.0 if classes <= MOST_NAMED else 0.5, 0.0, 1.0)
    image = axes.imshow(shares, cmap="Blues", norm=norm, extent=extent)
    bar = ((beside + edge + 0.2) / width, (beside + 0.15 * edge) / height, 0.2 / width, 0.7 * edge / height)
    figure.colorbar(image, cax=figure.add_axes(bar), label="share of the true class")
    step = _step(classes, edge)
    positions = range(step - 1, classes, step)
    axes.set_xticks(positions, [labels[index] for index in positions], rotation=90, fontsize=size)
    axes.set_yticks(positions, [labels[index] for index in positions], fontsize=size)
    numbered = classes > MOST_NAMED or not all(map(letters.has, class_names))
    where = " (numbers: lines of labels.txt)" if numbered else ""
    axes.set(xlabel=f"predicted class{where}", ylabel=f"true class{where}")
    _write_counts(axes, confusion, 72 * edge / classes)
    _save(figure, path, letters)


@quiet_matplotlib()
def plot_rates(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    marks: Mapping[str, float],
    path: Path,
    *,
    title: str,
) -> None:
    """The loss by learning rate, as `find_learning_rate` measures it.

    Args:
        rates: of the steps, rising.
        losses: of their batches; the last may not be finite.
        smoothed: averages of the finite ones.
        marks: rates to mark by lines, by what they are.
        path: PNG to write.
        title: above the plot; long ones go over several lines.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure, letters = Figure(figsize=(7, 4.4), dpi=DPI, layout="constrained"), lettering([title])
    figure.suptitle("\n".join(_title_lines(title, figure.get_figwidth() - 0.2, letters)), fontsize=TITLE)
    axes = figure.subplots()
    axes.plot(rates[: len(smoothed)], losses[: len(smoothed)], color=TRAIN, alpha=0.5, label="of each batch")
    axes.plot(rates[: len(smoothed)], smoothed, color=VAL, linewidth=2, label="smoothed")
    for (name, rate), style in zip(marks.items(), ("-", "--", ":"), strict=False):
        axes.axvline(rate, color=BEST, linestyle=style, linewidth=1.2, label=f"{name}: {rate:.2g}")
    low, high = min(smoothed), max(smoothed[: int(np.argmin(smoothed)) + 1])
    axes.set_ylim(low - 0.15 * (high - low), high + 0.6 * (high - low))  # beyond lies what has diverged
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")  # powers would be formulas, which are not set here
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    _save(figure, path, letters)


def _labels(class_names: Sequence[str], letters: Lettering) -> list[str]:
    """Names of classes as the ticks show them."""
    if len(class_names) > MOST_NAMED:
        return [_number(index) for index in range(len(class_names))]
    short = shorten_all([letters.shown(name) for name in class_names], NAME)
    return [
        label if letters.has(name) else _number(index)
        for index, (name, label) in enumerate(zip(class_names, short, strict=True))
    ]


def _number(index: int) -> str:
    return str(index + 1)


def _step(classes: int, edge: float) -> int:
    """From one tick to the next: each class as long as their names have room, else a round number."""
    if classes <= MOST_NAMED:
        return 1
    return next(step for step in (2, 5, 10, 20, 50, 100, 200, 500, classes) if step * edge / classes >= 0.3)


def _write_counts(axes: Axes, confusion: Confusion, cell: float) -> None:
    """Write each count that is not 0 into its cell of ``cell`` points, unless the largest has no room there."""
    size = min(COUNT, 0.85 * cell / (DIGIT * len(str(confusion.images.max(initial=0)))))
    if size < 5:
        return
    cells = zip(confusion.true, confusion.predicted, confusion.images, confusion.shares, strict=True)
    for true, predicted, images, share in cells:
        colour = "white" if share > 0.5 else "black"
        axes.text(predicted, true, str(images), ha="center", va="center", color=colour, fontsize=size)


def _title_lines(title: str, room: float, letters: Lettering) -> list[str]:
    """A title in lines of at most ``room`` inches; words that are too long are shortened."""
    lines = [""]
    for word in letters.shown(title).split():
        longer = f"{lines[-1]} {word}".lstrip()
        if letters.width(longer, TITLE) <= room:
            lines[-1] = longer
            continue
        width = cell_width(word)
        while letters.width(word, TITLE) > room:
            width -= 1
            word = shorten(word, width)
        lines.append(word)
    return [line for line in lines if line]


def _save(figure: Figure, path: Path, letters: Lettering) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    letters.set_in(figure)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png")
