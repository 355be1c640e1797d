"""The run directory: what a training leaves, and everything that is needed to use it again."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from pydantic import ValidationError

from cnn_registry.data.split import FOLD
from cnn_registry.errors import RunError, UsageError
from cnn_registry.networks.weights.hub import fetched_run
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.files import check_own, write_file
from cnn_registry.system.hub import fetched_from, hub_address, is_fetched
from cnn_registry.text import counted, printable, quoted, shorten, suggestion

from . import lock
from .checkpoints import Checkpoints
from .history import Epoch, read_history
from .layout import check_kinds, check_own_files, label_line
from .new_directory import file_name, new_directory, stamped
from .record import ENDED, RecordChanges, RunRecord, Status
from .record_file import read_record, record_text

if TYPE_CHECKING:
    import keras

    from cnn_registry.data.manifest import Manifest
    from cnn_registry.explain import Explanation
    from cnn_registry.export import Export, FormatName, WeightPrecision
    from cnn_registry.inference.evaluation import Evaluation

GONE = "interrupted (process gone)"
"""The status of a run whose process has died without recording how it ended."""


@dataclass(frozen=True, repr=False)
class Run:
    """A run directory and what its ``run.json`` says.

    Attributes:
        path: the directory.
        record: the content of its ``run.json``.
    """

    path: Path
    record: RunRecord

    def __repr__(self) -> str:
        return f"<Run {printable(self.location)}: {', '.join(self._summary().values())}>"

    def _repr_html_(self) -> str:
        """The run as the output of a notebook's cell."""
        rows = self._summary() | {"repository" if self.is_fetched else "directory": printable(self.location)}
        left = "style='text-align:left'"
        cells = "".join(
            f"<tr><th {left}>{name}</th><td {left}>{escape(value)}</td></tr>" for name, value in rows.items()
        )
        return f"<table>{cells}</table>"

    def _summary(self) -> dict[str, str]:
        """What the run is, in a few words each."""
        record = self.record
        names = record.data.class_names
        facts = {
            "model": record.model.spec["name"],
            "data": f"{record.data.name} ({counted(len(names), 'class')})",
            "status": self.status,
        }
        if best := record.result.get("best"):
            facts["best epoch"] = f"validation accuracy {best['val_accuracy']:.1%} in epoch {best['epoch']:.0f}"
        return {name: shorten(printable(value), 60) for name, value in facts.items()}

    def __getstate__(self) -> dict[str, Any]:  # networks do not travel to another process
        return {name: value for name, value in vars(self).items() if name != "loaded"}

    @cached_property
    def loaded(self) -> dict[Any, Any]:
        """What was loaded for predictions, so that the next one does not load it again."""
        return {}

    @property
    def best_weights(self) -> Path:
        """Weights of the best epoch: the one with the lowest validation loss, unless the recipe says otherwise."""
        return self.path / "best.weights.h5"

    @property
    def last_weights(self) -> Path:
        """Weights at the end of training."""
        return self.path / "last.weights.h5"

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints that a stopped training resumes from."""
        return Checkpoints(self.path / "checkpoints", self.best_weights)

    @property
    def history_csv(self) -> Path:
        """One row an epoch."""
        return self.path / "history.csv"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the model's outputs."""
        return tuple(self.record.data.class_names)

    @property
    def status(self) -> str:
        """How the training ended, or that it runs; ``"interrupted (process gone)"`` where its process has died.

        A process that is killed, or runs out of memory, leaves a record that says ``"running"``. Whether it is still
        there is known on its own machine only.
        """
        process = self.record.process
        if self.record.status != "running" or process is None or process.host != platform.node()[:300]:
            return self.record.status
        try:
            return self.record.status if lock.is_locked(self.path) else GONE
        except OSError:
            return self.record.status

    @property
    def history(self) -> list[Epoch]:
        """What was measured in each epoch; nothing if the training was stopped in its first one.

        Raises:
            RunError: ``history.csv`` cannot be read, or the run has ended and lacks it.
        """
        has_not_ended = self.record.status not in ENDED and self.path.is_dir()
        if has_not_ended and not os.path.lexists(self.history_csv):
            return []
        return read_history(self.history_csv)

    def model(self, weights: Literal["best", "last"] = "best", *, force: bool = False) -> keras.Model:
        """The trained network, newly built; arguments and errors as for `cnn_registry.load_model`."""
        from cnn_registry.inference.model import load_model

        return load_model(self, weights, force=force)

    def predict(
        self,
        images: Any,
        *,
        top: int = 5,
        weights: Literal["best", "last"] = "best",
        tta: bool = False,
        on_bad_image: Literal["skip", "error"] = "error",
        max_pixels: int | None = None,
        force: bool = False,
        runtime: Literal["keras", "onnx"] = "keras",
    ) -> Any:
        """Classify pictures; arguments, result and errors as for `cnn_registry.predict`.

        The network is loaded once for all calls.
        """
        from cnn_registry.inference.predict import predict

        return predict(
            self,
            images,
            top=top,
            weights=weights,
            tta=tta,
            on_bad_image=on_bad_image,
            max_pixels=max_pixels,
            force=force,
            runtime=runtime,
        )

    def preprocess(self, images: Any, *, max_pixels: int | None = None) -> Any:
        """The pictures as the model takes them: ``run.model()(run.preprocess(images))``.

        Args:
            images: as for `cnn_registry.predict`; one picture has N = 1, and an iterator gives an iterator of batches.
            max_pixels: as for `cnn_registry.predict`.

        Returns:
            float32 ``(N, H, W, C)``, scaled as the recipe's ``pixels`` says.

        Raises:
            UsageError, BadImageError, DataError: as `cnn_registry.predict`.
        """
        from cnn_registry.inference.predict import preprocess

        return preprocess(self, images, max_pixels=max_pixels)

    def evaluate(
        self,
        *,
        dataset: str | None = None,
        data: str | Path | Manifest | None = None,
        part: Literal["train", "val", "test", "all"] | None = None,
        weights: Literal["best", "last"] = "best",
        tta: bool = False,
        max_pixels: int | None = None,
        force: bool = False,
    ) -> Evaluation:
        """Measure how accurate the model is; arguments, result and errors as for `cnn_registry.evaluate`."""
        from cnn_registry.inference.evaluate import evaluate

        return evaluate(
            self,
            dataset=dataset,
            data=data,
            part=part,
            weights=weights,
            tta=tta,
            max_pixels=max_pixels,
            force=force,
        )

    def explain(
        self,
        images: Any,
        *,
        target: str | None = None,
        runner_up: bool = False,
        feature: str | None = None,
        weights: Literal["best", "last"] = "best",
        max_pixels: int | None = None,
        force: bool = False,
    ) -> list[Explanation]:
        """Show which places of pictures speak for a class; arguments, result and errors as for `explain_images`."""
        from cnn_registry.explain import explain_images

        return explain_images(
            self,
            images,
            target=target,
            runner_up=runner_up,
            feature=feature,
            weights=weights,
            max_pixels=max_pixels,
            force=force,
        )

    @classmethod
    def create(cls, out: Path, record: RunRecord) -> Run:
        """Make a new directory in ``out`` and begin its ``record`` there.

        Returns:
            The run.

        Raises:
            RunError: it cannot be made.
        """
        parts = [record.model.spec["name"], file_name(record.data.name)]
        if FOLD.fullmatch(record.split.name):
            parts.append(record.split.name)
        try:
            run = cls(new_directory(out, stamped(*parts)), record)
        except OSError as error:
            raise RunError(f"No run directory can be made in {out}: {error.strerror or error}.") from error
        run.write("labels.txt", "".join(f"{label_line(name)}\n" for name in record.data.class_names))
        run.save()
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """The existing run in the directory ``path``.

        Raises:
            RunError: there is no ``run.json``, or it is a link, damaged, changed since it was written, or of a newer
                format.
        """
        file = path / "run.json"
        check_own(file)
        if not file.is_file():
            raise _not_a_run(path)
        return cls(path, read_record(file))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block no other process trains in this directory.

        Raises:
            RunError: one does, or the directory contains a link, a pipe or a device, or a folder in place of a file.
        """
        check_own_files(self.path)
        check_kinds(self.path)
        with lock.locked(self.path):
            yield

    def export(
        self,
        format: FormatName,
        out: str | Path | None = None,
        *,
        precision: WeightPrecision = "float32",
        weights: Literal["best", "last"] = "best",
        data: str | Path | Manifest | None = None,
        max_pixels: int | None = None,
        force: bool = False,
    ) -> Export:
        """Write the network for other software, and check it against the trained network.

        Preprocessing is in the graph: the input ``images`` is uint8 with the channels of the run, the output
        ``probabilities``. In the folder are the file, with class names and the rest of the facts in its metadata, a
        ``README.md`` with code that predicts without this library, and ``export.json`` with what was measured.

        Args:
            format: ``"keras"``, ``"saved_model"``, ``"onnx"``, ``"litert"`` or ``"openvino"``.
            out: the folder; default ``export-FORMAT-PRECISION`` in the run. It must be missing, empty, or an unchanged
                export of the same network in the same form, which is replaced.
            precision: ``"float32"``, ``"float16"`` (weights of half the size, computed in float32) or ``"int8"``, which
                is calibrated with training images. Only ONNX, LiteRT and OpenVINO take all three.
            weights: ``"best"`` or ``"last"``.
            data: where the images of the check are; default where the run's are.
            max_pixels: of other images, the largest that is read, width times height; default that of the run's own.
            force: export although the installed package builds another network than the one that was trained.

        Returns:
            The folder as ``path``, and as ``trained`` and ``exported`` what was measured.

        Raises:
            UsageError: the format cannot hold the precision, or the folder is taken; nothing was done.
            MissingPackageError: a package that the format needs is not installed.
            DataError: there are no images to check with.
            RunError: as for `load_model`, or the folder cannot be written.
            ExportError: the network could not be converted, or the export predicts something else. Nothing is left of
                it.
        """
        from cnn_registry.export import export_run

        return export_run(
            self, format, out, precision=precision, weights=weights, data=data, max_pixels=max_pixels, force=force
        )

    def finish(self, status: Status, result: Mapping[str, Any]) -> Run:
        """Record how the training ended.

        Args:
            status: how it ended.
            result: figures for ``run.json``, JSON-ready.

        Returns:
            The changed run.

        Raises:
            UsageError: there is no such status; nothing is written.
            RunError: ``run.json`` cannot be written.
        """
        return self.updated(status=status, result=dict(result))

    @property
    def is_fetched(self) -> bool:
        """Whether it comes from a hub: it is then in the cache, with only its best weights."""
        return is_fetched(self.path)

    @property
    def location(self) -> str:
        """Where the run is: its directory, or ``"hf://user/name@commit"`` if it comes from a hub."""
        return str(fetched_from(self.path) or self.path)

    @property
    def writes(self) -> bool:
        """Whether this process writes the run; of several workers, one does."""
        return True

    def updated(self, **changes: Unpack[RecordChanges]) -> Run:
        """Replace some of the record, also on disk.

        Args:
            **changes: fields of `RunRecord` with their new values.

        Returns:
            The changed run.

        Raises:
            UsageError: a value is not one that `open` would accept; nothing is written.
            RunError: ``run.json`` cannot be written.
        """
        try:
            record = RunRecord.model_validate(dict(self.record) | changes)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the record"
            raise UsageError(f"{where} of a run: {first['msg']}; got {quoted(first['input'])}.") from error
        changed = replace(self, record=record)
        changed.save()
        return changed

    def save(self) -> None:
        """Write ``run.json``."""
        self.write("run.json", record_text(self.record))

    def write(self, name: str, text: str) -> None:
        """Write ``text`` to the file ``name`` of the run, whole or not at all."""
        write_file(self.path / name, text)


class FollowedRun(Run):
    """A run that another process writes. What this one would write of it is left out."""

    @property
    def writes(self) -> bool:
        """It does not."""
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Who writes the run has the lock."""
        yield

    def write(self, name: str, text: str) -> None:
        """Nothing is written."""


