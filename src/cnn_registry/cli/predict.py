"""``cnnreg predict``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from cnn_registry.errors import UsageError
from cnn_registry.system.progress import note
from cnn_registry.text import counted, either

from .batches import (
    Meter,
    bad_image_option,
    file_option,
    max_pixels_option,
    resume_option,
    sources_argument,
    standard_input,
)
from .common import common_options, force_option, json_option, runtime_option, tta_option, wide_option
from .output import print_json
from .table import Column, print_table

if TYPE_CHECKING:
    from cnn_registry.inference.line_file import Done, LineFile
    from cnn_registry.inference.pictures import Picture
    from cnn_registry.inference.predict import Prediction
    from cnn_registry.inference.predictor import Runtime

ResultFormat = Literal["table", "csv", "jsonl", "parquet"]

ENDINGS: dict[str, ResultFormat] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}

PAGE = 1000
"""Rows of a table that are laid out together."""


@click.command("predict")
@click.argument("run", metavar="RUN")
@sources_argument
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Number of classes to show.")
@click.option(
    "--weights",
    default="best",
    show_default=True,
    help="Weights to use: 'best' epoch, by validation loss unless the recipe says otherwise, or 'last' epoch; for a "
    "model, published ones.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["table", "csv", "jsonl", "parquet"]),
    help="Form of the results (default: what FILE's name ends in, or a table).",
)
@file_option("File for the results, written while they come (default: standard output).")
@resume_option
@tta_option
@runtime_option
@bad_image_option
@max_pixels_option
@force_option
@wide_option
@json_option
@common_options
def command(
    run: str,
    sources: tuple[str, ...],
    top: int,
    weights: str,
    kind: ResultFormat | None,
    out: Path | None,
    resume: bool,
    tta: bool,
    runtime: Runtime,
    on_bad_image: Literal["skip", "error"],
    max_pixels: int | None,
    force: bool,
    wide: bool,
    as_json: bool,
) -> None:
    """Classify images with a trained model.

    RUN is a run directory, that of a cross-validation, hf://USER/NAME, or a model's name with published --weights. A
    SOURCE is a file, a folder, a pattern such as '**/*.jpg', @FILE with one of them per line, an http address, or - for
    such a list or an image on standard input.
    """
    from cnn_registry.inference.predict import find_predictor, predictions
    from cnn_registry.inference.sources import find_pictures
    from cnn_registry.system.extras import need_arrow

    kind = _kind(kind, out, resume, as_json)
    if kind == "parquet":
        need_arrow()
    predictor = find_predictor(run, weights, tta=tta, force=force, runtime=runtime)
    pictures = find_pictures(sources, standard_input(), must_exist=on_bad_image == "error")

    meter = Meter("Classifying")

    def predicted(of: Iterable[Picture]) -> Iterator[Prediction]:
        found = predictions(predictor, of, top=top, on_bad_image=on_bad_image, max_pixels=max_pixels)
        return meter.watch(found)

    several = predictor.thresholds is not None
    if out:
        made_with = {"run": run, "weights": weights, "tta": tta, "top": top}
        names = predictor.class_names if resume else None
        _write(out, kind, top, resume, pictures, predicted, several, meter, made_with, names)
    elif as_json:
        print_json([_as_json(prediction) for prediction in predicted(pictures)])
    elif kind == "table":
        _print_pages(predicted(pictures), wide)
    else:
        _print_lines(predicted(pictures), kind, top, several)
    meter.refuse_none()


def _kind(kind: ResultFormat | None, out: Path | None, resume: bool, as_json: bool) -> ResultFormat:
    """The form of the results.

    Raises:
        UsageError: the options contradict each other.
    """
    if as_json and (kind or out):
        raise UsageError("--json prints one JSON document; for lines of JSON, or a file, use --format jsonl instead.")
    if resume and not out:
        raise UsageError("--resume continues a file; name it with -o.")
    if out and out.suffix and not kind and out.suffix.lower() not in ENDINGS:
        raise UsageError(f"{out.name} does not say what to write: end it in {either(ENDINGS)}, or add --format.")
    kind = kind or (ENDINGS.get(out.suffix.lower(), "csv") if out else "table")
    if kind == "parquet" and not out:
        raise UsageError("Parquet is written to a file; name it with -o.")
    if kind == "table" and out:
        raise UsageError("A table is for a terminal; write csv, jsonl or parquet to a file.")
    return kind


def columns(top: int, *, several: bool = False) -> tuple[Column, ...]:
    """The columns of a table with so many classes of each picture; with ``several``, also of those that it shows."""
    further = (
        column
        for rank in range(2, top + 1)
        for column in (Column(f"{rank}.", at_least=8, rank=rank), Column("", number=True, rank=rank))
    )
    labels = (Column("labels", at_least=12),) if several else ()
    most = (Column("class", at_least=12), Column("probability", number=True))
    return (Column("image", at_least=16), *labels, *most, *further)


def _print_pages(predictions: Iterator[Prediction], wide: bool) -> None:
    """Print a table, a page at a time."""
    while page := list(islice(predictions, PAGE)):
        shown = max(1, *(len(prediction) for prediction in page))
        rows = []
        for prediction in page:
            cells = [cell for name, p in prediction for cell in (name, f"{p:.1%}")]
            labels = [] if prediction.labels is None else [", ".join(prediction.labels) or "-"]
            rows.append([str(prediction.image), *labels, *cells, *[""] * (2 * shown - len(cells))])
        print_table(columns(shown, several=page[0].labels is not None), rows, wide=wide)


def _print_lines(predictions: Iterable[Prediction], kind: ResultFormat, top: int, several: bool) -> None:
    from cnn_registry.inference.prediction_rows import csv_line, csv_row, header, json_row

    if kind == "csv":
        click.echo(csv_line(header(top, several=several)))
    for prediction in predictions:
        click.echo(csv_row(prediction, top) if kind == "csv" else json_row(prediction))


def _write(
    out: Path,
    kind: ResultFormat,
    top: int,
    resume: bool,
    pictures: Iterator[Picture],
    predicted: Any,
    several: bool,
    meter: Meter,
    made_with: dict[str, Any],
    class_names: Sequence[str] | None,
) -> None:
    """Write the results to a file as they come; a Parquet file is made of lines of JSON at the end."""
    from cnn_registry.inference.line_file import LineFile
    from cnn_registry.inference.prediction_rows import (
        csv_done,
        csv_line,
        csv_path,
        csv_row,
        header,
        json_done,
        json_row,
        parquet_of_predictions,
    )

    if kind == "csv":
        with LineFile(out, csv_line(header(top, several=several)), resume=resume) as lines:
            done = resumed(lines, csv_done(lines.read(), header(top, several=several), class_names), resume, meter)
            for prediction in predicted(done.remaining(pictures, csv_path)):
                lines.write([csv_row(prediction, top)])
        return
    with LineFile(out, resume=resume) if kind == "jsonl" else journal(out, resume, made_with) as lines:
        done = resumed(lines, json_done(lines.read(), class_names), resume, meter)
        for prediction in predicted(done.remaining(pictures, str)):
            lines.write([json_row(prediction)])
        if kind == "parquet":
            assemble(lines, out, lambda rows, target: parquet_of_predictions(rows, top, target, several=several))


def resumed(lines: LineFile, names: Iterable[str], resume: bool, meter: Meter) -> Done:
    """Which pictures have a line already; a note says how many, and ``meter`` knows.

    Raises:
        UsageError: there is a line that the same command would not have written.
    """
    from cnn_registry.inference.line_file import Done

    try:
        done = Done(names)
    except ValueError as error:
        raise UsageError(f"{lines.path} cannot be continued: {error}. Name another file.") from error
    meter.before = done.count
    lines.cut()
    if resume:
        note(f"{counted(done.count, 'image')} in {lines.path} already.")
    return done


def journal(out: Path, resume: bool, made_with: dict[str, Any]) -> LineFile:
    """The file of lines that ``out`` is assembled from.

    Its first line says what makes it, so that it is not continued with another model.

    Raises:
        UsageError: the file is there, or was begun with another model or other options.
    """
    from cnn_registry.inference.line_file import LineFile

    if out.exists():
        done = " It is complete; there is nothing to resume." if resume else ""
        raise UsageError(f"{out} already exists.{done} Name another file.")
    return LineFile(out.with_name(f"{out.name}.part"), json.dumps({"made_with": made_with}), resume=resume)


def assemble(lines: LineFile, out: Path, write: Any) -> None:
    """Make a file of a journal's lines, whole or not at all, and remove the journal."""
    from cnn_registry.system.files import whole_file

    with whole_file(out) as temporary:
        write(lines.read(), temporary)
    lines.close()  # Windows does not remove what is open
    lines.path.unlink()


def _as_json(prediction: Prediction) -> dict[str, Any]:
    classes = [{"class": name, "probability": p} for name, p in prediction]
    error = {"error": prediction.reason} if prediction.reason else {}
    labels = {} if prediction.labels is None else {"labels": list(prediction.labels)}
    return {"image": str(prediction.image), "classes": classes} | labels | error
