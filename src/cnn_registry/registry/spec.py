"""What is known of a model or a data set before it is built: plain data, no Keras.

A plugin's light module declares one spec for each thing it provides; the registry, the command line and the
run directory read nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from cnn_registry.errors import DeclarationError

API_VERSION = 1
"""The plugin interface this package speaks. It grows by one whenever an older plugin may no longer work as it did.

A declaration says which one it is written for, or means the first. A newer one is broken, an older one warns.
"""

_NAME = re.compile("[a-z0-9_]{1,64}")

SPEC_ATTRIBUTE = "__cnn_registry_spec__"
"""Where a declared function carries its spec, so that an entry point can name the function itself."""


def name_fault(name: str) -> str:
    """What is wrong with the name of a model or a data set, or an empty string.

    It is a function's name, is typed into a shell, and becomes a folder's name, on disks too that do not tell upper
    from lower case. Letters of other alphabets may look like these.
    """
    return "" if _NAME.fullmatch(name) else "a name has lower-case letters (a to z), digits and '_', at most 64 of them"


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a spec comes from.

    Attributes:
        object: ``module:name`` of the declared function.
        distribution: name of the installed distribution, or ``None`` if registered in this session.
        version: that distribution's version, or ``None``.
    """

    object: str
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.distribution} {self.version or ''}".strip() if self.distribution else "this session"


@dataclass(frozen=True, slots=True)
class Paper:
    """The publication that a model follows or a data set comes from."""

    title: str
    authors: str
    year: int
    url: str


@dataclass(frozen=True, slots=True)
class Feature:
    """An intermediate map of a network.

    Attributes:
        layer: name of the layer whose output it is.
        shape: ``(height, width, channels)`` at the default input shape.
    """

    layer: str
    shape: tuple[int, int, int]


Pixels = Literal["unit", "signed", "imagenet", "caffe"]
"""How a network wants its pixels.

``"unit"`` is 0 to 1, ``"signed"`` -1 to 1, ``"imagenet"`` torchvision's: each channel less ImageNet's mean and divided
by its deviation, ``"caffe"`` that of the first VGGs: blue, green, red, each less ImageNet's mean.
"""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Weights that are published elsewhere.

    Attributes:
        origin: where they are: ``"module:function"`` for a function that returns the trained Keras model when it is
            called with ``weights="imagenet"``, or the https address of a PyTorch state dict whose name ends in
            ``-<the first digits of its SHA-256>`` and ``.pth`` or ``.safetensors``.
        names: called when the weights are loaded; gives the name there of each of our layers with weights.
        pixels: how the network was trained to see its pixels.
        options: options of the builder with which the network is the one that was trained.
    """

    origin: str
    names: Callable[[], Mapping[str, str]]
    pixels: Pixels
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What models and data sets have in common.

    Attributes:
        name: the declared function's name, unique among what is installed.
        summary: one line for listings.
        build: the declared function.
        provider: the distribution, version and object it comes from.
        paper: the publication, if there is one.
        aliases: other names that find it.
        deprecated: the name of its replacement, or ``None`` while it is current.
        api_version: the plugin interface it was written for.

    Raises:
        DeclarationError: the name is not of the form that `name_fault` tells, or a field has the wrong type; a listing
            could not show it.
    """

    name: str
    summary: str
    build: Callable[..., Any] = field(repr=False, compare=False)
    provider: Provider
    paper: Paper | None = None
    aliases: tuple[str, ...] = ()
    deprecated: str | None = None
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        if fault := name_fault(self.name):
            raise DeclarationError(f"{self.name!r} cannot be a name: {fault}.")
        _require(self, summary=str, paper=Paper | None, aliases=tuple, deprecated=str | None, api_version=int)

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON-ready data, without the function itself."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name != "build"}


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A model as it is listed, before Keras is imported.

    Attributes:
        family: the group of architectures it belongs to, for instance ``"vgg"``.
        input_shape: default ``(height, width, channels)``.
        trainable_params: number of trainable parameters with 1000 classes at the default input shape.
        non_trainable_params: the rest (moving statistics of batch normalisation), likewise.
        macs: multiplications with addition for one image at the default input shape with 1000 classes.
        min_size: smallest height and width in pixels that the network can be built for.
        features: intermediate maps by name (``"stride8"``), in the order of the network; the last one is what the
            network without its top returns.
        aux_heads: weights of the auxiliary heads' losses in training, by the names of their outputs. The builder then
            has an option ``aux_heads``, and with it true returns a dict of outputs, the main one ``"predictions"``.
        weights: published weights by the name that ``weights=`` takes, for instance ``"keras:imagenet"``.
        options: keyword options of the builder with their defaults.
        default_recipe: name of the recipe that ``train`` uses when none is asked for.
        recipe_settings: adjustments of named recipes for this model, dotted keys:
            ``{"article": {"optimizer.learning_rate": 1e-5}}``.
    """

    family: str
    input_shape: tuple[int, int, int]
    trainable_params: int
    non_trainable_params: int = 0
    macs: int = 0
    min_size: int = 1
    features: Mapping[str, Feature] = field(default_factory=dict)
    aux_heads: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, Pretrained] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    default_recipe: str = "default"
    recipe_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self, family=str, input_shape=tuple, trainable_params=int, non_trainable_params=int, min_size=int)
        _require(self, macs=int, features=Mapping, aux_heads=Mapping, weights=Mapping)
        _require(self, default_recipe=str, recipe_settings=Mapping)
        if len(self.input_shape) != 3 or not all(isinstance(size, int) and size > 0 for size in self.input_shape):
            raise DeclarationError(
                f"input_shape of {self.name!r} must be (height, width, channels); got {self.input_shape!r}."
            )

    @property
    def total_params(self) -> int:
        """What ``keras.Model.count_params()`` returns with 1000 classes at the default input shape."""
        return self.trainable_params + self.non_trainable_params

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON-ready data, with the total number of parameters."""
        return super().to_dict() | {"total_params": self.total_params}


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A data set as it is listed, before anything is read or fetched.

    Attributes:
        num_classes: number of classes.
        num_images: number of images.
        image_size: the natural edge length in pixels, or ``None`` where the images vary.
        embedded: it needs no download and no ``--data``.
        is_default: ``train`` uses it when neither a data set nor a folder is named.
    """

    num_classes: int
    num_images: int
    image_size: int | None = None
    embedded: bool = False
    is_default: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self, num_classes=int, num_images=int, image_size=int | None)


def _require(spec: Spec, **types: Any) -> None:
    """Refuse a field that has not the type given for it."""
    for name, expected in types.items():
        value = getattr(spec, name)
        if not isinstance(value, expected):
            wanted = getattr(expected, "__name__", re.sub(r"[a-z_]+\.", "", str(expected)))  # a union has no name
            raise DeclarationError(f"{name} of {spec.name!r} must be of type {wanted}; got {value!r}.")


def _plain(value: Any) -> Any:
    """``value`` with dataclasses, mappings and tuples turned into what JSON knows."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Pretrained):
        return {"origin": value.origin, "pixels": value.pixels, "options": _plain(value.options)}
    if isinstance(value, Provider | Paper | Feature):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return repr(value)  # an option's default may be any object
