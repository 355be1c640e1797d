"""The pictures of a run.

Figures are drawn without pyplot, so that drawing needs no display and leaves no global state behind.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnn_registry.runs.history import Epoch, best_epoch
from cnn_registry.system.files import whole_file
from cnn_registry.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, VAL, BEST = "#7f8fa6", "#d35400", "#2c3e50"
MOST_NAMED = 40
"""With more classes than this their names would lie upon each other in the confusion matrix."""


def plot_curves(history: Sequence[Epoch], path: Path, *, title: str) -> None:
    """Loss and accuracy by epoch, training against validation, the best epoch marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(_literal(title))
    loss, accuracy = figure.subplots(1, 2)
    _draw(loss, history, "loss", label_offset=8)
    _draw(accuracy, history, "accuracy", label_offset=-16)
    loss.set_ylim(0, _loss_limit(history))
    accuracy.set_ylim(0, 1.02)
    _save(figure, path)


def _draw(axes: Axes, history: Sequence[Epoch], name: str, *, label_offset: int) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [row.epoch for row in history]
    train, val = ([getattr(row, key) for row in history] for key in (name, f"val_{name}"))
    best = best_epoch(history)
    at_best = getattr(best, f"val_{name}")
    marker = "o" if len(epochs) == 1 else ""
    axes.plot(epochs, train, color=TRAIN, marker=marker, label="training")
    axes.plot(epochs, val, color=VAL, marker=marker, label="validation")
    axes.plot([best.epoch], [at_best], "o", color=BEST, label=f"lowest val. loss: epoch {best.epoch}")
    axes.annotate(
        f"{at_best:.3f}",
        (best.epoch, at_best),
        textcoords="offset points",
        xytext=(0, label_offset),
        ha="center",
        color=BEST,
    )
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _loss_limit(history: Sequence[Epoch]) -> float:
    """Where the axis of the losses ends: a validation loss far above all others would flatten the rest."""
    typical = [row.loss for row in history] + [float(np.median([row.val_loss for row in history]))]
    finite = [value for value in typical if np.isfinite(value)]
    return 1.2 * max(finite, default=1.0) or 1.0


def plot_confusion(confusion: np.ndarray, class_names: Sequence[str], path: Path, *, title: str) -> None:
    """True classes in rows, predicted ones in columns; shaded by the share of the true class.

    Args:
        confusion: int ``(num_classes, num_classes)``, counts.
        class_names: in that order.
        path: PNG to write.
        title: above the picture.
    """
    from matplotlib.figure import Figure

    classes = len(class_names)
    edge = min(4.0 + 0.32 * classes, 16.0)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(edge, edge), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    axes.set(title=_literal(title), xlabel="predicted", ylabel="true")
    if classes <= MOST_NAMED:
        axes.set_xticks(range(classes), [_literal(name) for name in class_names], rotation=90)
        axes.set_yticks(range(classes), [_literal(name) for name in class_names])
        for true, predicted in np.argwhere(confusion):
            colour = "white" if shares[true, predicted] > 0.5 else "black"
            count = str(confusion[true, predicted])
            axes.text(predicted, true, count, ha="center", va="center", color=colour, fontsize=8)
    _save(figure, path)


def _literal(name: str) -> str:
    """``name`` as Matplotlib shows it: a dollar sign would begin a formula."""
    return printable(name).replace("$", r"\$")


def _save(figure: Figure, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with whole_file(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # shown as boxes; the data has the names
        figure.savefig(temporary, format="png", dpi=110)
