"""From a run to a checked file that other software can run."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.data.classes import in_classes
from cnn_registry.data.dataset import Bytes, Indices
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.manifest import Manifest
from cnn_registry.data.sources.load import load_images
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.data.split import positions
from cnn_registry.errors import DataError, UsageError
from cnn_registry.inference.evaluate import refuse_max_pixels, refuse_other_labels, source_of
from cnn_registry.inference.model import Weights, load_model
from cnn_registry.inference.predictor import traced
from cnn_registry.registry.spec import Pixels
from cnn_registry.runs.run import Run
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.files import size_of, whole_directory
from cnn_registry.system.progress import working

from .check import BATCH, Measurement, Sample, bound, measured, refuse_disagreement
from .conversion import converting
from .facts import facts_of
from .formats import ExportFormat, FormatName, WeightPrecision, checked_format
from .network import Job, prepared
from .readme import readme
from .target import RECORD, digests, refuse_taken

if TYPE_CHECKING:
    import keras

CHECKED = 64
"""Images that an export is checked with; in int8 it is all validation images."""

CALIBRATED = 256
"""Training images that int8 is calibrated with, at most."""

MODULES: dict[FormatName, str] = {"keras": "keras_file"}
"""The module that writes a format, where it does not have its name."""


@dataclass(frozen=True)
class Export:
    """A checked export.

    Attributes:
        path: its folder.
        format: the name of its format.
        precision: the type of its weights.
        trained: what the trained network says of the images of the check, and what it costs.
        exported: the same of the exported one.
        images: how many images the check took.
        part: what they are, for people to read.
    """

    path: Path
    format: FormatName
    precision: WeightPrecision
    trained: Measurement
    exported: Measurement
    images: int
    part: str


@checked_arguments
@working("Exporting")
def export_run(
    run: Run,
    format: FormatName,
    out: str | Path | None = None,
    *,
    precision: WeightPrecision = "float32",
    weights: Weights = "best",
    data: str | Path | Manifest | None = None,
    max_pixels: int | None = None,
    force: bool = False,
) -> Export:
    """Write the network of a run for other software, and check it against the trained network.

    Arguments, result and errors are those of `Run.export`.
    """
    kind = checked_format(format, precision)
    if data is None:
        refuse_max_pixels(max_pixels)
    backend.require_tensorflow()
    if out is None and run.is_fetched:
        raise UsageError("A run of a hub is in the cache, which is not written to; name the folder to write with -o.")
    folder = Path(out) if out is not None else run.path / f"export-{kind.name}-{precision}"
    folder = folder.resolve()  # so that it has a name, and files beside it
    facts = facts_of(run, kind, precision, weights)
    refuse_taken(folder, facts)
    images, is_own = _images(run, data, max_pixels)
    sample = _sample(run, images, is_own, None if precision == "int8" else CHECKED)
    calibration = _calibration(run, images, is_own) if precision == "int8" else np.empty(0, np.uint8)
    with backend.standard_settings():
        model = load_model(run, weights, force=force)
        weights_file = run.best_weights if weights == "best" else run.last_weights
        return export_model(
            model,
            folder,
            kind=kind,
            facts=facts,
            pixels=run.record.recipe.pixels,
            sample=sample,
            calibration=calibration,
            size=size_of(weights_file),
        )


def export_model(
    model: keras.Model,
    folder: Path,
    *,
    kind: ExportFormat,
    facts: dict[str, Any],
    pixels: Pixels,
    sample: Sample,
    calibration: Bytes,
    size: int,
) -> Export:
    """Write ``model`` to ``folder`` and check it, within `backend.standard_settings`.

    Args:
        model: the trained network.
        folder: replaced if everything succeeds.
        kind: the format.
        facts: what travels in the file, from `facts_of`.
        pixels: the form in which the network takes its pixels.
        sample: the images of the check.
        calibration: uint8 ``(N, height, width, channels)`` for int8.
        size: bytes of the network's own weights file, for the table.

    Raises:
        ExportError: it could not be converted, or predicts something else.
        UsageError: something came into the folder meanwhile. What is there stays.
        RunError: the folder cannot be written.
    """
    precision: WeightPrecision = facts["precision"]
    form = sample.images.source.form
    writer: Any = importlib.import_module(f"{__package__}.writers.{MODULES.get(kind.name, kind.name)}")
    trained = traced([model], pixels, form.shape)
    with whole_directory(folder) as temporary:
        with converting(kind.title, model.name):
            getattr(writer, f"write_{kind.name}")(
                Job(prepared(model), form, pixels, temporary, facts, precision, calibration)
            )
            exported = getattr(writer, f"load_{kind.name}")(temporary)
            exported(sample.read(1))  # the first call may print
        names = ("trained network", f"{kind.title}, {precision}")
        before, after = measured(trained, exported, sample, names=names, sizes=(size, size_of(temporary)))
        refuse_disagreement(after, precision, sample)
        made = Export(folder, kind.name, precision, before, after, len(sample.indices), sample.part)
        (temporary / "README.md").write_text(readme(kind, facts, form, markdown(made)), encoding="utf-8")
        record = facts | _figures(made) | {"files": digests(temporary)}
        text = json.dumps(record, indent=2, ensure_ascii=False)
        (temporary / RECORD).write_text(f"{text}\n", encoding="utf-8")
        refuse_taken(folder, facts)  # what came there meanwhile would be lost
    return made


def _figures(made: Export) -> dict[str, Any]:
    """What ``export.json`` has besides the facts."""
    return {
        "checked": {"images": made.images, "part": made.part, "bound": bound(made.precision)},
        "trained_network": asdict(made.trained),
        "export": asdict(made.exported),
    }


def markdown(made: Export) -> str:
    """What was measured, as a table and a sentence."""
    rows = [TITLES, ["---", *(["---:"] * (len(TITLES) - 1))], *rows_of(made)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table}\n\n{remark(made)}"


TITLES = ["network", "size", "ms, 1 image", f"ms per image, {BATCH}", "accuracy", "largest difference", "same class"]


def rows_of(made: Export) -> list[list[str]]:
    """The table's cells, under `TITLES`."""
    return [
        [
            found.name,
            f"{found.size / 1e6:.1f} MB",
            f"{found.ms_single:.2f}",
            f"{found.ms_batch:.2f}",
            f"{found.accuracy:.1%}",
            f"{found.largest_difference:.1g}",
            f"{found.agreement:.1%}",
        ]
        for found in (made.trained, made.exported)
    ]


