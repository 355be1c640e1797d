"""What ``run.json`` holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypedDict

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cnn_registry.data.dataset import OF_NAMES
from cnn_registry.data.form import IN_WORDS, Form
from cnn_registry.data.manifest import COLUMNS
from cnn_registry.errors import RunError
from cnn_registry.recipes.schema import Edge, Recipe
from cnn_registry.registry.spec import name_fault

Status = Literal["running", "finished", "stopped early", "interrupted", "terminated", "failed"]
"""Whether a training is running, or how it ended."""

ENDED = ("finished", "stopped early")
"""How a training has ended that is complete."""

STOPPED = ("interrupted", "terminated")
"""How a training has ended that was asked to stop."""

ROLLBACKS = 3
"""The most rollbacks of one training."""


ACTIVATION, SIGMOID = "classifier_activation", "sigmoid"
"""The option of builders that chooses what the outputs are, and its value where an image may show several classes."""


class ModelRecord(BaseModel):
    """The model of a run: which one, in which form.

    Attributes:
        spec: the spec as JSON-ready data, with the distribution that provides it and its version.
        options: options of its builder.
        num_classes: number of outputs.
        input_shape: ``(height, width, channels)``.
        fingerprint: of the network that was trained; ``None`` in runs of earlier versions.
    """

    spec: dict[str, Any]
    options: dict[str, Any]
    num_classes: int = Field(gt=0, le=1_000_000)
    input_shape: tuple[Edge, Edge, Annotated[int, Field(gt=0, le=64)]]
    fingerprint: str | None = None

    @field_validator("spec")
    @classmethod
    def _names_a_model(cls, spec: dict[str, Any]) -> dict[str, Any]:
        name = spec.get("name")
        if not isinstance(name, str):
            raise ValueError("expected the model's name")
        if fault := name_fault(name):
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
    def multi_label(self) -> bool:
        """Whether an image may show several classes, so that each has a probability of its own."""
        return bool(self.options.get(ACTIVATION) == SIGMOID)

    @property
    def name(self) -> str:
        """The name that finds the model again: ``distribution:name`` where a distribution provides it."""
        distribution = self.spec["provider"]["distribution"]
        return f"{distribution}:{self.spec['name']}" if distribution else str(self.spec["name"])


class DataRecord(BaseModel):
    """The images of a run.

    Attributes:
        dataset: the dataset's registered name, or ``None`` for a folder.
        name: what it is called.
        source: where it was found.
        given: what the user gave as ``data``, or ``None``.
        columns: the columns of a table that were named, by the arguments of `Manifest`.
        digest: of the content of all images and their labels; while images are trained on that are decoded whenever
            they are read, of their names and labels.
        class_names: in the order of the outputs.
        left_out: unreadable images and why.
        replaced: images that were found to be unreadable while they were trained on, and why: others of their classes
            stood in for them.
        weights: a digest of the images' weights; empty where they have none.
    """

    dataset: str | None
    name: str
    source: str
    given: str | None
    digest: str
    class_names: list[str]
    left_out: dict[str, str] = Field(default_factory=dict)
    replaced: dict[str, str] = Field(default_factory=dict)
    columns: dict[str, str] = Field(default_factory=dict)
    weights: str = ""

    @property
    def unused(self) -> list[str]:
        """The images that cannot be read, by their ids."""
        return [*self.left_out, *self.replaced]

    @property
    def is_streamed(self) -> bool:
        """Whether the images were decoded whenever they were read, and may include ones that cannot be."""
        return bool(self.replaced) or self.digest.startswith(OF_NAMES)

    @field_validator("columns")
    @classmethod
    def _are_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := columns.keys() - COLUMNS:
            raise ValueError(f"expected the columns {', '.join(COLUMNS)}; got {min(unknown)}")
        return columns


TrackerName = Literal["tensorboard", "mlflow", "wandb"]
"""A tracker that follows a training."""

TRACKED = r"^[^/\\#?%:\x00-\x1f]{1,128}$"
"""The id of a run in a tracker: what W&B allows in a ``WANDB_RUN_ID``, which is more than others have."""

HASH_DIGITS = 16
"""Hexadecimal digits of a SHA-256 that tell the images of a run apart."""


def short_hash(digest: bytes) -> str:
    """The beginning of a SHA-256, as a run records that of an image's content."""
    return digest.hex()[:HASH_DIGITS]


def hashes_of(hashes: Sequence[bytes], indices: Iterable[int]) -> list[str]:
    """The beginnings of the hashes of some images; empty where they are not known."""
    return [short_hash(hashes[index]) for index in indices] if hashes else []


class SplitRecord(BaseModel):
    """Which image was used for what, file by file.

    Attributes:
        name: the split's name.
        train, val, test: ids of images.
        trained: the first 16 hexadecimal digits of the SHA-256 of each training image's content; empty in runs of
            earlier versions.
    """

    name: str
    train: list[str]
    val: list[str]
    test: list[str]
    trained: list[str] = Field(default_factory=list)


class Resumption(BaseModel):
    """One resumption of a training.

    Attributes:
        at: UTC, ISO 8601.
        step: steps that had been done.
        changed: what was accepted that is no longer as it was; empty where the end will be as if nothing had happened.
    """

    at: str
    step: int = Field(ge=0, lt=2**53)
    changed: list[str]


