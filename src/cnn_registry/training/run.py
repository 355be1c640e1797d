"""The run directory: what a training leaves, and everything that is needed to use it again."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cnn_registry import backend
from cnn_registry.data.split import FOLD
from cnn_registry.errors import RunError
from cnn_registry.files import check_own, is_own_folder, write_file
from cnn_registry.spec import name_fault

from .checkpoints import Checkpoints
from .recipe import Recipe

ENDED = ("finished", "stopped early")
"""How a training has ended that cannot go on."""

SEAL = b',\n  "sha256": "'
"""What stands between the record in ``run.json`` and the digest of the bytes before it, the file's last value."""

MAX_BYTES = 2**28
"""The largest ``run.json`` that is read: a million images are half of it."""

FOLDERS = ("checkpoints", "tensorboard")
FILES = (
    "run.json",
    "labels.txt",
    "history.csv",
    "best.weights.h5",
    "last.weights.h5",
    "report.json",
    "curves.png",
    "confusion.png",
    ".lock",
)
"""What a training writes."""

LIBRARIES = ("cnn-registry", "keras", "tensorflow", "tensorflow-cpu", "numpy", "pillow", "scikit-learn")


class ModelRecord(BaseModel):
    """The model of a run: which one, in which form."""

    spec: dict[str, Any]
    options: dict[str, Any]
    num_classes: int
    input_shape: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]

    @field_validator("spec")
    @classmethod
    def _names_a_model(cls, spec: dict[str, Any]) -> dict[str, Any]:
        if fault := name_fault(str(spec.get("name"))):
            raise ValueError(fault)
        provider = spec.get("provider")
        names = [provider.get(key, 0) for key in ("distribution", "version")] if isinstance(provider, dict) else [0]
        if not all(name is None or (isinstance(name, str) and len(name) <= 100) for name in names):
            raise ValueError("expected the distribution that provides the model, and its version")
        if not isinstance(spec.get("aux_heads"), dict):
            raise ValueError("expected the auxiliary heads")
        return spec

    @property
    def aux_heads(self) -> dict[str, float]:
        """Weights of the auxiliary heads' losses, by the names of their outputs."""
        heads: dict[str, float] = self.spec["aux_heads"] if self.options.get("aux_heads", True) else {}
        return heads

    @property
    def name(self) -> str:
        """The name that finds the model again: ``distribution:name`` where a distribution provides it."""
        distribution = self.spec["provider"]["distribution"]
        return f"{distribution}:{self.spec['name']}" if distribution else str(self.spec["name"])


class DataRecord(BaseModel):
    """The images of a run.

    Attributes:
        dataset: the data set's registered name, or ``None`` for a folder.
        name: what it is called.
        source: where it was found.
        given: what the user gave as ``data``, or ``None``.
        digest: of the content of all images and their labels.
        class_names: in the order of the outputs.
        left_out: unreadable images and why.
    """

    dataset: str | None
    name: str
    source: str
    given: str | None
    digest: str
    class_names: list[str]
    left_out: dict[str, str] = Field(default_factory=dict)


class SplitRecord(BaseModel):
    """Which image was used for what, file by file."""

    name: str
    train: list[str]
    val: list[str]
    test: list[str]


class Resumption(BaseModel):
    """A training that goes on.

    Attributes:
        at: UTC, ISO 8601.
        step: steps that had been done.
        changed: what was accepted that is no longer as it was; empty where the end will be as if nothing had happened.
    """

    at: str
    step: int
    changed: list[str]


