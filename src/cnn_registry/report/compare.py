"""Several runs side by side: what differs in their settings, and whether one is really better."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from cnn_registry.errors import CnnRegistryError, UsageError
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.inference.predictor import Predictor, run_predictor
from cnn_registry.runs.history import Epoch, read_history
from cnn_registry.runs.run import Run
from cnn_registry.system.extras import need
from cnn_registry.system.files import is_own_file
from cnn_registry.system.progress import note, working
from cnn_registry.text import counted

from .charts import Chart, Curve, curves
from .glossary import COMPARED, WORDS
from .measures import McNemar, holm, mcnemar
from .page import title_of
from .recipe_rows import differing, settings_of, value_text
from .render import percent, render_page, write_page
from .scales import loss_limits
from .summary import Predictions, Summary, read_summary, summarise

PAGE = "comparison.html"
"""The page, beside the first run."""

BATCH = 32
"""Images of which the speed is measured, besides that of one."""

SECONDS = 0.5
"""Time for which it is measured."""

LEVEL = 0.05
"""A difference with a smaller p is called one."""


@dataclass(frozen=True)
class Speed:
    """Milliseconds per image on this machine, of a single image and of a batch."""

    single: float
    batch: float


@dataclass(frozen=True)
class Contender:
    """One of the runs.

    Attributes:
        letter: by which it is called.
        run: the run.
        history: its epochs.
        summary: what was measured of it; ``None`` where that is unknown or not comparable.
        speed: of its network; ``None`` where it cannot be used.
        parameters: numbers in its weights file; 0 where there is none.
        size: bytes of its weights file.
    """

    letter: str
    run: Run
    history: tuple[Epoch, ...]
    summary: Summary | None
    speed: Speed | None
    parameters: int
    size: int


@dataclass(frozen=True)
class Verdict:
    """Two runs on the same images.

    Attributes:
        first, second: their letters.
        test: McNemar's test.
        p: its p-value, adjusted for the number of pairs.
    """

    first: str
    second: str
    test: McNemar
    p: float

    @property
    def text(self) -> str:
        """The verdict in one line."""
        one, other = self.test.only_first, self.test.only_second
        numbers = f"{counted(one, 'image')} only {self.first} gets right, {other:,} only {self.second}"
        better, worse = (self.first, self.second) if one > other else (self.second, self.first)
        kind = "exact" if self.test.exact else "chi-squared"
        p = f"p = {self.p:.2g}" if self.p >= 1e-4 else "p < 0.0001"
        if self.p < LEVEL:
            return f"{better} is better than {worse}: {numbers} ({p}, McNemar's test, {kind})"
        return f"{self.first} and {self.second} may be equally good: {numbers} ({p}, McNemar's test, {kind})"


@dataclass(frozen=True)
class Comparison:
    """What a comparison shows.

    Attributes:
        contenders: the runs.
        settings: those that differ: rows of the key and a value for each run.
        verdicts: of each pair of runs; empty where they did not see the same images.
        notes: what the reader should know first, a line each.
        same_images: whether they were validated on the same images.
    """

    contenders: tuple[Contender, ...]
    settings: tuple[tuple[str, ...], ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    same_images: bool

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run, JSON-ready; ``None`` for what is unknown."""
        rows = []
        for found in self.contenders:
            summary, speed = found.summary, found.speed
            measures = summary.measures if summary else {}
            accuracy, average = measures.get("accuracy"), measures.get("mean_average_precision")
            rows.append(
                {
                    "letter": found.letter,
                    "run": found.run.location,
                    "model": found.run.record.model.spec["name"],
                    "accuracy": summary.accuracy if summary else None,
                    "low": accuracy.low if accuracy else None,
                    "high": accuracy.high if accuracy else None,
                    "mean_average_precision": average.value if average else None,
                    "cross_entropy": summary.cross_entropy if summary else None,
                    "training_seconds": sum(epoch.seconds for epoch in found.history),
                    "ms_single": speed.single if speed else None,
                    "ms_batch": speed.batch if speed else None,
                    "parameters": found.parameters or None,
                    "bytes": found.size or None,
                }
            )
        return rows


