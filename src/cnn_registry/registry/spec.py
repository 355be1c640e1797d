"""What is known of a model or a dataset before it is built: plain data, without Keras.

A plugin's light module declares one spec for each thing it provides; the registry, the command line and the
run directory read nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from cnn_registry.errors import DeclarationError
from cnn_registry.text import either, quoted

from .frozen import frozen

API_VERSION = 1
"""The plugin interface this package supports. It grows by one whenever an older plugin may no longer work as it did.

A plugin written for a newer one is broken; one written for an older one warns.
"""

FIRST_API_VERSION = 1
"""The plugin interface that a declaration is written for if it names none."""

_NAME = re.compile("[a-z0-9_]{1,64}")

SPEC_ATTRIBUTE = "__cnn_registry_spec__"
"""Where a declared function carries its spec, so that an entry point can name the function itself."""


def name_fault(name: str) -> str:
    """What is wrong with the name of a model or a dataset, or an empty string.

    It is a function's name, is typed into a shell, and becomes a folder's name, also on disks that do not distinguish
    upper from lower case. Letters of other alphabets may look like these.
    """
    return "" if _NAME.fullmatch(name) else "names consist of lower-case letters (a to z), digits and '_', at most 64"


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
class Rejected:
    """Stands for the spec of a function whose declaration is faulty.

    Attributes:
        reason: what is wrong with the declaration.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Paper:
    """The publication that a model follows or a dataset comes from.

    Attributes:
        title: its title.
        authors: its authors, as they are cited.
        year: year of publication.
        url: where it can be read.
    """

    title: str
    authors: str
    year: int
    url: str


@dataclass(frozen=True, slots=True)
class Feature:
    """An intermediate feature map of a network.

    Attributes:
        layer: name of the layer whose output it is.
        shape: ``(height, width, channels)`` at the default input shape.
    """

    layer: str
    shape: tuple[int, int, int]