def _not_a_run(path: Path) -> RunError:
    """The error for a path without a record; it names the runs that are near."""
    near = sorted(path.glob("*/run.json"), key=_changed, reverse=True)
    beside = [record.parent.name for record in path.parent.glob("*/run.json")]
    if near:
        newest = ", ".join(str(record.parent) for record in near[:3])
        return RunError(
            f"{path} is not a run directory, but it holds {counted(len(near), 'run')}. Name one of them; the newest: "
            f"{newest}."
        )
    if (path.parent / "run.json").is_file():
        return RunError(f"{path} is not a run directory, but it is in one. Name {path.parent}.")
    if not path.exists() and (usual := Path("runs") / path).joinpath("run.json").is_file():
        return RunError(f"There is no run directory {path}. Did you mean {usual}?")
    if not path.exists() and (nearest := suggestion(path.name, beside)):
        return RunError(f"There is no run directory {path}.{nearest}")
    return RunError.not_a_run(path)


def _changed(file: Path) -> float:
    try:
        return file.lstat().st_mtime
    except OSError:
        return 0.0


@checked_arguments
def load_run(path: str | Path) -> Run:
    """The run in the directory ``path``, as ``cnnreg train`` left it, or in a repository of a hub.

    Args:
        path: the directory; or ``"hf://user/name"``, optionally with ``@revision``, for a run that `push` wrote. It is
            fetched into the cache.

    Raises:
        RunError: there is no run, or its record is damaged.
        HubError: the repository cannot be reached, or does not hold a run.
        WeightsError: its weights are damaged.
        MissingPackageError: a package that fetches it is not installed.
    """
    return Run.open(local_run(path))


def is_run(name: str | Path) -> bool:
    """Whether ``name`` is a run directory or the address of a repository, rather than the name of something else."""
    return hub_address(name) is not None or os.path.exists(Path(name) / "run.json")  # noqa: PTH110 - for long names


def local_run(path: str | Path) -> Path:
    """The directory of a run: ``path``, or where the run of a repository ``hf://...`` was fetched to.

    Raises:
        HubError, WeightsError, MissingPackageError: as `load_run`.
    """
    address = hub_address(path)
    return fetched_run(address) if address else Path(path)
