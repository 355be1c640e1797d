"""How to train: a recipe's settings, their bounds and defaults. What overrides what is in `resolution`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from cnn_registry.data.balance import ClassWeights, Sampling
from cnn_registry.data.form import Channels, Decoding, Form, Resize, Size, in_proportion
from cnn_registry.data.pipeline.augment import Augmentation
from cnn_registry.data.pipeline.mix import Mixing
from cnn_registry.errors import RecipeError
from cnn_registry.registry.spec import Pixels
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.objects import NAME, Reference
from cnn_registry.system.times import seconds_of
from cnn_registry.text import one_line, quoted, suggestion

from .messages import complaint, table_of

OLDER_NAMES = {"fine_tuning.rate_decay": "fine_tuning.layer_decay"}
"""Keys as earlier versions wrote them, and what they are now."""


NONE = "none"
"""How files write an absent value, which TOML does not have."""

LARGEST_EDGE = 8192
"""The largest height or width in pixels of images that networks are trained on."""

Edge = Annotated[int, Field(gt=0, le=LARGEST_EDGE)]


def _read_size(value: Any) -> int | tuple[int, int]:
    """A size as it is kept: an integer for a square, otherwise height and width, which may be written ``"96x160"``."""
    if isinstance(value, str) and (written := re.fullmatch(r"\s*([0-9]{1,9})\s*[x\u00d7]\s*([0-9]{1,9})\s*", value)):
        value = [int(edge) for edge in written.groups()]
    edges = list(value) if isinstance(value, list | tuple) and len(value) == 2 else [value]
    if not all(type(edge) is int for edge in edges):
        raise ValueError("expected an edge length in pixels, or height and width as in [96, 160] or 96x160")
    if min(edges) <= 0:
        raise ValueError("edges should be greater than 0")
    if max(edges) > LARGEST_EDGE:
        raise ValueError(f"edges should be at most {LARGEST_EDGE}")
    return edges[0] if len(set(edges)) == 1 else (edges[0], edges[1])


# pydantic's own serializer complains about the list that it makes of a tuple.
ImageSize = Annotated[
    int | tuple[int, int], PlainValidator(_read_size), PlainSerializer(lambda size: size, return_type=Any)
]
"""An edge length in pixels, or height and width."""


class Settings(BaseModel):
    """Base of all settings: immutable, no unknown keys, no silent conversions, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def finite(options: dict[str, Any]) -> dict[str, Any]:
    """The options, unless a number in them is not finite or a value cannot be recorded."""
    for option, value in options.items():
        try:
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            raise PydanticCustomError(
                "finite", "{option} must have finite numbers", {"option": quoted(option)}
            ) from error
    return options


def named(text: str) -> str:
    """``text``, if it is a name or ``module:object``."""
    if not re.fullmatch(NAME, text if ":" in text else text.replace("-", "_")):
        raise ValueError("expected a name or module:object")
    return text


def reference(text: str) -> str:
    """``text``, if it has the form of `Reference`."""
    Reference.parse(text)
    return text


def known(name: str, names: Sequence[str]) -> str:
    """``name`` as it is spelt here, if it is one of ``names``, in any case and with hyphens, or ``module:object``."""
    if ":" in name:
        return name
    spelt = next((each for each in names if plain(each) == plain(name)), None)
    if spelt is None:
        raise ValueError(f"expected {', '.join(names)} or module:object.{suggestion(name, names)}")
    return spelt


def plain(name: str) -> str:
    """A name in lower case, without hyphens and underscores."""
    return re.sub("[-_]", "", name.lower())


def a_time(text: str) -> str:
    """``text``, if it is a time."""
    seconds_of(text)
    return text


Precision = Literal["float32", "bfloat16", "float16", "auto"]

BestBy = Literal["val_loss", "accuracy", "balanced_accuracy", "macro_f1", "last"]

Time = Annotated[str, AfterValidator(a_time)]
"""``90s``, ``30m``, ``1h30m``."""


Named = Annotated[str, AfterValidator(named), Field(max_length=200)]
"""A name that the setting knows itself, or ``module:object``."""

Options = Annotated[dict[str, Any], AfterValidator(finite)]
"""Keyword arguments for what is named."""

NamedObject = Annotated[str, AfterValidator(reference), Field(max_length=1000)]
"""A name or ``module:object``, with keyword arguments: ``"module:object,key=value"``."""


