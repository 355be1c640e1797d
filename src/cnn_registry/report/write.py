"""Write a run's report: data, plots, and the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnn_registry.data.dataset import ImageDataset, Split
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.split import positions
from cnn_registry.errors import CnnRegistryError, RunError, UsageError
from cnn_registry.explain.grad_cam import GradCam
from cnn_registry.inference.evaluate import evaluate, source_of
from cnn_registry.inference.evaluation import Evaluation
from cnn_registry.runs.history import Epoch, read_history
from cnn_registry.runs.run import Run
from cnn_registry.system.extras import need
from cnn_registry.system.progress import note, working

from .facts import data_facts
from .fonts import lettering
from .gallery import MISTAKES, Example, Thumbnail, confused_pairs, draw, mistakes
from .page import report_page, title_of
from .plots import plot_confusion, plot_curves
from .render import check_page, write_page
from .summary import Summary, read_summary, summarise, summary_text

PAGE = "report.html"
"""The page in a run directory."""


def write_report(run: Run, history: Sequence[Epoch], summary: Summary) -> None:
    """Write ``report.json``, ``curves.png`` and, where an image shows one class, ``confusion.png``."""
    run.write("report.json", summary_text(summary))
    name, class_names = title_of(run), [row.name for row in summary.classes]
    letters = lettering([name, *class_names])
    by = run.record.recipe.best_by
    plot_curves(history, run.path / "curves.png", title=name, letters=letters, best_by=by)
    if summary.multi_label:
        return
    plot_confusion(
        summary.matrix,
        class_names,
        run.path / "confusion.png",
        title=f"{name}: {summary.accuracy:.1%} of {summary.images} {summary.part}, best weights",
        letters=letters,
    )


def recorded_report(evaluation: Evaluation, remarks: Sequence[str]) -> dict[str, Any]:
    """What ``run.json`` has of the evaluation of the best weights."""
    found = {
        "weights": "best",
        "accuracy": evaluation.accuracy,
        "loss": evaluation.loss,
        "remarks": list(remarks),
    }
    return found if evaluation.thresholds is None else found | {"thresholds": evaluation.thresholds.tolist()}


def write_run_page(
    run: Run,
    history: Sequence[Epoch],
    summary: Summary | None,
    dataset: ImageDataset | None,
    cam: Callable[[], GradCam],
    *,
    notes: Sequence[str] = (),
    out: Path | None = None,
) -> Path:
    """Write the report of a run as a page.

    Args:
        run: the run.
        history: its epochs.
        summary: what was measured; ``None`` where nothing was.
        dataset: the images; ``None`` for a page without thumbnails.
        cam: makes the network's explanations.
        notes: what the reader should know first, a line each.
        out: the file; default ``report.html`` in the run directory.

    Returns:
        The file.

    Raises:
        RunError: the file is there and is not such a page, or it cannot be written.
    """
    need("A report", "jinja2", "sklearn", "scipy")
    thumbnails, more = _thumbnails(run, summary, dataset, cam) if summary and dataset else ({}, [])
    for line in more:
        note(line)
    path = out or run.path / PAGE
    write_page(path, report_page(run, history, summary, thumbnails, [*notes, *more]))
    return path


@working("Writing the report")
def remake_page(run: Run, *, data: Path | None = None, out: Path | None = None) -> Path:
    """Write the page of a run again, of what it recorded and, where they are there, its images and its network.

    Where its training did not come to write ``report.json``, that and the plots are written as well.

    Args:
        run: the run.
        data: where its images are now; default where they were, if they still are there.
        out: as for `write_run_page`.

    Returns:
        The file.

    Raises:
        RunError: as `write_run_page`, or a file of the run is damaged.
        DataError: its images are not where ``data`` says.
        UsageError: the run comes from a hub, and there is no ``out``.
    """
    need("A report", "jinja2", "matplotlib", "sklearn", "scipy")
    if out is None and run.is_fetched:
        raise UsageError("A run of a hub is in the cache, which is not written to; name the file to write with -o.")
    check_page(out or run.path / PAGE)
    history = read_history(run.history_csv) if run.history_csv.exists() else []
    summary, dataset, notes = read_summary(run), None, []
    try:
        dataset = load_dataset(run.record.data.dataset, source_of(run, data))
        positions(dataset, run.record.validated)
    except CnnRegistryError as error:
        if data is not None:
            raise
        dataset = None
        notes.append(f"{error} This report has no thumbnails.")
    is_new = summary is None
    if dataset and history and (summary is None or (summary.predictions is None and not summary.multi_label)):
        try:
            evaluation, summary = _evaluated(run, dataset, data, is_new=is_new)
        except CnnRegistryError as error:
            notes.append(f"The network could not be evaluated{'' if is_new else ' again'}: {error}")
        else:
            if is_new and out is None:
                run = _completed(run, history, evaluation, summary)
    for line in notes:
        note(line)
    return write_run_page(run, history, summary, dataset, lambda: GradCam.of_run(run), notes=notes, out=out)


def _evaluated(run: Run, dataset: ImageDataset, data: Path | None, *, is_new: bool) -> tuple[Evaluation, Summary]:
    """The evaluation of a run that has none, or one of an earlier version, which recorded less; and its summary.

    A new one is that of a training's end: it chooses the thresholds, where an image may show several classes.
    """
    evaluation, parts = evaluate(run, data=data), run.record.split
    if is_new:
        evaluation = replace(evaluation, part="validation images", thresholds=None)
    split = Split(*(positions(dataset, ids) for ids in (parts.train, parts.val, parts.test)))
    facts = data_facts(dataset, split, run.record.form)
    return evaluation, summarise(evaluation, [], facts, evaluation.remarks())


def _completed(run: Run, history: Sequence[Epoch], evaluation: Evaluation, summary: Summary) -> Run:
    """The run with the report that its training did not come to write; one that is being trained is left as it is."""
    try:
        with run.locked():
            run = Run.open(run.path)
            write_report(run, history, summary)
            return run.updated(result=run.record.result | {"report": recorded_report(evaluation, summary.remarks)})
    except RunError as error:
        note(f"{error} Only the page is written.")
        return run


def _thumbnails(
    run: Run, summary: Summary, dataset: ImageDataset, cam: Callable[[], GradCam]
) -> tuple[dict[int, Thumbnail], list[str]]:
    """Pictures of what is shown, and what is to be said of them."""
    if not summary.predictions or not (examples := _shown(summary, run.record.validated)):
        return {}, []
    hashes = summary.predictions.hashes
    notes = []
    with working("Drawing the report", after=1.0):
        try:
            found = draw(examples, run, dataset, hashes, cam)
        except RunError as error:
            notes.append(f"The network cannot be used, so there is no Grad-CAM: {error}")
            found = draw(examples, run, dataset, hashes, None)
        except CnnRegistryError as error:
            notes.append(f"There is no Grad-CAM: {error}")
            found = draw(examples, run, dataset, hashes, None)
    if missing := len({example.number for example in examples}) - len(found):
        notes.append(f"{missing} of the images that would be shown have changed or can no longer be read.")
    return found, notes


def _shown(summary: Summary, ids: Sequence[str]) -> list[Example]:
    assert summary.predictions
    wrong = mistakes(summary.predictions, ids)
    return [*wrong[:MISTAKES], *(example for pair in confused_pairs(wrong) for example in pair.examples)]
