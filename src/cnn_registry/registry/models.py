"""Register, list and look up models by name; the entry-point group is ``cnn_registry.models``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, TypeVar

from cnn_registry.errors import (
    DeclarationError,
    InputShapeError,
    UnknownOptionError,
)
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.text import quoted

from .catalogue import Ambiguous, Listed
from .current import current_registry
from .declaration import declaration
from .entries import Broken
from .spec import FIRST_API_VERSION, Feature, ModelSpec, Paper, Pretrained, Provider

Builder = TypeVar("Builder", bound=Callable[..., Any])


@declaration
def register_model(
    *,
    family: str,
    summary: str,
    paper: Paper,
    trainable_params: int,
    non_trainable_params: int = 0,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    macs: int = 0,
    min_size: int = 1,
    features: Mapping[str, Feature] | None = None,
    aux_heads: Mapping[str, float] | None = None,
    weights: Mapping[str, Pretrained] | None = None,
    default_recipe: str = "default",
    recipe_settings: Mapping[str, Mapping[str, Any]] | None = None,
    aliases: tuple[str, ...] = (),
    deprecated_aliases: tuple[str, ...] = (),
    deprecated: str | None = None,
    api_version: int = FIRST_API_VERSION,
    replace: bool = False,
) -> Callable[[Builder], Builder]:
    """Declare a builder ``def name(input_shape, num_classes, *, option=default, ...) -> keras.Model``.

    The function's name is the model's name; its keyword-only parameters are the model's options. The declaring module
    must not import Keras: the function imports its network when it is called.

    It is called with ``input_shape``, a tuple ``(height, width, channels)`` of integers of which the first two are
    ``None`` where a network for images of any size is wanted, and with ``num_classes``, a positive integer. It returns
    an uncompiled model from ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Args:
        family: the group of architectures, for instance ``"vgg"``.
        summary: one line for listings.
        paper: title, authors, year and URL of the publication.
        trainable_params: number of trainable parameters with 1000 classes at ``input_shape``.
        non_trainable_params: number of the others, likewise; default 0.
        input_shape: default ``(height, width, channels)`` of the model; default ``(224, 224, 3)``.
        macs: multiply-accumulate operations per image at ``input_shape`` with 1000 classes; default 0, unknown.
        min_size: smallest height and width in pixels that can be built; default 1.
        features: intermediate feature maps that ``create_model(..., features=...)`` returns, in the order of the
            network; the last one is what ``include_top=False`` returns. Default none: the model has no headless form.
        aux_heads: weights of the auxiliary heads' losses by the names of their outputs. The builder then needs an
            option ``aux_heads=False``; with it true it returns a model with a dict of outputs, the main one
            ``"predictions"``. Training uses it, everything else builds without. Default none.
        weights: published weights by the name that ``create_model(..., weights=...)`` takes; default none.
        default_recipe: recipe that ``train`` uses when none is named; default ``"default"``.
        recipe_settings: adjustments of named recipes for this model, as dotted keys:
            ``{"article": {"optimizer.learning_rate": 1e-5}}``; default none.
        aliases: other names that find the model; default none.
        deprecated_aliases: former names that still find the model, with a `FutureWarning`; default none.
        deprecated: the replacement's name; using the model then warns. Default ``None``, it is current.
        api_version: the plugin interface the declaration is written for; default the first. See "Plugins that
            misbehave" in the guide for plugin authors.
        replace: whether to take the place of an earlier registration, or of an installed model of that name, in this
            session; default false.

    Returns:
        A decorator that returns the builder unchanged.

    Raises:
        DeclarationError: an argument is missing, unknown, or of the wrong type, or the builder's signature does not
            have the form above. In a plugin, this makes the one model broken; the others of its module can be used.
        DuplicateNameError: the name was registered in this session before, and ``replace`` is false.
    """

    def decorate(builder: Builder) -> Builder:
        spec = ModelSpec(
            name=builder.__name__,
            summary=summary,
            build=builder,
            provider=Provider(object=f"{builder.__module__}:{builder.__qualname__}"),
            paper=paper,
            aliases=aliases,
            deprecated_aliases=deprecated_aliases,
            deprecated=deprecated,
            api_version=api_version,
            family=family,
            input_shape=input_shape,
            trainable_params=trainable_params,
            non_trainable_params=non_trainable_params,
            macs=macs,
            min_size=min_size,
            features=features or {},
            aux_heads=aux_heads or {},
            weights=weights or {},
            options=_options(builder),
            default_recipe=default_recipe,
            recipe_settings=recipe_settings or {},
        )
        return current_registry().models.register(builder, spec, replace=replace)

    return decorate


def _options(builder: Callable[..., Any]) -> dict[str, Any]:
    """The builder's keyword-only parameters with their defaults."""
    parameters = inspect.signature(builder).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    others = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    takes_rest = len(options) + len(others) < len(parameters)  # *args or **kwargs would hide a misspelt option
    lacks_default = any(default is inspect.Parameter.empty for default in options.values())
    if others != ["input_shape", "num_classes"] or lacks_default or takes_rest:
        raise DeclarationError(
            f"{builder.__name__} must have the signature (input_shape, num_classes, *, option=default, ...), "
            f"each option with a default and no *args or **kwargs."
        )
    if taken := options.keys() & {"name", "weights", "include_top", "pooling", "features"}:
        raise DeclarationError(f"{builder.__name__} has an option {taken.pop()!r}, which create_model takes itself.")
    return options