class OptimizerSettings(Settings):
    """The optimizer.

    Attributes:
        name: ``"sgd"``, ``"adam"``, ``"adamw"`` or another optimizer of Keras (``"lion"``, ``"muon"``, ``"rmsprop"``,
            …) in any case; or ``module:object`` for a class, or a function that returns an optimizer.
        learning_rate: the rate, or its peak under a schedule.
        for_images: the number of images for which the rate is meant, between two changes of the weights. Where
            ``batch_size * accumulate`` is another, the rate is scaled in proportion (Goyal et al. 2017,
            https://arxiv.org/abs/1706.02677, section 2.1) when training is planned, and a run records the result.
            ``None`` for the rate as it is.
        momentum: that of SGD, and of other optimizers with an argument of this name.
        nesterov: Nesterov's form of SGD's momentum.
        weight_decay: decoupled decay per step, as a share of the rate; not applied to biases and normalisation. Decay
            that passes through SGD's momentum, as an L2 penalty does, is ``1 / (1 - momentum)`` times as strong: 5e-4
            there is 5e-3 here with a momentum of 0.9.
        clipnorm: limit of the norm of all gradients together; ``None`` for no limit.
        options: further arguments of the optimizer, for instance ``{"beta_2": 0.99}``.
    """

    name: Named = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    for_images: int | None = Field(default=None, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    clipnorm: float | None = Field(default=None, gt=0)
    options: Options = Field(default_factory=dict)


SCHEDULES = ("constant", "cosine", "step", "polynomial", "exponential", "one_cycle", "plateau")


class ScheduleSettings(Settings):
    """The learning rate over time.

    Attributes:
        name: ``"constant"``; ``"cosine"``, a half cosine; ``"step"``, which multiplies the rate by ``factor`` at each
            of the ``milestones``; ``"polynomial"``, ``(1 - progress) ** power``; ``"exponential"``; ``"one_cycle"``,
            which rises from a 25th of the peak in the first 30 % of the steps, falls along a half cosine, and has no
            other warm-up (Smith & Topin 2018, https://arxiv.org/abs/1708.07120); ``"plateau"``, which multiplies the
            rate by ``factor`` after ``patience`` epochs in which the measure of the recipe's ``best_by`` has not
            improved; or
            ``module:object``, which is called with the peak, the number of steps and ``options``, and returns Keras'
            ``LearningRateSchedule``.
        warmup_epochs: epochs of linear rise from zero before it, at most a fourth of the training.
        final: the rate at the last step as a share of its peak, for cosine, polynomial, exponential and one_cycle;
            ``None`` for 0, and for 0.01 in an exponential one, which never reaches 0.
        factor: what the rate is multiplied by; for step and plateau.
        milestones: epochs after which the rate falls, as shares of all epochs. The default is that of He et al. (2016,
            https://arxiv.org/abs/1512.03385), section 4.2.
        power: exponent of the polynomial.
        patience: epochs without improvement; for plateau.
        options: arguments of the object that ``name`` names.
    """

    name: Named = "constant"
    warmup_epochs: float = Field(default=0.0, ge=0)
    final: float | None = Field(default=None, ge=0, le=1)
    factor: float = Field(default=0.1, gt=0, lt=1)
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.75)
    power: float = Field(default=1.0, gt=0)
    patience: int = Field(default=5, gt=0)
    options: Options = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return known(name, SCHEDULES)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        if self.name == "exponential" and self.final == 0:
            raise ValueError("an exponential schedule never reaches 0; final must be above 0")
        return self


LOSSES = ("cross_entropy", "focal", "binary_cross_entropy", "poly1")


class LossSettings(Settings):
    """What training minimizes. Evaluation and reports always give the plain cross-entropy.

    Attributes:
        name: ``"cross_entropy"``; ``"focal"`` (Lin et al. 2017, https://arxiv.org/abs/1708.02002, equation 4);
            ``"binary_cross_entropy"``, of each class by itself; ``"poly1"`` (Leng et al. 2022,
            https://arxiv.org/abs/2204.12511, equation 6); or ``module:object`` for a class, or a function that returns
            a loss, of one-hot labels and probabilities, both ``(batch, num_classes)``. Label smoothing applies to all.
        gamma: exponent of the focal loss; 0 is the cross-entropy.
        epsilon: coefficient of poly1; 0 is the cross-entropy.
        options: arguments of the object that ``name`` names.
    """

    name: Named = "cross_entropy"
    gamma: float = Field(default=2.0, ge=0)
    epsilon: float = Field(default=1.0, ge=-1)
    options: Options = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return known(name, LOSSES)


NAMED_TABLES = ("optimizer", "schedule", "loss")
"""Tables that may be written as their name alone: ``loss = "focal"``."""


