"""The page of a tuning: what mattered, what was tried, and what the best settings come to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry.errors import CnnRegistryError
from cnn_registry.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Line, Tick
from cnn_registry.report.render import duration, percent, render_page, write_page
from cnn_registry.report.summary import read_summary
from cnn_registry.runs.history import WATCHED
from cnn_registry.runs.run import Run
from cnn_registry.text import counted, shorten

from .space import Choices, Range, Space, as_it_is, brief, chosen_settings, recipe_and_options
from .task import Task

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


AXIS, MARGIN, TALL = 150.0, 70.0, 300.0
"""Lengths in the parallel coordinates: from one axis to the next, beside the outer ones, and the height."""


@dataclass(frozen=True)
class Axis:
    """An axis of the parallel coordinates: its place, what it is of, and labelled values."""

    x: float
    name: str
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class TrialLine:
    """A trial as a line: its path, its colour, its opacity, and what it is."""

    path: str
    style: str
    weight: float
    title: str


def write_tuning_page(
    path: Path, what: Task, study: optuna.Study, rows: Sequence[Mapping[str, Any]], best: FrozenTrial, run: Run
) -> Path:
    """Write the page.

    Args:
        path: the file.
        what: what was tuned.
        study: at its end.
        rows: of the table of trials.
        best: its best trial.
        run: the best settings, trained on all training images.

    Raises:
        RunError: as `write_page`.
    """
    by = what.base.best_by
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    as_before = as_it_is(what.space, what.base, what.spec)
    first = next((trial for trial in complete if trial.params == as_before), None)
    summary = read_summary(run)
    accuracy = summary.measures.get("accuracy") if summary else None
    figures = [
        (f"{WATCHED[by]}, trial {best.number}", f"{best.value:.4f}", "on the images that settings were chosen by")
    ]
    if first:
        figures.append((f"{WATCHED[by]}, trial {first.number}", f"{first.value:.4f}", "the recipe as it was"))
    if summary and accuracy and accuracy.low is not None and accuracy.high is not None:
        interval = f"95 %: {percent(accuracy.low)} to {percent(accuracy.high)}"
        figures.insert(0, ("accuracy, retrained", percent(accuracy.value), f"{interval}; on images that no trial saw"))
    settings = chosen_settings(best.params, what.space)
    before = recipe_and_options(what.base, what.spec)
    importances, note = _importances(study, complete)
    axes, lines = _parallel(what.space, complete, best, by) if complete else ((), ())
    context = {
        "title": f"Tuning of {what.spec.name} on {what.plan.data.name}",
        "notes": [note] if note else [],
        "sentence": _sentence(what, trials, complete),
        "figures": figures,
        "best_number": best.number,
        "settings": [[key, brief(before.get(key, "the default")), brief(value)] for key, value in settings.items()],
        "importances": [(key, percent(share), round(100 * share, 1)) for key, share in importances.items()],
        "history": _history(trials, best, by),
        "axes": axes,
        "lines": lines,
        "wide": MARGIN * 2 + AXIS * max(len(axes) - 1, 1),
        "tall": TALL,
        "columns": [(key, _is_number(entry)) for key, entry in what.space.items()],
        "measure": WATCHED[by],
        "rows": rows,
        "cell": lambda row, key: brief(row["settings"][key]) if key in row["settings"] else "",
        "run": str(run.path),
        "words": [],
    }
    write_page(path, render_page("tuning.html.jinja", context))
    return path


def _sentence(what: Task, trials: Sequence[FrozenTrial], complete: Sequence[FrozenTrial]) -> str:
    split = what.plan.split
    pruned = sum(trial.state.name == "PRUNED" for trial in trials)
    seconds = sum(trial.duration.total_seconds() for trial in trials if trial.duration)
    return (
        f"{counted(len(complete), 'trial')} came to the end and {pruned} {'was' if pruned == 1 else 'were'} pruned, in "
        f"{duration(seconds)}. Each was trained on {counted(len(split.train), 'image')} and validated on "
        f"{len(split.val):,} others. The best was "
        f"then trained on all {len(split.train) + len(split.val):,}, and evaluated once on images that no trial saw."
    )


def _importances(study: optuna.Study, complete: Sequence[FrozenTrial]) -> tuple[dict[str, float], str]:
    """How much of the differences each setting explains (fANOVA), and why that is not known."""
    import optuna

    if len(complete) < 4:
        return {}, "The importance of settings takes at least four trials that came to the end."
    try:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator)), ""
    except (ValueError, RuntimeError, ImportError, ZeroDivisionError, CnnRegistryError) as error:
        return {}, f"The importance of settings is not known: {error}"


def _history(trials: Sequence[FrozenTrial], best: FrozenTrial, by: str) -> Chart:
    """The value of each trial, and the best so far."""
    known = [trial for trial in trials if trial.state.name == "COMPLETE"]
    values = [float(trial.value) for trial in known if trial.value is not None]
    low, high = min(values), max(values)
    if by == "val_loss" and len(values) > 3:  # one that did not learn would press the others together
        high = min(high, 3 * sorted(values)[len(values) // 2])
    room = (high - low) or abs(high) or 1.0
    low, high = low - 0.05 * room, high + 0.05 * room
    last = max(max(trial.number for trial in trials), 1)

    def x(number: float) -> float:
        return LEFT + number / last * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (min(max(value, low), high) - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    so_far = math.nan
    path: list[str] = []
    for trial, value in zip(known, values, strict=True):
        better = math.isnan(so_far) or (value < so_far if by == "val_loss" else value > so_far)
        if better and path:
            path.append(f"L{x(trial.number):.1f} {y(so_far):.1f}")
        so_far = value if better else so_far
        path.append(f"{'L' if path else 'M'}{x(trial.number):.1f} {y(so_far):.1f}")
    points = [
        Line(
            f"trial {trial.number}: {value:.4f}",
            "",
            "a1" if trial.number == best.number else "first",
            (x(trial.number), y(value)),
        )
        for trial, value in zip(known, values, strict=True)
    ]
    ticks = [low + (high - low) * share for share in (0.05, 0.35, 0.65, 0.95)]
    numbers = sorted({round(last * share) for share in (0, 0.25, 0.5, 0.75, 1)})
    return Chart(
        f"{WATCHED[by].capitalize()} by trial",
        "trial",
        WATCHED[by],
        tuple(Tick(x(number), str(number)) for number in numbers),
        tuple(Tick(y(value), f"{value:.3g}") for value in ticks),
        (Line("best so far", " ".join(path), "a0", None), *points),
    )


def _parallel(
    space: Space, complete: Sequence[FrozenTrial], best: FrozenTrial, by: str
) -> tuple[tuple[Axis, ...], tuple[TrialLine, ...]]:
    """The parallel coordinates: an axis for each setting and one for the measure, the best values at its top."""
    values = [float(trial.value) for trial in complete if trial.value is not None]
    low, high = min(values), max(values)
    keys = list(space)

    def height(share: float) -> float:
        return TALL - 40 - share * (TALL - 90)

    def rank(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 1.0
        return 1 - share if by == "val_loss" and high > low else share

    axes = [
        Axis(MARGIN + number * AXIS, key, tuple(Tick(height(at), text) for at, text in _ticks(space[key])))
        for number, key in enumerate(keys)
    ]
    ends = tuple(Tick(height(rank(value)), f"{value:.4g}") for value in sorted({low, high}))
    axes.append(Axis(MARGIN + len(keys) * AXIS, WATCHED[by], ends))
    lines = []
    for trial in sorted(complete, key=lambda trial: trial.number == best.number):
        assert trial.value is not None
        places = [
            (axis.x, height(space[axis.name].place(trial.params[axis.name])))
            for axis in axes[:-1]
            if axis.name in trial.params
        ]
        places.append((axes[-1].x, height(rank(trial.value))))
        path = " ".join(f"{'L' if at else 'M'}{x:.1f} {y:.1f}" for at, (x, y) in enumerate(places))
        is_best = trial.number == best.number
        weight = 1.0 if is_best else round(0.15 + 0.6 * rank(trial.value), 2)
        lines.append(TrialLine(path, "a1" if is_best else "a0", weight, f"trial {trial.number}: {trial.value:.4f}"))
    return tuple(axes), tuple(lines)


def _is_number(entry: Range | Choices) -> bool:
    """Whether all values of a setting are numbers, by which trials are sorted then."""
    return isinstance(entry, Range) or all(type(value) in (int, float) for value in entry.values)


def _ticks(entry: Any) -> list[tuple[float, str]]:
    """Places from 0 to 1 and what is there."""
    if isinstance(entry, Range):
        return [(0.0, f"{entry.low:.3g}"), (1.0, f"{entry.high:.3g}")]
    labels = [entry.label(value) for value in entry.values]
    return [(entry.place(label), shorten(brief(label), 16)) for label in labels]
