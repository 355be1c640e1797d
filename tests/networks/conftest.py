"""Small networks, and their steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnn_registry import backend
from cnn_registry.networks.acceleration import accelerate

keras, tf = backend.keras(), backend.tensorflow()

Build = Callable[[Any], Any]


def network(size: tuple[int, int], channels: int, build: Build, *, accelerated: bool) -> Any:
    """``build``'s layers on maps of that size, with the same weights each time."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((*size, channels))
    model = keras.Model(inputs, build(inputs))
    if accelerated:
        accelerate(model)
    return model


def step(model: Any, inputs: Any) -> tuple[Any, ...]:
    """Outputs in training and all gradients of a loss."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = model(inputs, training=True)
        loss = tf.reduce_sum(outputs * tf.sin(outputs))
    return (outputs, *tape.gradient(loss, [inputs, *[variable.value for variable in model.trainable_variables]]))


def random_maps(*shape: int) -> Any:
    return tf.random.stateless_normal(shape, seed=(1, 2))