class RunRecord(BaseModel):
    """The content of ``run.json``.

    Attributes:
        format: grows when an older package could no longer read it.
        status: how the training ended, or that it has not.
        created: UTC, ISO 8601.
        command: the process's arguments.
        model, recipe, data, split: see there.
        versions: of Python and the libraries.
        machine: what its speed depends on.
        resumed: each time that the training went on after it had been stopped.
        rollbacks: how often the training went back with half the learning rate.
        result: figures of the last and of the best epoch, and of the report.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    status: Literal["running", "finished", "stopped early", "interrupted", "terminated", "failed"] = "running"
    created: str
    command: list[str]
    model: ModelRecord
    recipe: Recipe
    data: DataRecord
    split: SplitRecord
    versions: dict[str, str]
    machine: dict[str, Any]
    resumed: list[Resumption] = Field(default_factory=list)
    rollbacks: int = Field(default=0, ge=0)
    result: dict[str, Any] = Field(default_factory=dict)

    def lowered(self) -> Recipe:
        """The recipe with the learning rate that going back has left of it."""
        rate = self.recipe.optimizer.learning_rate / 2**self.rollbacks
        return self.recipe.with_settings({"optimizer.learning_rate": rate})

    @model_validator(mode="after")
    def _has_a_name_for_each_class(self) -> Self:
        if len(self.data.class_names) != self.model.num_classes:
            raise ValueError(f"{self.model.num_classes} classes and {len(self.data.class_names)} names of classes")
        return self


@dataclass(frozen=True)
class Run:
    """A run directory and what its ``run.json`` says."""

    path: Path
    record: RunRecord

    @property
    def best_weights(self) -> Path:
        """Weights of the epoch with the lowest validation loss."""
        return self.path / "best.weights.h5"

    @property
    def last_weights(self) -> Path:
        """Weights at the end of training."""
        return self.path / "last.weights.h5"

    @property
    def checkpoints(self) -> Checkpoints:
        """From which a training that was stopped goes on."""
        return Checkpoints(self.path / "checkpoints", self.best_weights)

    @property
    def history_csv(self) -> Path:
        """One row an epoch."""
        return self.path / "history.csv"

    @classmethod
    def create(cls, out: Path, record: RunRecord) -> Run:
        """Make a new directory in ``out`` and begin its record there.

        Raises:
            RunError: it cannot be made.
        """
        parts = [record.model.spec["name"], _file_name(record.data.name)]
        if FOLD.fullmatch(record.split.name):
            parts.append(record.split.name)
        try:
            run = cls(_new_directory(out, stamped(*parts)), record)
        except OSError as error:
            raise RunError(f"No run directory can be made in {out}: {error.strerror or error}.") from error
        run.write("labels.txt", "".join(f"{_one_line(name)}\n" for name in record.data.class_names))
        run.save()
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Read an existing run.

        Raises:
            RunError: there is no ``run.json``, or it is damaged, changed since it was written, or of a newer format;
                or the directory holds a link, a pipe or a device.
        """
        file = path / "run.json"
        if not os.path.lexists(file):
            raise RunError.not_a_run(path)
        _check_own(path)
        if not file.is_file():
            raise RunError.not_a_run(path)
        try:
            if file.stat().st_size > MAX_BYTES:
                raise RunError(f"{file} has more than {MAX_BYTES:,} bytes, so it is no record of a run.")
            content = file.read_bytes()
            body, seal, _ = content.rpartition(SEAL)
            record = RunRecord.model_validate_json(body + b"\n}" if seal else content)
        except (OSError, ValidationError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise RunError(f"{file} is damaged or of another version: {where}: {first['msg']}.") from error
        # A record without a digest is one that a person wrote or changed, and says so by having none.
        if seal and content != _sealed(body):
            raise RunError(
                f"{file} is not what was written: its sha256 does not fit. Restore it from a copy; if you changed it "
                f'on purpose, remove "sha256" from its end.'
            )
        return cls(path, record)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block no other process trains in this directory.

        Raises:
            RunError: one does, or the directory holds what a training could not write to.
        """
        from filelock import FileLock, Timeout

        _check_own(self.path)
        _check_kinds(self.path)
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout:
            raise RunError(f"Another process is training in {self.path}; wait for its end, or stop it.") from None
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def finish(self, status: str, result: Mapping[str, Any]) -> Run:
        """The run with its end recorded, on disk too."""
        return self.updated(status=status, result=dict(result))

    def updated(self, **changes: Any) -> Run:
        """The run with some of its record replaced, on disk too."""
        changed = Run(self.path, self.record.model_copy(update=changes))
        changed.save()
        return changed

    def save(self) -> None:
        """Write ``run.json``."""
        body = self.record.model_dump_json(indent=2).removesuffix("\n}").encode()
        self.write("run.json", _sealed(body).decode())

    def write(self, name: str, text: str) -> None:
        """Write a text file of the run, whole or not at all."""
        write_file(self.path / name, text)


def _check_own(path: Path) -> None:
    """Refuse a run that holds anything but files and folders of its own; ``path`` itself may be a link.

    Raises:
        RunError: it does, or it cannot be read.
    """
    try:
        entries = list(path.iterdir())
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
    for entry in entries:
        check_own(entry)


def _check_kinds(path: Path) -> None:
    """Refuse folders where a training writes files, and files where it makes folders.

    Raises:
        RunError: there is one, or the lock is another file's second name.
    """
    for name in FOLDERS:
        if os.path.lexists(path / name) and not is_own_folder(path / name):
            raise RunError(f"{path / name} is a file; expected a folder. Move it elsewhere.")
    for name in FILES:
        if is_own_folder(path / name):
            raise RunError(f"{path / name} is a folder; expected a file. Move it elsewhere.")
    lock = path / ".lock"
    if lock.exists() and lock.stat().st_nlink > 1 and lock.stat().st_size:
        # filelock 3 empties the file when it takes the lock.
        raise RunError(f"{lock} is a second name of a file that is not empty; remove it.")


def stamped(*parts: str) -> str:
    """A directory's name: the local time, and what is in it."""
    return "_".join([f"{datetime.now():%Y-%m-%d_%H-%M-%S}", *parts])


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a result depends on."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the run's speed depends on; memory in bytes."""
    import psutil

    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": backend.usable_cpus(),
        "memory": psutil.virtual_memory().total,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""),
    }


def _new_directory(out: Path, stem: str) -> Path:
    """A directory that did not exist before: ``stem``, or ``stem-2`` and so on."""
    out.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = out / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def _file_name(name: str) -> str:
    """``name`` with only what every file system takes."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    return kept.strip(".")[:64] or "data"


def _sealed(body: bytes) -> bytes:
    """A JSON object, given up to its last value, with the digest of these bytes as one more."""
    return body + SEAL + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def _one_line(name: str) -> str:
    return " ".join(name.splitlines())