def remark(made: Export) -> str:
    """What the table was measured with, and what was demanded."""
    return f"Measured with {made.images} {made.part}; {bound(made.precision)}."


def _images(run: Run, data: str | Path | Manifest | None, max_pixels: int | None) -> tuple[LoadedImages, bool]:
    """The images to check with, and whether they are the run's own.

    Raises:
        DataError: they are missing, have labels of the other kind, or the run's own have changed.
    """
    record = run.record.data
    if data is None:
        loaded = load_dataset(record.dataset, source_of(run, None))
    else:
        loaded = load_dataset(record.dataset if record.given else None, source_of(run, data), min_classes=1)
    refuse_other_labels(run, loaded)
    limit = max_pixels or run.record.options.max_pixels
    images = load_images(loaded, run.record.form, max_pixels=limit)
    if images.are_of(record.digest, record.unused):
        return images, True
    if data is None:
        raise DataError(f"The images at {record.source} have changed since the run; name others with --data.")
    return in_classes(images, record.class_names), False


def _sample(run: Run, images: LoadedImages, is_own: bool, count: int | None) -> Sample:
    """The validation images, or all images where there are none; ``count`` of them, from all classes."""
    validation = run.record.validated if is_own else []
    part = "validation images" if validation else f"images of {images.dataset.name}"
    indices = positions(images.dataset, validation) if validation else np.arange(len(images.dataset))
    thresholds = None if run.record.thresholds is None else np.array(run.record.thresholds)
    chosen = _spread(indices, count)
    if len(chosen) < len(indices):
        part = f"of {len(indices):,} {part}"
    return Sample(images, chosen, part, thresholds)


def _calibration(run: Run, images: LoadedImages, is_own: bool) -> Bytes:
    """Training images.

    Raises:
        UsageError: there are none.
    """
    if not is_own:
        raise UsageError(
            "int8 is calibrated with the run's training images, and those that --data names are others. "
            "Name the run's own, or use another precision."
        )
    unused = set(run.record.data.unused)
    training = positions(images.dataset, [image for image in run.record.split.train if image not in unused])
    return np.asarray(images.source.read(_spread(training, CALIBRATED)))


def _spread(indices: Indices, count: int | None) -> Indices:
    """``count`` of ``indices`` at equal distances, since images often stand class by class."""
    if count is None or len(indices) <= count:
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).round().astype(np.int64)]
