"""Training and validation steps of several replicas, which together compute what one computes on whole batches.

Each replica computes the outputs for its part of a batch. Then all of them know the outputs for the whole batch, so
that loss and metrics are what Keras makes of them, and add their gradients before the optimizer's step: clipping and
loss scaling see the gradient of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.keras_internals import Replacements, all_layers, require_shareable_steps
from cnn_registry.backend.strategy import Distribution
from cnn_registry.data.pipeline.batches import part_bounds
from cnn_registry.errors import UsageError
from cnn_registry.networks.synchronized import BatchPart, see_whole_batches

if TYPE_CHECKING:
    import keras
    from tensorflow import Tensor

Data = tuple["Tensor", ...]
"""Images of a part, labels for the whole batch, and weights where there are some; see `training_batches`."""

Logs = dict[str, Any]


def share_steps(model: keras.Model, distribution: Distribution, *, synchronise: bool) -> None:
    """Have a compiled model train and validate together with the replicas of a distribution.

    Args:
        model: compiled, with a built optimizer, in the scope of the distribution.
        distribution: of several replicas.
        synchronise: whether batch normalisations take their statistics from the whole batch.

    Raises:
        BackendError: Keras lacks what this is built on.
        UsageError: the loss cannot be divided among the devices of one process.
    """
    tf = backend.tensorflow()
    require_shareable_steps(model, mirrored=distribution.metrics_add_up)
    if distribution.metrics_add_up and getattr(model.loss, "reduction", None) in ("sum", "none", None):
        raise UsageError("A loss on several devices of one process must be a mean over images, not their sum.")
    parts = see_whole_batches(model, distribution, synchronise=synchronise)
    statistics = _own_statistics(model, synchronised=synchronise)

    def train_step(data: Data) -> Logs:
        images, labels, weights, own = _split(data, distribution)
        with tf.GradientTape() as tape:
            with parts.computing(own):
                outputs = model(images, training=True)
            outputs = _whole(outputs, own, distribution)
            loss = model._compute_loss(images, labels, outputs, weights, training=True)
            loss = loss * replicas if distribution.metrics_add_up else loss  # which Keras divides by them
            scaled = model.optimizer.scale_loss(loss)
        variables = model.trainable_variables
        gradients = _added(tape.gradient(scaled, [variable.value for variable in variables]), distribution)
        model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for variable, total in zip(
            statistics, distribution.all_reduce_sum([item.value for item in statistics]), strict=True
        ):
            variable.assign(total / replicas)
        distribution.vote()
        return _measured(images, labels, outputs, weights, own, loss)

    def test_step(data: Data) -> Logs:
        images, labels, weights, own = _split(data, distribution)
        outputs = _whole(model(images, training=False), own, distribution)
        loss = model._compute_loss(images, labels, outputs, weights, training=False)
        loss = loss * replicas if distribution.metrics_add_up else loss
        return _measured(images, labels, outputs, weights, own, loss)

    def _measured(
        images: Tensor, labels: Tensor, outputs: Any, weights: Tensor | None, own: BatchPart, loss: Tensor
    ) -> Logs:
        number = own.number
        if distribution.metrics_add_up:
            labels, outputs = labels[own.start : own.stop], _sliced(outputs, own)
            weights, number = None if weights is None else weights[own.start : own.stop], own.size
        model._loss_tracker.update_state(loss, sample_weight=number)
        logs: Logs = model.compute_metrics(images, labels, outputs, weights)
        return logs

    replicas = float(distribution.replicas.of)
    replacements = Replacements()
    replacements.add(model, "train_step", train_step)
    replacements.add(model, "test_step", test_step)
    replacements.add(model, "_aggregate_additional_loss", _counted_once(replicas, divided=distribution.metrics_add_up))
    if distribution.metrics_add_up:
        replacements.add(model, "_maybe_symbolic_build", _nothing)
        replacements.add(model.optimizer, "_all_reduce_sum_gradients", list)


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Keras would build a model from a batch, whose parts of several replicas it cannot take; this one is built."""


def _counted_once(replicas: float, *, divided: bool) -> Callable[[Tensor], Tensor]:
    """What a regularisation adds to the loss: its value in each replica, and its gradient once in their sum.

    Args:
        replicas: number of them.
        divided: whether the loss that it is added to is divided by them.
    """
    tf = backend.tensorflow()

    def share(loss: Tensor) -> Tensor:
        own = tf.reduce_sum(loss) / replicas
        whole = own + tf.stop_gradient(tf.reduce_sum(loss) - own)
        return whole / replicas if divided else whole

    return share


def _split(data: Data, distribution: Distribution) -> tuple[Tensor, Tensor, Tensor | None, BatchPart]:
    """Images of this part; labels and weights of the whole batch; and which part it is."""
    tf = backend.tensorflow()
    images, labels, *weights = data
    number = tf.shape(labels)[0]
    start, stop = part_bounds(number, distribution.replica(), distribution.replicas.of)
    labels, *weights = distribution.all_reduce_sum([labels, *weights])
    return images, labels, weights[0] if weights else None, BatchPart(start, stop, number)


def _whole(outputs: Any, own: BatchPart, distribution: Distribution) -> Any:
    """The outputs for the whole batch, of one output or of a dict of them."""
    tf = backend.tensorflow()

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow ships no type information
    def gathered(padded: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        # All replicas compute the same loss from the whole; each takes the gradient of its own part.
        return distribution.all_reduce_sum([padded])[0], lambda upstream: upstream

    def whole(output: Tensor) -> Tensor:
        around = [[own.start, own.number - own.stop], *([0, 0] for _ in output.shape[1:])]
        gathered_output = gathered(tf.pad(output[: own.size], around))
        gathered_output.set_shape((None, *output.shape[1:]))
        return gathered_output

    if isinstance(outputs, Mapping):
        return {name: whole(output) for name, output in outputs.items()}
    return whole(outputs)


def _sliced(outputs: Any, own: BatchPart) -> Any:
    if isinstance(outputs, Mapping):
        return {name: output[own.start : own.stop] for name, output in outputs.items()}
    return outputs[own.start : own.stop]


def _added(gradients: list[Any], distribution: Distribution) -> list[Any]:
    """The gradients of the whole batch; ``None`` stays, which is the same in all replicas."""
    tf = backend.tensorflow()
    present = [tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None]
    totals = iter(distribution.all_reduce_sum(present) if present else ())
    return [None if gradient is None else next(totals) for gradient in gradients]


def _own_statistics(model: keras.Model, *, synchronised: bool) -> list[Any]:
    """Variables that a replica changes by what it has seen: moving statistics, which are averaged after each step."""
    keras = backend.keras()
    found: list[Any] = []
    for layer in all_layers(model):
        if synchronised and type(layer) is keras.layers.BatchNormalization:
            continue
        # Its own variables beside its weights, whether it is frozen or not.
        own = getattr(layer, "_non_trainable_variables", ())
        found += [variable for variable in own if keras.backend.is_float_dtype(variable.dtype)]
    return found