class EarlyStoppingSettings(Settings):
    """Stop when the measure of the recipe's ``best_by`` no longer improves: by default, the validation loss.

    Attributes:
        patience: epochs without improvement before training stops.
        min_delta: the least change that counts as improvement.
    """

    patience: int = Field(gt=0)
    min_delta: float = Field(default=0.0, ge=0)


class PhotoSettings(Settings):
    """Sizes for pictures that have no natural size, as photographs have none; in pixels.

    They hold unless ``image_size`` is set, and take the place of the settings with their names.

    Attributes:
        size: the shorter edge of images in training and evaluation; their shape is that of the model's own input. A
            model whose input is smaller keeps its own size, unless its spec sets ``photos.size``, and a model that
            needs larger images gets its smallest size. ``decode_size`` and ``train_sizes`` are then scaled by the same
            factor.
        decode_size: as the recipe's own ``decode_size``, as a shorter edge.
        train_sizes: as the recipe's own ``train_sizes``, as shorter edges.
    """

    size: Edge
    decode_size: Edge | None = None
    train_sizes: tuple[Edge, ...] = ()


class FineTuningSettings(Settings):
    """Training on from trained weights.

    Attributes:
        weights: published weights of the model, a run, a repository ``hf://user/name``, or a file, as for
            `create_model`; ``None`` to train from scratch.
        freeze: a stage of the network that stays as it is with everything before it: a feature of the model's spec,
            a layer's name, or the beginning of layers' names up to an underscore.
        layer_decay: factor from the learning rate of one part of the network, between one feature and the next, to that
            of the part before it; 1 for the same rate everywhere. Its older name ``rate_decay`` is still read.
    """

    weights: str | None = None
    freeze: str | None = None
    layer_decay: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _by_older_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "rate_decay" in data:
            return {
                **{key: value for key, value in data.items() if key != "rate_decay"},
                "layer_decay": data["rate_decay"],
            }
        return data