@working("Comparing runs")
def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Compare runs: settings, results on the same validation images, speed and size.

    Where they were validated on different images, only settings, speed and size are compared, and a note says so.

    Raises:
        UsageError: there are fewer than two runs, or one is named twice.
        RunError: a file of a run is damaged.
    """
    need("A comparison", "jinja2", "scipy", "sklearn")
    if len(runs) < 2:
        raise UsageError(f"A comparison needs at least two runs; got {len(runs)}.")
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError("A run is named twice; name each once.")
    notes, same = [], _saw_the_same(runs)
    if not same:
        notes.append(
            "The runs were validated on different images, so their results cannot be compared; only settings, speed "
            "and size are."
        )
    contenders = []
    for number, run in enumerate(runs):
        summary, speed = None, None
        if same:
            try:
                summary = _summary(run)
            except CnnRegistryError as error:
                notes.append(f"{run.location} has no results: {error}")
        try:
            with working(f"Measuring the speed of {run.location}"):
                speed = _speed(run)
        except CnnRegistryError as error:
            notes.append(f"The speed of {run.location} cannot be measured: {error}")
        history = read_history(run.history_csv) if run.history_csv.exists() else []
        parameters, size = _size(run)
        contenders.append(Contender(_letter(number), run, tuple(history), summary, speed, parameters, size))
    if any(found.summary and found.summary.multi_label for found in contenders):
        notes.append(
            "An image may show several classes: accuracy is the share of images whose labels are all right. McNemar's "
            "test, which is for one label per image, is left out."
        )
    for line in notes:
        note(line)
    settings = differing({found.letter: _settings(found.run) for found in contenders})
    return Comparison(tuple(contenders), tuple(settings), tuple(_verdicts(contenders)), tuple(notes), same)


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write a comparison as a page.

    Raises:
        RunError: as `write_page`.
    """
    results = [found for found in comparison.contenders if found.history] if comparison.same_images else []
    letters = {found.letter: f"a{number % 8}" for number, found in enumerate(comparison.contenders)}
    rows = comparison.rows()
    shown = shown_columns(rows)
    context = {
        "title": f"Comparison of {counted(len(comparison.contenders), 'run')}",
        "notes": comparison.notes,
        "columns": [title for title, _ in shown],
        "rows": [(row["letter"], letters[row["letter"]], row["run"], cells(row, shown)[1:]) for row in rows],
        "titles": [(found.letter, title_of(found.run), found.run.record.created) for found in comparison.contenders],
        "verdicts": [verdict.text for verdict in comparison.verdicts],
        "curves": _curves(results, letters) if results else [],
        "settings": comparison.settings,
        "setting_columns": ["setting", *letters],
        "words": [word for word in WORDS if word.key in _explained(comparison, shown)],
    }
    write_page(path, render_page("compare.html.jinja", context))


def _explained(comparison: Comparison, shown: Columns) -> set[str]:
    """The keys of the words that the page explains."""
    found = {key for _, key in shown}
    return found | ({"interval"} if "low" in found else set()) | (set(COMPARED) if comparison.verdicts else set())


Columns = Sequence[tuple[str, str]]
"""Titles, and keys of `Comparison.rows`."""

COLUMNS: Columns = (
    ("run", "letter"),
    ("model", "model"),
    ("accuracy", "accuracy"),
    ("95 % interval", "low"),
    ("mAP", "mean_average_precision"),
    ("cross-entropy", "cross_entropy"),
    ("training", "training_seconds"),
    ("ms, 1 image", "ms_single"),
    (f"ms of {BATCH}", "ms_batch"),
    ("parameters", "parameters"),
    ("MB", "bytes"),
)
"""The columns that the table of runs may have; see `shown_columns`."""


def shown_columns(rows: Sequence[dict[str, Any]]) -> Columns:
    """The columns of these rows: mAP where images may show several classes, else the interval of the accuracy."""
    several = any(row["mean_average_precision"] is not None for row in rows)
    left_out = "low" if several else "mean_average_precision"
    return [(title, key) for title, key in COLUMNS if key != left_out]


def cells(row: dict[str, Any], shown: Columns) -> list[str]:
    """A row of the table of runs for people."""
    interval = "" if row["low"] is None else f"{percent(row['low'])} to {percent(row['high'])}"
    texts = {
        "accuracy": percent,
        "mean_average_precision": "{:.4f}".format,
        "cross_entropy": "{:.4f}".format,
        "training_seconds": "{:.0f} s".format,
        "ms_single": "{:.1f}".format,
        "ms_batch": "{:.1f}".format,
        "parameters": "{:,}".format,
    }
    found = {key: "" if row[key] is None else text(row[key]) for key, text in texts.items()}
    found |= {"low": interval, "bytes": "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}"}
    return [found.get(key, str(row[key])) for _, key in shown]