Pixels = Literal["unit", "signed", "imagenet", "caffe"]
"""The form in which a network takes its pixels, of ``x`` from 0 to 255 for red, green and blue.

- ``"unit"``: ``x / 255``, from 0 to 1.
- ``"signed"``: ``x / 127.5 - 1``, from -1 to 1. Most of Inception's weights take this form.
- ``"imagenet"``: ``(x / 255 - mean) / deviation`` with ImageNet's mean 0.485, 0.456, 0.406 and deviation 0.229, 0.224,
  0.225: from about -2.1 to 2.6. Most of torchvision's weights take this form.
- ``"caffe"``: ``x - mean`` in the order blue, green, red, with ImageNet's mean 103.939, 116.779, 123.68: from about
  -124 to 151. Keras' weights of VGG and ResNet take this form.

For grey, the mean and the deviation are the averages of the three. For alpha, they are 0 and 1.
"""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Weights that are published elsewhere.

    Attributes:
        origin: where they are: ``"module:function"`` for a function that returns the trained Keras model when it is
            called with ``weights="imagenet"``, the http or https address of a PyTorch state dict whose name ends in
            ``-<the first digits of its SHA-256>`` and ``.pth``, ``.pt`` or ``.safetensors``, or ``"hf://user/name"``,
            a repository of a hub with a state dict in ``model.safetensors``.
        names: called when the weights are loaded; returns the name there of each of our layers with weights.
        pixels: the form in which the network took its pixels in training: ``"unit"``, ``"signed"``, ``"imagenet"`` or
            ``"caffe"``, as `Pixels` describes them.
        options: options of the builder with which the network is the one that was trained; default none.
        classes: where the names of its classes are, for predictions: ``"module:function"`` of a function that takes
            probabilities ``(N, num_classes)`` and ``top=1`` and returns ``[(id, name, probability)]`` for each row, as
            ``keras.applications.imagenet_utils:decode_predictions`` does. It may download them. Default unknown.
        num_classes: the number of its outputs; default 1000.
    """

    origin: str
    names: Callable[[], Mapping[str, str]]
    pixels: Pixels
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: str = ""
    num_classes: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", frozen(self.options))


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What models and datasets have in common. Whoever reads a spec cannot change it, its mappings included.

    Attributes:
        name: the declared function's name, unique among what is installed.
        summary: one line for listings.
        build: the declared function.
        provider: the distribution, version and object it comes from.
        paper: the publication, if there is one.
        aliases: other names that find it.
        deprecated_aliases: former names that still find it, with a warning.
        deprecated: the name of its replacement, or ``None`` while it is current.
        api_version: the plugin interface it was written for.

    Raises:
        DeclarationError: the name does not have the form that `name_fault` describes, or a field has the wrong type.
    """

    name: str
    summary: str
    build: Callable[..., Any] = field(repr=False, compare=False)
    provider: Provider
    paper: Paper | None = None
    aliases: tuple[str, ...] = ()
    deprecated_aliases: tuple[str, ...] = ()
    deprecated: str | None = None
    api_version: int = FIRST_API_VERSION

    def __post_init__(self) -> None:
        if fault := name_fault(self.name):
            raise DeclarationError(f"{self.name!r} cannot be a name: {fault}.")
        _require(self, summary=str, paper=Paper | None, deprecated=str | None, api_version=int)
        _require(self, aliases=tuple, deprecated_aliases=tuple)
        _require_items(self, "aliases", str)
        _require_items(self, "deprecated_aliases", str)
        for each in fields(self):
            if isinstance(value := getattr(self, each.name), Mapping):
                object.__setattr__(self, each.name, frozen(value))

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
        macs: multiply-accumulate operations per image at the default input shape with 1000 classes; 0 if unknown.
        min_size: smallest height and width in pixels that the network can be built for.
        features: intermediate feature maps by name (``"stride8"``), in the order of the network; the last one is what
            the network without its top returns.
        aux_heads: weights of the auxiliary heads' losses in training, by the names of their outputs. The builder then
            has an option ``aux_heads``; with it true it returns a dict of outputs, the main one ``"predictions"``.
        weights: published weights by the name that ``weights=`` takes, for instance ``"keras:imagenet"``.
        options: keyword options of the builder with their defaults.
        default_recipe: name of the recipe that ``train`` uses when none is named.
        recipe_settings: adjustments of named recipes for this model, as dotted keys:
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
        _require_items(self, "features", Feature)
        _require_items(self, "aux_heads", int | float)
        _require_items(self, "weights", Pretrained)
        _require_items(self, "recipe_settings", Mapping)
        _require_shape("input_shape", self.name, self.input_shape)
        if self.min_size < 1:
            raise DeclarationError(f"min_size of {self.name!r} must be at least 1 pixel; got {self.min_size}.")
        for name, feature in self.features.items():
            _require_shape(f"shape of the feature {name!r}", self.name, feature.shape)
        for name, published in self.weights.items():
            if published.pixels not in (known := get_args(Pixels)):
                what, came = f"pixels of the weights {name!r} of {self.name!r}", published.pixels
                raise DeclarationError(f"{what} must be {either(known)}; got {quoted(came)}.")

    @property
    def total_params(self) -> int:
        """What ``keras.Model.count_params()`` returns with 1000 classes at the default input shape."""
        return self.trainable_params + self.non_trainable_params

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON-ready data, with the total number of parameters."""
        return super().to_dict() | {"total_params": self.total_params}


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A dataset as it is listed, before anything is read or fetched.

    Attributes:
        num_classes: number of classes.
        num_images: number of images.
        image_size: natural edge length in pixels, or height and width; ``None`` where the images vary.
        embedded: whether it needs neither a download nor ``--data``.
        is_default: whether ``train`` uses it when neither a dataset nor a folder is named.
        parameter: what follows the name and a colon, for a loader of many datasets, such as ``"NAME"`` in ``hf:NAME``;
            empty for a single dataset.
    """

    num_classes: int
    num_images: int
    image_size: int | tuple[int, int] | None = None
    embedded: bool = False
    is_default: bool = False
    parameter: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self, parameter=str)
        _require(self, num_classes=int, num_images=int, image_size=int | tuple | None, embedded=bool, is_default=bool)


def _require(spec: Spec, **types: Any) -> None:
    """Refuse a field that does not have the type given for it."""
    for name, expected in types.items():
        _require_type(name, spec.name, getattr(spec, name), expected)


def _require_items(spec: Spec, name: str, expected: Any) -> None:
    """Refuse a field whose items, or whose keys, do not have the type that they should have."""
    items = getattr(spec, name)
    if isinstance(items, Mapping):
        for key, value in items.items():
            _require_type(f"each key in {name}", spec.name, key, str)
            _require_type(f"{name}[{key!r}]", spec.name, value, expected)
    else:
        for value in items:
            _require_type(f"each item in {name}", spec.name, value, expected)


def _require_type(what: str, name: str, value: object, expected: Any) -> None:
    is_wrong_bool = isinstance(value, bool) and expected is not bool  # a bool would pass as an int
    if not isinstance(value, expected) or is_wrong_bool:
        wanted = expected.__name__ if isinstance(expected, type) else re.sub(r"[a-z_]+\.", "", str(expected))  # a union
        raise DeclarationError(f"{what} of {name!r} must be of type {wanted}; got {quoted(value)}.")


def _require_shape(what: str, name: str, shape: object) -> None:
    is_shape = isinstance(shape, tuple) and len(shape) == 3
    if not is_shape or not all(type(size) is int and size > 0 for size in shape):  # type: ignore[attr-defined]
        raise DeclarationError(f"{what} of {name!r} must be (height, width, channels); got {quoted(shape)}.")


def _plain(value: Any) -> Any:
    """``value`` with dataclasses, mappings and tuples turned into what JSON knows."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, Pretrained):
        return {"origin": value.origin, "pixels": value.pixels, "options": _plain(value.options)}
    if isinstance(value, Provider | Paper | Feature):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return repr(value)  # an option's default may be any object