@checked_arguments
def list_models(pattern: str | None = None) -> list[str]:
    """Names of all models, naturally sorted: ``vgg11`` before ``vgg100``. No plugin is imported.

    Args:
        pattern: shell-style pattern, for instance ``"vgg*"`` or ``"*res?et*"``; default all.
    """
    return current_registry().models.names(pattern)


def describe_models(pattern: str | None = None) -> list[ModelSpec | Broken | Ambiguous]:
    """Everything that `list_models` names: its spec, or why it is broken or ambiguous. Keras is not imported."""
    return current_registry().models.describe(pattern)


def listed_models(pattern: str | None = None) -> list[Listed | Broken | Ambiguous]:
    """As `describe_models`, for showing; a plugin that has not changed since it was listed is not imported."""
    return current_registry().models.listing(pattern)


@checked_arguments
def get_spec(name: str) -> ModelSpec:
    """The `ModelSpec` of a model. Keras is not imported.

    Args:
        name: the model's name, an alias, or ``distribution:name``.

    Raises:
        UnknownNameError: there is no such model; the message suggests the nearest names.
        AmbiguousNameError: several distributions provide the name.
        BrokenPluginError: the plugin that provides it cannot be used.
    """
    return current_registry().models.get(name)


def find_model(name: str) -> ModelSpec | Broken | Ambiguous:
    """As `get_spec`, but a broken or an ambiguous entry is returned instead of raised, and there is no warning."""
    return current_registry().models.find(name)


def refuse_unknown_options(spec: ModelSpec, options: Iterable[str]) -> None:
    """Refuse options that the model's builder does not have.

    Raises:
        UnknownOptionError: there is one.
    """
    if unknown := [option for option in options if option not in spec.options]:
        raise UnknownOptionError(spec.name, unknown, spec.options)


def checked_input_shape(spec: ModelSpec, input_shape: Sequence[int | None] | None) -> tuple[int, int, int]:
    """``input_shape``, or the model's default for ``None``.

    Raises:
        InputShapeError: it is not three positive integers, or smaller than ``spec.min_size``.
    """
    if input_shape is None:
        return spec.input_shape
    if not isinstance(input_shape, tuple | list) or len(input_shape) != 3 or not all(map(is_count, input_shape)):
        raise InputShapeError(
            f"input_shape must be (height, width, channels), three positive integers; got {quoted(input_shape)}."
        )
    height, width, channels = map(int, input_shape)
    if min(height, width) < spec.min_size:
        raise InputShapeError(
            f"{spec.name} needs images of at least {spec.min_size}x{spec.min_size} pixels; got {height}x{width}."
        )
    return height, width, channels


def is_count(value: object) -> bool:
    """Whether it is a positive integer, NumPy's included."""
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 1
