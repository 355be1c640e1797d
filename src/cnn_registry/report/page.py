"""The report of a run: a page made of what it recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnn_registry.recipes.schema import BestBy
from cnn_registry.runs.history import Epoch, best_epoch
from cnn_registry.runs.run import Run
from cnn_registry.text import counted, enumerated, printable, shorten_all

from .charts import Chart, Curve, curves, reliability
from .gallery import MISTAKES, Thumbnail, confused_pairs, mistakes
from .glossary import TITLES, WORDS, Word
from .matrix import most_confused, show_matrix
from .measures import Measure, measures_of_counts, wilson
from .recipe_rows import base_of, differing, settings_of, value_text
from .render import duration, percent, render_page
from .scales import loss_limits
from .summary import Summary

SHORT = 24
"""Columns of a terminal to which names are shortened beside a matrix."""

SECTIONS = {
    "results": "Results",
    "curves": "Curves",
    "confusion": "Confusion matrix",
    "classes": "Classes",
    "mistakes": "Mistakes",
    "calibration": "Calibration",
    "data": "Data",
    "recipe": "Recipe",
    "provenance": "Provenance",
    "words": "What the figures mean",
}

SHOWN = (
    "mean_average_precision",
    "accuracy",
    "balanced_accuracy",
    "micro_f1",
    "macro_f1",
    "label_accuracy",
    "top_5",
    "auc",
)
"""Figures in their order."""

DIGITS = {"macro_f1": 3, "micro_f1": 3, "mean_average_precision": 4, "auc": 4}
"""Figures that are not shares, and the digits after their point."""

RESULTS = ("figures", "matrix", "class_rows", "label_rows", "wrong", "calibration")
"""What a page leaves out where nothing was measured."""

EXPLAINED = {
    "class_rows": ("recall", "interval", "precision", "f1"),
    "label_rows": ("mean_average_precision", "threshold", "recall", "precision", "f1"),
    "calibration": ("error", "temperature", "cross_entropy"),
}
"""The words of parts of a page."""


@dataclass(frozen=True)
class Figure:
    """A figure that is shown large: a key of the glossary, the value, and its interval."""

    key: str
    title: str
    value: str
    interval: str = ""


@dataclass(frozen=True)
class ClassRow:
    """A row of the table of classes."""

    label: int
    train: int
    images: int
    recall: float
    low: float
    high: float
    precision: float
    f1: float
    other: int | None
    other_images: int


def report_page(
    run: Run,
    history: Sequence[Epoch],
    summary: Summary | None,
    thumbnails: Mapping[int, Thumbnail],
    notes: Sequence[str],
) -> str:
    """The report of a run.

    Args:
        run: the run.
        history: its epochs.
        summary: what was measured; ``None`` where nothing was.
        thumbnails: pictures of examples by their number.
        notes: what the reader should know first, a line each.
    """
    context: dict[str, Any] = {
        "title": title_of(run),
        "sentence": _sentence(run, history),
        "notes": [*notes, *(summary.remarks if summary else ())],
        "names": run.record.data.class_names,
        "names_shown": [printable(name) for name in run.record.data.class_names],
        "short": shorten_all([printable(name) for name in run.record.data.class_names], SHORT),
        "thumbnails": thumbnails,
        **_history_context(history, run.record.recipe.best_by),
        **(_results_context(run, summary) if summary else dict.fromkeys(RESULTS)),
        **_data_context(run, summary),
        **_recipe_context(run),
        "provenance": _provenance(run, history),
    }
    context["words"] = _words(context)
    shown = {
        "results": context.get("figures"),
        "curves": context["curves"],
        "confusion": context.get("matrix"),
        "classes": context.get("class_rows") or context.get("label_rows"),
        "mistakes": context.get("matrix"),
        "calibration": context.get("calibration"),
        "words": context["words"],
    }
    context["sections"] = [(key, text) for key, text in SECTIONS.items() if shown.get(key, True)]
    return render_page("report.html.jinja", context)


def _words(context: Mapping[str, Any]) -> list[Word]:
    """What is explained: the figures that the page shows."""
    figures: Sequence[Figure] = context["figures"] or ()
    shown = {figure.key for figure in figures} | ({"interval"} if any(figure.interval for figure in figures) else set())
    shown.update(*(words for part, words in EXPLAINED.items() if context.get(part)))
    return [word for word in WORDS if word.key in shown]


def title_of(run: Run) -> str:
    """What a run is called: its model and its data."""
    return f"{run.record.model.spec['name']} on {run.record.data.name}"


def _sentence(run: Run, history: Sequence[Epoch]) -> str:
    record = run.record
    height, width, _ = record.model.input_shape
    seconds = sum(epoch.seconds for epoch in history)
    done = f"{len(history)} of {counted(record.recipe.epochs, 'epoch')}"
    return (
        f"{record.model.spec['name']} was trained on {counted(len(record.split.train), 'image')} of "
        f"{counted(len(record.data.class_names), 'class')} at {height}x{width} pixels and validated on "
        f"{len(record.split.val):,} others, with the recipe {record.recipe.name}: {done} in {duration(seconds)}. "
        f"Status: {run.status}."
    )


def _history_context(history: Sequence[Epoch], best_by: BestBy) -> dict[str, Any]:
    columns = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "images_per_second")
    return {
        "curves": _curves(history, best_by) if history else [],
        "history_columns": [column.replace("_", " ") for column in columns],
        "history_rows": [[f"{getattr(epoch, column):.4g}" for column in columns] for epoch in history],
    }


def _curves(history: Sequence[Epoch], best_by: BestBy) -> list[Chart]:
    best = best_epoch(history, best_by).epoch

    def pair(name: str) -> list[Curve]:
        training, validation = ([getattr(row, key) for row in history] for key in (name, f"val_{name}"))
        return [Curve("training", training, "first"), Curve("validation", validation, "a1")]

    limits = loss_limits([row.loss for row in history], [row.val_loss for row in history])
    return [
        curves("Loss by epoch", "loss", pair("loss"), limits=limits, best=best),
        curves("Accuracy by epoch", "accuracy", pair("accuracy"), limits=(0.0, 1.0), best=best),
    ]


def _results_context(run: Run, summary: Summary) -> dict[str, Any]:
    calibrated, names = summary.calibration, run.record.data.class_names
    evaluated = f"The best weights on {counted(summary.images, 'validation image')} of {len(names)} classes."
    if summary.multi_label:
        several = f"{evaluated} An image may show several classes, or none."
        train = summary.data.train if summary.data else (0,) * len(names)
        return dict.fromkeys(RESULTS) | {
            "figures": _figures(summary),
            "evaluated": several,
            "label_rows": list(zip(train, summary.classes, strict=True)),
            "has_counts": summary.data is not None,
        }
    wrong = mistakes(summary.predictions, run.record.validated) if summary.predictions else []
    return {
        "figures": _figures(summary),
        "evaluated": evaluated,
        "label_rows": None,
        "matrix": show_matrix(summary.matrix),
        "matrix_pairs": most_confused(summary.matrix)[:20],
        "class_rows": _class_rows(summary),
        "has_counts": summary.data is not None,
        "wrong": wrong[:MISTAKES],
        "total_wrong": len(wrong),
        "pairs": confused_pairs(wrong),
        "calibration": calibrated,
        "reliability": reliability(calibrated.bins) if calibrated else None,
        "calibration_text": _calibration_text(summary),
    }


def _figures(summary: Summary) -> list[Figure]:
    measures = summary.measures or measures_of_counts(summary.matrix)
    found = [
        Figure(key, TITLES[key], _value(key, measures[key]), _interval(key, measures[key]))
        for key in SHOWN
        if key in measures
    ]
    if summary.cross_entropy is not None:
        found.append(Figure("cross_entropy", TITLES["cross_entropy"], f"{summary.cross_entropy:.4f}"))
    if summary.calibration:
        found.append(Figure("error", TITLES["error"], percent(summary.calibration.error)))
    return found


def _value(key: str, measure: Measure) -> str:
    return f"{measure.value:.{DIGITS[key]}f}" if key in DIGITS else percent(measure.value)


def _interval(key: str, measure: Measure) -> str:
    if measure.low is None or measure.high is None:
        return ""
    return f"95 %: {_value(key, Measure(measure.low))} to {_value(key, Measure(measure.high))}"


def _class_rows(summary: Summary) -> list[ClassRow]:
    right, counts = summary.matrix.right, summary.matrix.of_true
    low, high = wilson(right, counts)
    worst = {true: (other, images) for true, other, images in reversed(most_confused(summary.matrix))}
    train = summary.data.train if summary.data else (0,) * len(counts)
    rows = []
    for label, row in enumerate(summary.classes):
        other, images = worst.get(label, (None, 0))
        rows.append(
            ClassRow(
                label,
                train[label],
                int(counts[label]),
                row.recall,
                float(low[label]),
                float(high[label]),
                row.precision,
                row.f1,
                other,
                images,
            )
        )
    return rows


def _calibration_text(summary: Summary) -> str:
    found = summary.calibration
    if not found:
        return ""
    sure = sum(bin.images * bin.confidence for bin in found.bins) / max(summary.images, 1)
    kind = "more" if sure > summary.accuracy else "less"
    return (
        f"On average the network is {percent(sure)} sure and right for {percent(summary.accuracy)} of the images: it "
        f"is {kind} sure than it should be. The expected calibration error is {percent(found.error)}. With a "
        f"temperature of {found.temperature:.2f}, which gives the lowest cross-entropy "
        f"({found.cross_entropy_after:.4f}), it is {percent(found.error_after)}."
    )


def _data_context(run: Run, summary: Summary | None) -> dict[str, Any]:
    record, facts = run.record, summary.data if summary else None
    rows = [
        ("name", record.data.name),
        ("source", record.data.source),
        ("classes", f"{len(record.data.class_names):,}"),
        ("split", f"{record.split.name}: {_parts(run)}"),
    ]
    if record.data.left_out:
        bad = enumerated(f"{image} ({reason})" for image, reason in record.data.left_out.items())
        rows.append(("left out", f"{counted(len(record.data.left_out), 'unreadable image')}: {bad}"))
    counts: list[list[Any]] = []
    if facts:
        columns = [list(row) for row in zip(facts.train, facts.val, facts.test, strict=True)]
        most = max(map(sum, columns), default=1) or 1
        counts = [[*row, sum(row), round(100 * sum(row) / most, 1)] for row in columns]
    sizes = facts.sizes if facts else None
    return {
        "data_rows": rows,
        "counts": counts,
        "has_test": bool(record.split.test),
        "sizes": sizes,
        "sizes_text": _sizes_text(run, summary),
    }


def _parts(run: Run) -> str:
    split = run.record.split
    parts = {"training": split.train, "validation": split.val, "test": split.test}
    return ", ".join(f"{len(ids):,} {name}" for name, ids in parts.items() if ids)


def _sizes_text(run: Run, summary: Summary | None) -> str:
    sizes = summary.data.sizes if summary and summary.data else None
    if not sizes:
        return ""
    common = ", ".join(f"{width}x{height} ({share:.0%})" for width, height, share in sizes.common)
    text = f"Of {counted(sizes.looked_at, 'image')}. Most frequent: {common}."
    if sizes.enlarged:
        height, width = run.record.form.frame
        text += f" {sizes.enlarged:.0%} are enlarged to fit {height}x{width} pixels."
    return text


def _recipe_context(run: Run) -> dict[str, Any]:
    recipe = run.record.recipe
    own, base = settings_of(recipe), base_of(recipe)
    rows = differing({base.name: settings_of(base), "this run": own}) if base else []
    if base is None:
        text = f"The recipe {recipe.name} is based on none of the built-in ones."
    elif rows:
        text = f"What differs from the built-in recipe {base.name}, by the model's package, the data, or the user:"
    else:
        text = f"The built-in recipe {base.name}, unchanged."
    return {
        "recipe_text": text,
        "recipe_rows": rows,
        "base_name": base.name if base else "",
        "all_settings": [(key, value_text(value)) for key, value in own.items()],
    }


def _provenance(run: Run, history: Sequence[Epoch]) -> list[tuple[str, str]]:
    record = run.record
    provider = record.model.spec["provider"]
    shape = "x".join(map(str, record.model.input_shape))
    options = ", ".join(f"{key}={value_text(value)}" for key, value in record.model.options.items())
    rows = [
        ("run", run.location),
        ("begun", record.created),
        ("status", run.status),
        ("command", " ".join(record.command)),
        ("model", f"{record.model.name} {provider['version'] or ''}, input {shape}{f', {options}' if options else ''}"),
        ("network", record.model.fingerprint or "not recorded"),
        ("data digest", record.data.digest),
        ("seed", str(record.recipe.seed)),
        ("time", f"{duration(sum(epoch.seconds for epoch in history))} of training steps"),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
        ("machine", ", ".join(f"{name} {value}" for name, value in record.machine.items() if value != "")),
    ]
    if best := record.result.get("best"):
        rows.append(("best epoch", f"{best['epoch']} ({record.result.get('best_by', 'lowest val_loss')})"))
    if limit := record.result.get("ended_by"):
        rows.append(("ended by", str(limit)))
    rows += [("resumed", f"{item.at} at step {item.step}{_changes(item.changed)}") for item in record.resumed]
    if record.rollbacks:
        rows.append(("rolled back", f"{record.rollbacks} times, each with half the learning rate"))
    if error := record.result.get("error"):
        rows.append(("ended by", str(error)))
    return rows


def _changes(changed: Sequence[str]) -> str:
    return f", changed: {', '.join(changed)}" if changed else ""