class OptionsRecord(BaseModel):
    """How a training is carried out, which changes nothing of what it ends with; resumed with the same.

    Attributes:
        track, checkpoint_minutes, keep_going, on_nan, on_bad_image, max_pixels: as for `cnn_registry.train`.
    """

    track: list[TrackerName] = Field(default_factory=list)
    checkpoint_minutes: float = Field(default=10.0, gt=0)
    keep_going: bool = False
    on_nan: Literal["stop", "rollback"] = "stop"
    on_bad_image: Literal["skip", "error"] = "skip"
    max_pixels: int | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _as_earlier(cls, data: Any) -> Any:
        """Records of earlier versions know TensorBoard alone, as a switch."""
        if isinstance(data, dict) and data.get("tensorboard") is True and "track" not in data:
            return data | {"track": ["tensorboard"]}
        return data


class ProcessRecord(BaseModel):
    """The process that trains, or did so last.

    Attributes:
        host: the name of its machine.
        pid: its number there.
    """

    host: str = Field(max_length=300)
    pid: int = Field(ge=0, lt=2**63)


class RunRecord(BaseModel):
    """The content of ``run.json``.

    Attributes:
        format: grows when an older package could no longer read it.
        status: how the training ended, or that it has not.
        created: UTC, ISO 8601.
        command: the process's arguments.
        model, recipe, data, split, options: see there.
        versions: of Python and the libraries.
        machine: what its speed depends on.
        process: which process trains it, or did so last; ``None`` in runs of earlier versions.
        resumed: each resumption of the training after it had been stopped.
        rollbacks: how often the training went back with half the learning rate.
        result: figures of the last and of the best epoch, and of the report.
        steps: what own steps of the augmentation say of themselves, by how the recipe lists them.
        trackers: the id of the run in each tracker that follows it.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1, 2] = 2
    status: Status = "running"
    created: str
    command: list[str]
    model: ModelRecord
    recipe: Recipe
    data: DataRecord
    split: SplitRecord
    versions: dict[str, str]
    machine: dict[str, Any]
    process: ProcessRecord | None = None
    resumed: list[Resumption] = Field(default_factory=list)
    options: OptionsRecord = OptionsRecord()
    rollbacks: int = Field(default=0, ge=0, le=ROLLBACKS)
    result: dict[str, Any] = Field(default_factory=dict)
    steps: dict[str, Any] = Field(default_factory=dict)
    trackers: dict[TrackerName, Annotated[str, Field(pattern=TRACKED)]] = Field(default_factory=dict)

    @property
    def form(self) -> Form:
        """The form in which its network takes pictures.

        Raises:
            RunError: there is no such form of pictures.
        """
        form = self.recipe.form(self.model.input_shape)
        if form.channels not in IN_WORDS:
            known = ", ".join(f"{channels} ({words})" for channels, words in IN_WORDS.items())
            raise RunError(f"The network takes {form.channels} channels; expected {known}.")
        return form

    @property
    def validated(self) -> list[str]:
        """The ids of the validation images that can be read, which reports are about."""
        return [image for image in self.split.val if image not in self.data.replaced]

    @property
    def thresholds(self) -> list[float] | None:
        """The probability from which each class counts as shown, where an image may show several; else ``None``.

        They were chosen on the validation images; before the report was made, they are 0.5.
        """
        if not self.model.multi_label:
            return None
        report = self.result.get("report")
        found = report.get("thresholds") if isinstance(report, dict) else None
        listed = found if isinstance(found, list) and len(found) == self.model.num_classes else []
        if listed and all(isinstance(value, float) and 0 <= value <= 1 for value in listed):
            return listed
        return [0.5] * self.model.num_classes

    def lowered(self) -> Recipe:
        """The recipe with the learning rate that going back has left of it."""
        return self.lowered_from(self.recipe)

    def lowered_from(self, recipe: Recipe) -> Recipe:
        """The ``recipe`` with its learning rate halved as often as the training went back."""
        rate = recipe.optimizer.learning_rate / 2**self.rollbacks
        return recipe.with_settings({"optimizer.learning_rate": rate})

    @field_validator("result")
    @classmethod
    def _has_figures(cls, result: dict[str, Any]) -> dict[str, Any]:
        for name in ("last", "best"):
            row = result.get(name, {})
            if row and isinstance(row, dict):
                row = _with_nan(row)
                result = result | {name: row}
            own = row.get("metrics", {}) if isinstance(row, dict) else None
            if not isinstance(own, dict) or not all(map(_is_number, _figures(row, own))):
                raise ValueError(f"expected the figures of the {name} epoch")
            if row and not {"epoch", "val_loss", "val_accuracy"} <= row.keys():
                raise ValueError(f"expected the validation loss and accuracy of the {name} epoch")
            if row and not isinstance(row["epoch"], int):
                raise ValueError(f"expected the number of the {name} epoch")
        return result

    @model_validator(mode="after")
    def _has_a_name_for_each_class(self) -> Self:
        if len(self.data.class_names) != self.model.num_classes:
            raise ValueError(f"{self.model.num_classes} classes and {len(self.data.class_names)} names of classes")
        return self


def _with_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch's row with NaN for what is not a finite number, which JSON has as null."""
    found = {name: math.nan if value is None and name != "epoch" else value for name, value in row.items()}
    own = row.get("metrics")
    return found | ({"metrics": _with_nan(own)} if isinstance(own, dict) else {})


def _is_number(value: object) -> bool:
    """Whether it is a number, and not one of more digits than a float has room for."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


def _figures(row: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[Any]:
    """What an epoch's row measures."""
    return [*(value for name, value in row.items() if name != "metrics"), *metrics.values()]


class RecordChanges(TypedDict, total=False):
    """What changes in a `RunRecord` after the run was made."""

    status: Status
    model: ModelRecord
    recipe: Recipe
    data: DataRecord
    split: SplitRecord
    options: OptionsRecord
    versions: dict[str, str]
    process: ProcessRecord
    resumed: list[Resumption]
    rollbacks: int
    result: dict[str, Any]
    trackers: dict[TrackerName, str]
