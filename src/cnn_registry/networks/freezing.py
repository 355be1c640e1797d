"""Fine-tuning: which layers stay as they are, and which learn slowly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.keras_internals import has_graph
from cnn_registry.errors import UsageError
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.text import suggestion

if TYPE_CHECKING:
    import keras


def freeze(model: keras.Model, spec: ModelSpec, stage: str) -> None:
    """Freeze a stage of the network and everything before it; frozen normalisations use their statistics.

    Args:
        model: a functional or sequential model.
        spec: its spec.
        stage: one of the spec's features (``"stride16"``), a layer's name, or the beginning of layers' names up to an
            underscore (``"stage3"``, ``"block4"``).

    Raises:
        UsageError: there is no such stage, nothing would be left to train, or the model has no graph.
    """
    _check_graph(model, spec, "fine_tuning.freeze")
    for layer in _up_to(model, _stage(model, spec, stage)):
        layer.trainable = False
    if not model.trainable_variables:
        raise UsageError(f"Freezing {stage!r} leaves nothing of {spec.name} to train; name an earlier stage.")


def rate_shares(model: keras.Model, spec: ModelSpec, decay: float) -> list[tuple[keras.Variable, float]]:
    """The shares of the learning rate for all trainable variables that get less than the full rate.

    The network is cut at its features. The layers after the last feature learn at the full rate, each part before them
    at ``decay`` times the rate of the part after it: discriminative fine-tuning, Howard & Ruder 2018
    (https://arxiv.org/abs/1801.06146), section 3.2, where ``decay`` is 1 / 2.6.

    Raises:
        UsageError: the model names no features, or has no graph.
    """
    _check_graph(model, spec, "fine_tuning.layer_decay")
    if not spec.features:
        raise UsageError(f"{spec.name} names no features, so fine_tuning.layer_decay cannot be applied.")
    shares: dict[str, tuple[keras.Variable, float]] = {}
    for exponent, part in zip(range(len(spec.features), 0, -1), spec.features.values(), strict=True):
        for layer in _up_to(model, [model.get_layer(part.layer)]):
            for variable in layer.trainable_variables:
                shares.setdefault(variable.path, (variable, decay**exponent))
    return list(shares.values())


def _check_graph(model: keras.Model, spec: ModelSpec, setting: str) -> None:
    """Refuse models whose layers are called by code of their own.

    Raises:
        UsageError: it is one.
    """
    if not has_graph(model):
        raise UsageError(
            f"{spec.name} is neither a functional nor a sequential model, so {setting} cannot be applied; leave it out."
        )


def _stage(model: keras.Model, spec: ModelSpec, stage: str) -> list[Any]:
    name = spec.features[stage].layer if stage in spec.features else stage
    layers = [layer for layer in model.layers if layer.name == name or layer.name.startswith(f"{name}_")]
    if not layers:
        beginnings = {layer.name.rsplit("_", parts)[0] for layer in model.layers for parts in range(4)}
        known = f"its features {', '.join(spec.features)}, or " if spec.features else ""
        raise UsageError(
            f"{spec.name} has no stage {stage!r}.{suggestion(stage, [*spec.features, *beginnings])} "
            f"It takes {known}a layer's name or its beginning."
        )
    return layers


def _up_to(model: keras.Model, layers: Iterable[Any]) -> list[Any]:
    """``layers`` and all that they depend on."""
    found: list[Any] = backend.keras().Model(model.inputs, [layer.output for layer in layers]).layers
    return found