def _letter(number: int) -> str:
    """A to Z, then AA, AB and so on."""
    before, place = divmod(number, len(ascii_uppercase))
    return (_letter(before - 1) if before else "") + ascii_uppercase[place]


def _saw_the_same(runs: Sequence[Run]) -> bool:
    first = runs[0].record
    return all(
        run.record.data.digest == first.data.digest and set(run.record.validated) == set(first.validated)
        for run in runs
    )


def _summary(run: Run) -> Summary:
    """What was measured of a run; evaluated again where an earlier version recorded less.

    Raises:
        CnnRegistryError: it cannot be evaluated.
    """
    summary = read_summary(run)
    if summary and (summary.predictions or summary.multi_label):
        return summary
    evaluation = evaluate(run)
    return summarise(evaluation, [], None, evaluation.remarks())


def _speed(run: Run) -> Speed:
    predictor, shape = run_predictor(run), run.record.model.input_shape
    return Speed(*(_milliseconds(predictor, np.zeros((images, *shape), np.uint8)) for images in (1, BATCH)))


def _milliseconds(predictor: Predictor, images: np.ndarray) -> float:
    """Per image, the fastest of some passes after the first."""
    predictor(images)
    passes: list[float] = []
    began = time.perf_counter()
    while not passes or time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        predictor(images)
        passes.append(time.perf_counter() - start)
    return 1000 * min(passes) / len(images)


def _size(run: Run) -> tuple[int, int]:
    """How many numbers the best weights have, and the bytes of their file; zeros where it is missing or damaged."""
    import h5py

    count = 0

    def add(_: str, item: object) -> None:
        nonlocal count
        if isinstance(item, h5py.Dataset) and "vars" in str(item.name):
            count += item.size

    if not is_own_file(run.best_weights):  # to open a pipe may take for ever
        return 0, 0
    try:
        with h5py.File(run.best_weights) as file:
            file.visititems(add)
        return count, run.best_weights.stat().st_size
    except Exception:  # HDF5 has many for a damaged file
        return 0, 0


def _settings(run: Run) -> dict[str, Any]:
    record = run.record
    provider = record.model.spec["provider"]
    return {
        "model": record.model.spec["name"],
        "package": f"{provider['distribution'] or 'session'} {provider['version'] or ''}".strip(),
        "data": record.data.name,
        "split": record.split.name,
        "training images": len(record.split.train),
        "classes": record.model.num_classes,
        "input": "x".join(map(str, record.model.input_shape)),
        "recipe": record.recipe.name,
        "network options": value_text(record.model.options),
        **{key: value for key, value in settings_of(record.recipe).items() if not key.startswith("model.")},
    }


def _verdicts(contenders: Sequence[Contender]) -> list[Verdict]:
    known = [(found, found.summary.predictions) for found in contenders if found.summary and found.summary.predictions]
    right = [_right(found.run, predictions) for found, predictions in known]
    pairs = list(combinations(range(len(known)), 2))
    tests = {(one, other): mcnemar(right[one], right[other]) for one, other in pairs}
    adjusted = holm({pair: test.p for pair, test in tests.items()})
    return [
        Verdict(known[one][0].letter, known[other][0].letter, tests[one, other], adjusted[one, other])
        for one, other in pairs
    ]


def _right(run: Run, predictions: Predictions) -> np.ndarray:
    """Whether each validation image is predicted correctly, in the order of their ids."""
    order = np.argsort(np.array(run.record.validated))
    return np.equal(predictions.labels, predictions.predicted)[order]


def _curves(contenders: Sequence[Contender], letters: dict[str, str]) -> list[Chart]:
    def of(name: str) -> list[Curve]:
        return [
            Curve(found.letter, [getattr(row, name) for row in found.history], letters[found.letter])
            for found in contenders
        ]

    losses = [value for curve in of("val_loss") for value in curve.values if np.isfinite(value)]
    limits = loss_limits([float(np.percentile(losses, 98))] if losses else [], losses)
    return [
        curves("Validation loss by epoch", "validation loss", of("val_loss"), limits=limits),
        curves("Validation accuracy by epoch", "validation accuracy", of("val_accuracy"), limits=(0.0, 1.0)),
    ]