class Recipe(Settings):
    """Everything about a training that is neither the model nor the data.

    Attributes:
        name: the recipe's name; adjustments in a model's spec refer to it.
        summary: one line for listings.
        extends: the recipe whose settings hold where this one says nothing, as do a model's adjustments to it: a
            built-in one, that of a package, or a file, by its path relative to the file that names it.
        epochs: passes over the training images; with a ``time_limit``, at most.
        time_limit: for the whole training, from the images to the report: ``"90s"``, ``"30m"``, ``"1h30m"``. The time
            of steps is measured, and schedule, mixing and sizes are laid over what fits. ``None`` for no limit.
        best_by: which epoch is the best, whose weights are kept as such, and what early stopping and the schedule
            ``"plateau"`` watch: the one with the lowest ``"val_loss"``, or with the highest ``"accuracy"``,
            ``"balanced_accuracy"`` or ``"macro_f1"`` on the validation images; of equals, the first. ``"last"`` is the
            last epoch, so that nothing is chosen on the validation images.
        batch_size: images per step, of all replicas together.
        accumulate: steps whose gradients are averaged before the weights change, for batches that do not fit into
            memory; normalisations still see one step's images. If fewer steps than this are left at the end, they
            change nothing.
        image_size: edge length of squares in pixels, or height and width: ``[96, 160]``, or ``"96x160"``. ``None`` for
            the dataset's natural size, else that of ``photos``, else the model's; for the model's own shape where that
            is a rectangle.
        train_sizes: sizes in pixels that training goes through, each for an equal share of the epochs, for a network
            that takes any size: heights and widths, or the shorter edges of images in the proportions of
            ``image_size``; empty for ``image_size`` throughout. Small images first take less time, and
            crops make objects larger in training than in evaluation, which a larger ``image_size`` makes up for:
            Touvron et al. 2019 (https://arxiv.org/abs/1906.06423).
        decode_size: size in pixels of the decoded images that training crops are cut from, as in ``train_sizes``;
            ``None`` for ``image_size``. Larger ones make sharper crops, and take more memory.
        decoding: how images are decoded that are trained on and do not fit into memory: ``"exact"``, or ``"reduced"``
            to decode JPEG files at 1/2, 1/4 or 1/8 of their size, where that is large enough, and to resize with a
            shorter filter. It takes less than half the time, and the pixels differ a little. Images that fit into
            memory, evaluation and prediction are exact in any case.
        resize: how a picture of another shape becomes an image, in training, evaluation and prediction: ``"squash"``
            to resize all of it, ``"crop"`` to keep its shape and cut off what sticks out at two edges, ``"letterbox"``
            to keep its shape and surround it with ImageNet's mean colour.
        crop_share: the share of height and width that evaluation and prediction cut out of the centre, as timm's
            ``crop_pct``: a picture is fitted to ``image_size / crop_share`` first, rounded down. Training sees all of
            it, or what its augmentation cuts out.
        channels: 1 for grey, 3 for red, green and blue, 4 for these and alpha; pictures are converted.
        pixels: ``"unit"`` for 0..1 (x / 255), ``"signed"`` for -1..1 (x / 127.5 - 1); ``"imagenet"`` and ``"caffe"``
            are for pretrained weights, see `cnn_registry.Pixels`.
        ema: epochs over which an exponential moving average of the weights, and of the statistics of normalisations,
            forgets, at most a tenth of the training; validation uses the average, and the run keeps it. ``None`` for
            the weights as they are.
        label_smoothing: share of the target spread evenly over all classes.
        class_weights: what the loss of an image is multiplied by, from the number of training images of its class:
            ``"none"`` for 1, ``"balanced"`` for its inverse, ``"effective"`` for something between the two (Cui et al.
            2019, https://arxiv.org/abs/1901.05555). Validation has no weights.
        effective_beta: parameter of ``"effective"``, from 0 for ``"none"`` to just below 1 for ``"balanced"``.
        sampling: ``"shuffled"`` to see each training image once per epoch, or ``"balanced"`` to see the same
            number of each class; an epoch has the same number of steps.
        seed: seed of the split, the initial weights, the order of images, dropout and augmentation.
        split_seed: seed of the split alone, to train with several seeds on the same images; ``None`` for ``seed``.
        deterministic: have TensorFlow compute the same, bit for bit, in every run.
        precision: type of the numbers in a training step: ``"float32"``; ``"bfloat16"``, in which layers multiply and
            pass on their maps, while weights, statistics, outputs and the loss stay float32 (Kalamkar et al. 2019,
            https://arxiv.org/abs/1905.12322); ``"float16"`` in the same way on GPUs, with a loss that is scaled so that
            small gradients are not lost (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740); or ``"auto"`` for
            bfloat16 where training runs on a CPU or a GPU that multiplies it, for float16 on other GPUs with tensor
            cores, else float32.
        accelerate: compute training steps by faster operations of TensorFlow, with the same results except for
            rounding; ``False`` for those of plain Keras.
        sync_batch_norm: with several replicas, whether a batch normalisation takes its statistics from the whole batch,
            as one process does; otherwise each replica takes those of its part, and the moving ones are averaged.
        optimizer, schedule, loss, augmentation, mixing, fine_tuning: see there. ``loss = "focal"`` is short for
            ``loss.name = "focal"``, and so for the optimizer and the schedule.
        metrics: measured in training and validation beside the accuracy, as columns of the history: metrics of Keras by
            the names of their classes in any case, or ``module:object``, with arguments:
            ``"TopKCategoricalAccuracy,k=3"``.
        callbacks: Keras callbacks as ``module:object``, with arguments, called in each training. What they keep is
            resumed if they have the methods ``get_state`` and ``set_state``, see `train`.
        photos: see there; ``None`` where the sizes do not depend on the data.
        early_stopping: see there; ``None`` to train all epochs.
        model: options passed on to the model's builder.
    """

    name: str
    summary: str = ""
    extends: str | None = None
    epochs: int = Field(gt=0)
    time_limit: Time | None = None
    best_by: BestBy = "val_loss"
    batch_size: int = Field(default=32, gt=0)
    accumulate: int = Field(default=1, gt=0)
    image_size: ImageSize | None = None
    train_sizes: tuple[ImageSize, ...] = ()
    decode_size: ImageSize | None = None
    decoding: Decoding = "exact"
    resize: Resize = "squash"
    crop_share: float = Field(default=1.0, ge=0.1, le=1)
    channels: Channels = 3
    pixels: Pixels = "unit"
    ema: float | None = Field(default=None, gt=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: ClassWeights = "none"
    effective_beta: float = Field(default=0.99, ge=0, lt=1)
    sampling: Sampling = "shuffled"
    seed: int = Field(default=0, ge=0, lt=2**31)
    split_seed: int | None = Field(default=None, ge=0, lt=2**31)
    deterministic: bool = False
    precision: Precision = "float32"
    accelerate: bool = True
    sync_batch_norm: bool = True
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    loss: LossSettings = LossSettings()
    metrics: tuple[NamedObject, ...] = ()
    callbacks: tuple[NamedObject, ...] = ()
    augmentation: Augmentation = Augmentation()
    mixing: Mixing = Mixing()
    fine_tuning: FineTuningSettings = FineTuningSettings()
    photos: PhotoSettings | None = None
    early_stopping: EarlyStoppingSettings | None = None
    model: Options = Field(default_factory=dict)

    @field_validator("callbacks")
    @classmethod
    def _are_paths(cls, callbacks: tuple[str, ...]) -> tuple[str, ...]:
        for callback in callbacks:
            if not Reference.parse(callback).is_path:
                raise ValueError("expected module:object, as in keras.callbacks:CSVLogger")
        return callbacks

    @model_validator(mode="after")
    def _has_something_to_watch(self) -> Self:
        watching = "early_stopping" if self.early_stopping else "schedule.name = plateau"
        if self.best_by == "last" and (self.early_stopping or self.schedule.name == "plateau"):
            raise ValueError(f"best_by = last watches nothing, as {watching} must; choose another best_by")
        return self

    @checked_arguments
    def with_settings(self, settings: Mapping[str, Any]) -> Recipe:
        """This recipe with dotted keys replaced.

        Args:
            settings: new values by their keys, for instance ``{"optimizer.learning_rate": 0.01}``.

        Raises:
            RecipeError: a key is unknown (the nearest is suggested) or a value is out of range.
        """
        data = self.model_dump()
        for key, value in settings.items():
            put(data, key, value)
        return validated(data, self.name)

    def form(self, input_shape: tuple[int, int, int]) -> Form:
        """The form of pictures in evaluation and prediction, for a network with this ``input_shape``."""
        return Form(*input_shape, self.resize, self.crop_share)

    def decoded_form(self, input_shape: tuple[int, int, int]) -> Form:
        """The form in which pictures are decoded to train a network with this ``input_shape``."""
        form = self.form(input_shape)
        own = form.at(in_proportion(self.decode_size, *form.size) if self.decode_size else form.size)
        return replace(own, reduced=self.decoding == "reduced")

    def sizes(self, input_shape: tuple[int, int, int]) -> list[Size]:
        """The sizes of the images in training for ``input_shape``, each for an equal share of the epochs."""
        height, width, _ = input_shape
        return [in_proportion(size, height, width) for size in self.train_sizes] or [(height, width)]

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-ready data."""
        return self.model_dump(mode="json")


def put(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Set one dotted key in nested ``data``; missing tables are created, early stopping's for instance.

    Raises:
        RecipeError: the key leads into a single value.
    """
    if is_name(dotted, value):
        dotted = f"{dotted}.name"
    *tables, last = OLDER_NAMES.get(dotted, dotted).split(".")
    for depth, table in enumerate(tables):
        if data.get(table) is None:
            data[table] = {}  # an unknown name is reported where it stands, with the names that exist there
        if not isinstance(data[table], dict):
            raise RecipeError(f"{'.'.join(tables[: depth + 1])} is a single value; {quoted(dotted)} does not exist.")
        data = data[table]
    data[last] = value


def is_name(key: str, value: Any) -> bool:
    """Whether a setting names what a table is about, in place of the whole table."""
    return key in NAMED_TABLES and isinstance(value, str)


def validated(data: Mapping[str, Any], source: str) -> Recipe:
    """The recipe that ``data``, read from ``source``, describes.

    Raises:
        RecipeError: a key is unknown or a value is out of range.
    """
    try:
        # Strict, and by way of JSON: 3.0 and "3" are not 3, but a list is a tuple.
        return Recipe.model_validate_json(json.dumps(with_none(data, Recipe), default=json_ready), strict=True)
    except RecursionError as error:
        raise RecipeError(f"Recipe {source}: a value nests too deeply.") from error
    except ValidationError as error:
        # A misspelt key may also be missing under its true name; the misspelling is what helps.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        raise RecipeError(complaint(first, source, Recipe)) from error
    except (TypeError, ValueError) as error:  # of json: a key of another type, a number of thousands of digits
        raise RecipeError(f"Recipe {source}: a value cannot be stored: {one_line(error)}.") from error


def with_none(data: Mapping[str, Any], settings: type[BaseModel]) -> dict[str, Any]:
    """``data`` with ``None`` for the word, which files have in its place, or the word where that is a value itself."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        annotation = settings.model_fields[key].annotation if key in settings.model_fields else None
        table, allowed = table_of(annotation), get_args(annotation)
        if table and isinstance(value, Mapping):
            value = with_none(value, table)
        elif isinstance(value, str) and value == NONE and NoneType in allowed:
            value = None
        elif value is None and NONE in allowed:
            value = NONE
        found[key] = value
    return found


def json_ready(value: Any) -> Any:
    """What JSON has no form for: NumPy's numbers and arrays as Python's, anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
