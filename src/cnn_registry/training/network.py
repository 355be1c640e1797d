"""The network of a spec, with all that a recipe trains it by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnn_registry import backend
from cnn_registry.backend.keras_internals import declared_variables, has_graph, take_any_size
from cnn_registry.data.form import Size
from cnn_registry.data.pipeline.batches import steps_per_epoch
from cnn_registry.errors import UsageError
from cnn_registry.networks.build import build_graph, build_model
from cnn_registry.networks.freezing import freeze, rate_shares
from cnn_registry.networks.graph import MAIN
from cnn_registry.networks.heads import add_aux_losses
from cnn_registry.networks.memory import bytes_of, kept_bytes, memory_reported, refuse_larger_than_memory
from cnn_registry.networks.precision import set_precision
from cnn_registry.networks.saving import drop_own_initializers
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.runs.record import ModelRecord
from cnn_registry.system.objects import Reference, named_object

from .loss import build_loss, build_metrics, check_on_sample
from .optimizer import build_optimizer, find_optimizer

if TYPE_CHECKING:
    import keras


SMALLER = "Choose a smaller image_size, batch_size or network"
"""What makes a training smaller."""


class Trainable(NamedTuple):
    """A network that can be trained.

    Attributes:
        model: the network with its loss, optimizer and metrics.
        metric_names: of the metrics that its recipe adds to the accuracy.
    """

    model: keras.Model
    metric_names: list[str]


def build_trainable(
    spec: ModelSpec,
    form: ModelRecord,
    recipe: Recipe,
    num_images: int,
    *,
    class_names: Sequence[str] | None = None,
    pretrained: bool = True,
    replicas: int = 1,
) -> Trainable:
    """The model of ``spec`` with its auxiliary heads, and with the recipe's loss, optimizer and metrics.

    Args:
        spec: the model's spec.
        form: in which form it is built.
        recipe: how to train.
        num_images: training images per epoch.
        class_names: in the order of the outputs; the classifier of weights is only kept for the same ones, as
            `build_model` says.
        pretrained: whether to load the weights that the recipe names.
        replicas: how many share each batch.

    Raises:
        UsageError, CnnRegistryError: as `Fit`.
    """
    keras = backend.keras()
    keras.utils.set_random_seed(recipe.seed)
    options = form.options | ({"aux_heads": True} if form.aux_heads else {})
    tuning = recipe.fine_tuning
    model = build_model(
        spec,
        num_classes=form.num_classes,
        input_shape=form.input_shape,
        weights=tuning.weights if pretrained else None,
        class_names=class_names,
        **options,
    )
    if not model.trainable_variables:
        raise UsageError(f"{spec.name} has no trainable weights, so there is nothing to train.")
    check_outputs(model, spec, form)
    drop_own_initializers(model)
    if recipe.train_sizes:
        _check_sizes(model, spec, form, recipe.sizes(form.input_shape), options)
    loss = build_loss(recipe.loss, recipe.label_smoothing)
    metrics = build_metrics(recipe.metrics, recipe.best_by, multi_label=form.multi_label)
    check_on_sample(loss, metrics, form.num_classes)
    if form.aux_heads:
        add_aux_losses(model, form.aux_heads, loss)
    if recipe.train_sizes and not take_any_size(model):
        raise UsageError(f"Keras {keras.__version__} trains a network at one size only; leave train_sizes out.")
    if tuning.freeze:
        freeze(model, spec, tuning.freeze)
    if recipe.precision in ("bfloat16", "float16"):
        built_for, sizes = form.input_shape[:2], recipe.sizes(form.input_shape)
        smallest = min(1.0, *(edge / own for size in sizes for edge, own in zip(size, built_for, strict=True)))
        set_precision(model, recipe.precision, smallest, accelerating=recipe.accelerate)
    shares = rate_shares(model, spec, tuning.layer_decay) if tuning.layer_decay < 1 else ()
    optimizer = build_optimizer(recipe, steps_per_epoch(num_images, recipe.batch_size), shares)
    if recipe.precision == "float16" and has_graph(model):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    batch_size = min(recipe.batch_size, num_images)
    needs = _needs(model, optimizer, recipe, math.ceil(batch_size / replicas))
    what = f"Training {spec.name} for input_shape={form.input_shape} with batches of {batch_size}"
    refuse_larger_than_memory(what, needs, SMALLER)
    with memory_reported(what, needs, SMALLER):
        # Without variables at hand, `fit` traces the step once to create them and once more to use them.
        optimizer.build(model.trainable_variables)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=metrics,
        jit_compile=False,  # XLA's convolutions are slower on a CPU than oneDNN's
    )
    return Trainable(model, [metric.name for metric in metrics[1:]])


def _needs(model: keras.Model, optimizer: keras.Optimizer, recipe: Recipe, batch_size: int) -> list[tuple[str, int]]:
    """What training takes at least, in bytes, where it takes more of it than inference."""
    weights = bytes_of(model.variables)
    return [
        ("weights", weights),
        ("their average", weights if recipe.ema else 0),
        ("the optimizer", _state_bytes(optimizer, model.trainable_variables)),
        # Smaller images of other sizes need less.
        ("the maps that gradients need", 0 if recipe.train_sizes else kept_bytes(model, batch_size)),
    ]


def _state_bytes(optimizer: keras.Optimizer, variables: Sequence[keras.Variable]) -> int:
    """Bytes of what an optimizer keeps for ``variables``, counted in a copy that is only declared; 0 without one."""
    try:
        copy = type(optimizer).from_config(optimizer.get_config())
        with declared_variables() as declared:
            copy.build(variables)
    except Exception:  # an optimizer of the user's
        return 0
    return bytes_of(declared.variables)


def check_parts(recipe: Recipe) -> None:
    """Refuse a recipe that names an optimizer, a loss, a metric or a callback that is not there.

    Raises:
        UsageError: it does.
    """
    find_optimizer(recipe.optimizer.name)
    build_loss(recipe.loss, recipe.label_smoothing)
    build_metrics(recipe.metrics, recipe.best_by)
    for callback in map(Reference.parse, recipe.callbacks):
        named_object(callback.name, "the callback")


def check_outputs(model: keras.Model, spec: ModelSpec, form: ModelRecord) -> None:
    """Refuse outputs that the loss does not take: undeclared heads, and anything but probabilities.

    Raises:
        UsageError: there are any.
    """
    outputs = getattr(model, "output", None)
    if isinstance(outputs, dict) and not form.aux_heads:
        others = ", ".join(repr(name) for name in outputs if name != MAIN)
        raise UsageError(
            f"{spec.name} has the outputs {MAIN!r} and {others}, but declares no auxiliary heads. Its plugin must "
            f"declare them with register_model(aux_heads=...), or return a single output."
        )
    if _ends_in_softmax(model, outputs[MAIN] if isinstance(outputs, dict) else outputs):
        return
    called = model(np.random.default_rng(0).random((2, *form.input_shape), np.float32), training=False)
    values = backend.keras().ops.convert_to_numpy(called[MAIN] if isinstance(called, dict) else called)
    if form.multi_label and values.min() >= 0 and values.max() <= 1:
        return
    if np.isfinite(values).all() and not (values.min() >= 0 and np.allclose(values.sum(axis=1), 1, atol=1e-2)):
        raise UsageError(
            f"The outputs of {spec.name} are not probabilities: they sum to {values[0].sum():.3g} for one image, "
            f"and go from {values.min():.3g} to {values.max():.3g}. End the network in a softmax."
        )


def _ends_in_softmax(model: keras.Model, output: Any) -> bool:
    """Whether the layer that makes ``output`` is known to make probabilities; saves calling the network."""
    keras = backend.keras()
    last = [layer for layer in model.layers if getattr(layer, "output", None) is output and output is not None]
    return any(
        (isinstance(layer, keras.layers.Softmax) and layer.axis in (-1, 1))
        or getattr(layer, "activation", None) is keras.activations.softmax
        for layer in last
    )


def _check_sizes(
    model: keras.Model, spec: ModelSpec, form: ModelRecord, sizes: Sequence[Size], options: Mapping[str, Any]
) -> None:
    """Refuse sizes for which the network would have other weights than ``model``.

    Raises:
        UsageError: it has, as every network has that flattens its maps.
        InputShapeError: a size is too small for it.
    """

    def shapes(network: keras.Model) -> list[tuple[int, ...]]:
        return [tuple(weight.shape) for weight in network.weights]

    height, width, channels = form.input_shape
    for size in dict.fromkeys(sizes):
        if size == (height, width):
            continue
        other = build_graph(spec, num_classes=form.num_classes, input_shape=(*size, channels), **options)
        if shapes(other) != shapes(model):
            raise UsageError(
                f"{spec.name} has other weights at {size[0]}x{size[1]} pixels than at {height}x{width}, so it cannot "
                f"go through train_sizes; leave them out."
            )
