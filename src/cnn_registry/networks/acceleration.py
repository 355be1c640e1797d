"""Keras' layers and optimizers computed by faster operations of TensorFlow in training steps.

They stay Keras' own objects: what they are, what is saved of them and what they compute does not change, except for
rounding. After training they have their own methods back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cnn_registry import backend
from cnn_registry.backend.keras_internals import (
    Replacements,
    calls_of,
    graph_is_known,
    has_graph,
    holds,
    is_replaced,
    methods_are_replaceable,
    one_operation_step,
    setting,
)

from .graph import macs

if TYPE_CHECKING:
    import keras
    from tensorflow import Tensor

LARGEST_KERNEL = 9
"""Weights per pair of channels: for larger kernels, oneDNN's gradient is as fast."""


@dataclass(frozen=True)
class Products:
    """Which kernel gradients are faster as products of matrices than as oneDNN computes them, as measured.

    Those of 1x1 convolutions are; of larger kernels, those of the convolutions that these limits describe.

    Attributes:
        dtype: the type in which they are.
        channels: the fewest on each side: products of smaller matrices are slower.
        macs: the fewest multiply-adds for one image: below, the gradient gains less than its tracing costs.
        per_position: the fewest channels on each side for each position of the outputs: where maps are large, the
            products' copies of the inputs cost more than oneDNN's sums over positions.
    """

    dtype: str
    channels: int
    macs: int = 0
    per_position: float = 0.0


FASTER = {
    "avx2": Products("float32", channels=16, macs=30_000_000),
    "avx512_bf16": Products("bfloat16", channels=192, macs=30_000_000),
    "amx_bf16": Products("bfloat16", channels=96, per_position=1.5),
}
"""The products that pay, by the processor's instructions."""

SMALL_MAP = 14 * 14
"""Positions of outputs up to which one product takes all images, which is traced faster than a loop."""

COPIED_AT_ONCE = 4096
"""Positions of outputs, of one or several images, for which the inputs of larger maps are copied at once: enough for a
fast product, and no more memory than that."""

FULL_STEP = "full_step"
"""The method of an optimizer that takes its whole step, where its ``apply`` does something more with it."""


@contextmanager
def accelerated(model: keras.Model) -> Iterator[None]:
    """Within the block, training steps of ``model`` are computed as by `accelerate`."""
    undo = accelerate(model)
    try:
        yield
    finally:
        undo()


def accelerate(model: keras.Model) -> Callable[[], None]:
    """Replace what the layers and the optimizer of ``model`` compute in training steps.

    - A batch normalisation is one operation, and one for its gradients. Keras composes each of a dozen, and all of
      them pass through the whole map.
    - The gradient of a convolution's kernel is a product of matrices for each of the kernel's positions. oneDNN's own
      is slower on processors with AVX2, most of all where maps are large; in bfloat16 with AVX-512, most of all where
      they are small; and with AMX for 1x1 kernels and small maps. Elsewhere it is not, and stays; `FASTER` has the
      limits.
    - In bfloat16, the gradient of a bias is a product of a matrix with ones, whose sums are in float32. TensorFlow's is
      summed in bfloat16.
    - The step of an optimizer is one operation per variable, see `one_operation_step`.

    Layers of a subclass, those with settings that these operations do not know, and those of a model that is neither
    functional nor sequential stay as they are. Where the installed Keras does not work as expected, so does everything
    that depends on it, and one line says so.

    Args:
        model: built. The step of its optimizer is replaced if it is compiled, with a built optimizer.

    Returns:
        A function that puts all methods back.
    """
    replacements = Replacements()
    if has_graph(model) and methods_are_replaceable():
        for layer in model.layers:
            _replace_methods(layer, replacements)
    optimizer = getattr(model, "optimizer", None)
    step = one_operation_step(optimizer) if optimizer is not None and optimizer.built else None
    if step:
        replacements.add(optimizer, FULL_STEP if hasattr(optimizer, FULL_STEP) else "apply", step)

    def undo() -> None:
        replacements.undo()
        if getattr(model, "compiled", False):
            model.make_train_function(force=True)  # the step that was traced

    return undo


def _replace_methods(layer: Any, replacements: Replacements) -> None:
    layers, products = backend.keras().layers, _products(backend.cpu_flags())
    if is_replaced(layer, "call"):  # it computes with other processes
        return
    if type(layer) is layers.BatchNormalization and _is_fusible(layer) and agrees("normalisation"):
        replacements.add(layer, "call", _normalization(layer))
    elif type(layer) is layers.Conv2D and products and _gains(layer, products) and agrees("convolution"):
        replacements.add(layer, "convolution_op", _convolution(layer))
    if layer.compute_dtype == "bfloat16" and adds_bias_last(layer) and layer.use_bias and agrees("bias"):
        replacements.add(layer, "call", _with_bias(layer))


def adds_bias_last(layer: Any) -> bool:
    """Whether a layer's bias is added to the last axis of a product, before the activation."""
    layers = backend.keras().layers
    if type(layer) is layers.Dense:
        return setting(layer, "quantization_mode") is None
    return type(layer) is layers.Conv2D and layer.data_format == "channels_last"


Accelerated = Literal["normalisation", "convolution", "bias"]
"""What is replaced in a layer."""


@cache
def agrees(part: Accelerated) -> bool:
    """Whether a replaced layer computes what the installed Keras does, on a small batch; a line if not."""

    def works() -> bool:
        pairs = zip(_small_step(part, replaced=True), _small_step(part, replaced=False), strict=True)
        allowed = 3e-2 if part == "bias" else 1e-4  # in bfloat16, and in float32
        return all(np.abs(ours - theirs).max() <= allowed * np.abs(theirs).max() for ours, theirs in pairs)

    return holds(works, f"training steps of a {part}", "they are those of plain Keras")


def _small_step(part: Accelerated, *, replaced: bool) -> list[np.ndarray]:
    """Outputs, gradients and statistics of one layer in a training step."""
    keras, tf = backend.keras(), backend.tensorflow()
    layer = {
        "normalisation": lambda: keras.layers.BatchNormalization(name="checked"),
        "convolution": lambda: keras.layers.Conv2D(3, (1, 2), 2, "same", kernel_initializer="zeros", name="checked"),
        "bias": lambda: keras.layers.Dense(3, kernel_initializer="zeros", dtype="mixed_bfloat16", name="checked"),
    }[part]()
    inputs = _waves((2, 5, 5, 2))
    layer.build(inputs.shape)
    for weight in layer.trainable_variables:
        weight.assign(
            keras.ops.reshape(
                keras.ops.sin(keras.ops.arange(math.prod(weight.shape), dtype="float32") + 1), weight.shape
            )
        )
    replace = {"normalisation": _normalization, "convolution": _convolution, "bias": _with_bias}[part]
    replacements = Replacements()
    if replaced:
        replacements.add(layer, "convolution_op" if part == "convolution" else "call", replace(layer))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(_waves(outputs.shape) ** 2 * tf.cast(outputs, tf.float32))
    sources = [inputs, *(variable.value for variable in layer.trainable_variables)]
    found = [outputs, *tape.gradient(loss, sources), *layer.non_trainable_variables]
    return [keras.ops.convert_to_numpy(keras.ops.cast(value, "float32")) for value in found]


def _waves(shape: tuple[int, ...]) -> Tensor:
    """Values between -1 and 1 that do not repeat."""
    tf = backend.tensorflow()
    return tf.reshape(tf.sin(tf.range(1, math.prod(shape) + 1, dtype=tf.float32)), shape)


def _products(flags: frozenset[str]) -> Products | None:
    """The products that pay on a processor with these instructions, if any do."""
    if "avx512f" not in flags:
        return FASTER["avx2"]
    return next((FASTER[name] for name in ("amx_bf16", "avx512_bf16") if name in flags), None)


def _is_fusible(layer: Any) -> bool:
    is_plain = setting(layer, "renorm") is False and setting(layer, "synchronized") is False
    return is_plain and layer.built and layer.axis in (-1, 3) and layer.compute_dtype in ("float32", "bfloat16")


def _normalization(layer: Any) -> Callable[..., Tensor]:
    """The ``call`` of a batch normalisation."""
    tf, composed = backend.tensorflow(), layer.call

    def call(inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        if not training or not layer.trainable or mask is not None or len(inputs.shape) != 4:
            return composed(inputs, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=layer.gamma if layer.scale else tf.ones(inputs.shape[-1:]),
            offset=layer.beta if layer.center else tf.zeros(inputs.shape[-1:]),
            mean=[],
            variance=[],
            epsilon=layer.epsilon,
            is_training=True,
        )
        # The operation estimates the variance of the distribution of the values; Keras keeps that of the values.
        number = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        variance *= 1 - 1 / number
        for moving, latest in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + latest * (1.0 - layer.momentum))
        return outputs

    return call


def _gains(layer: Any, products: Products) -> bool:
    is_plain = layer.data_format == "channels_last" and layer.groups == 1 and layer.dilation_rate == (1, 1)
    if not is_plain or layer.compute_dtype != products.dtype:
        return False
    if not graph_is_known() or len(calls_of(layer)) != 1:  # a layer used twice has no size
        return False
    if layer.kernel_size == (1, 1):
        return bool(layer.strides == (1, 1))
    positions, channels = math.prod(layer.output.shape[1:3]), min(layer.kernel.shape[2:])
    if channels < max(products.channels, products.per_position * positions):
        return False
    return math.prod(layer.kernel_size) <= LARGEST_KERNEL and macs(layer) >= products.macs


def _convolution(layer: Any) -> Callable[[Tensor, Any], Tensor]:
    """The ``convolution_op`` of a convolution."""
    tf = backend.tensorflow()
    strides, padding = layer.strides, layer.padding.upper()

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow ships no type information
    def convolve(inputs: Tensor, kernel: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
        def gradients(upstream: Tensor) -> tuple[Tensor, Tensor]:
            of_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs),
                filter=kernel,
                out_backprop=upstream,
                strides=(1, *strides, 1),
                padding=padding,
            )
            return of_inputs, _kernel_gradient(inputs, upstream, kernel.shape, strides, padding)

        return tf.nn.conv2d(inputs, kernel, strides, padding), gradients

    def convolution_op(inputs: Tensor, kernel: Any) -> Tensor:
        return convolve(inputs, tf.convert_to_tensor(kernel))

    return convolution_op


def _with_bias(layer: Any) -> Callable[..., Tensor]:
    """The ``call`` of a convolution or a dense layer."""
    tf, ops = backend.tensorflow(), backend.keras().ops
    multiply = ops.matmul if type(layer) is backend.keras().layers.Dense else layer.convolution_op

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # as above
    def add(products: Tensor, bias: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
        def gradients(upstream: Tensor) -> tuple[Tensor, Tensor]:
            rows = tf.reshape(upstream, (-1, upstream.shape[-1]))
            return upstream, tf.matmul(tf.ones((1, tf.shape(rows)[0]), rows.dtype), rows)[0]

        return tf.nn.bias_add(products, bias), gradients

    def call(inputs: Tensor, training: bool | None = None) -> Tensor:
        return layer.activation(add(multiply(inputs, layer.kernel), tf.convert_to_tensor(layer.bias)))

    return call


def _kernel_gradient(
    inputs: Tensor, upstream: Tensor, shape: tuple[int, ...], strides: tuple[int, int], padding: str
) -> Tensor:
    """The gradient of a kernel of ``shape``, from that of the convolution's outputs.

    Every input that a position of the kernel meets is multiplied by the gradient of what it goes into: the inputs are
    copied once for each position, and one product of matrices has the gradients of all of them.
    """
    tf = backend.tensorflow()
    height, width, *channels = shape
    if (height, width) == (1, 1):
        rows, upstream_rows = (tf.reshape(maps, (-1, maps.shape[-1])) for maps in (inputs, upstream))
        return tf.reshape(tf.matmul(rows, upstream_rows, transpose_a=True), shape)
    # From a kernel's position at the first output to that at the last.
    spans = (_edges(upstream) - 1) * strides + 1
    if padding == "SAME":
        inputs = _padded(inputs, spans - 1 + [height, width])
    windows = [
        (slice(y, y + spans[0], strides[0]), slice(x, x + spans[1], strides[1]))
        for y in range(height)
        for x in range(width)
    ]
    places = _places(inputs)
    met = (np if isinstance(places, np.ndarray) else tf).stack([places[window] for window in windows], axis=-1)
    inputs = tf.reshape(inputs, (-1, _positions(inputs), channels[0]))

    def of_images(images: slice) -> Tensor:
        copies = tf.reshape(tf.gather(inputs[images], met, axis=1), (-1, len(windows) * channels[0]))
        return tf.matmul(copies, tf.reshape(upstream[images], (-1, channels[1])), transpose_a=True)

    positions = _positions(upstream)
    if isinstance(positions, np.integer) and positions <= SMALL_MAP:
        return tf.reshape(of_images(slice(None)), shape)
    at_once = -(-COPIED_AT_ONCE // positions)
    _, gradient = tf.while_loop(
        lambda first, _: first < tf.shape(upstream)[0],
        lambda first, total: (first + at_once, total + tf.cast(of_images(slice(first, first + at_once)), total.dtype)),
        (0, tf.zeros((len(windows) * channels[0], channels[1]))),  # a sum in bfloat16 would lose what is small
        parallel_iterations=1,
    )
    return tf.reshape(tf.cast(gradient, upstream.dtype), shape)


def _places(maps: Tensor) -> Any:
    """The number of each position of maps, in their order."""
    tf = backend.tensorflow()
    edges, number = _edges(maps), _positions(maps)
    if isinstance(number, np.integer):
        return np.arange(number, dtype=np.int32).reshape(edges)
    return tf.reshape(tf.range(number), edges)


def _positions(maps: Tensor) -> Any:
    edges = _edges(maps)
    return edges[0] * edges[1]


def _padded(inputs: Tensor, edges: Any) -> Tensor:
    """Maps with zeros around them, as many on both sides or one more at the end, if they are smaller than ``edges``."""
    tf = backend.tensorflow()
    missing = edges - _edges(inputs)
    missing = np.maximum(missing, 0) if isinstance(missing, np.ndarray) else tf.maximum(missing, 0)
    before, after = missing // 2, missing - missing // 2
    return tf.pad(inputs, [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]])


def _edges(maps: Tensor) -> Any:
    """Height and width; as numbers where they are known, with which a step is traced faster."""
    edges = maps.shape[1:3]
    return np.array(edges) if edges.is_fully_defined() else backend.tensorflow().shape(maps)[1:3]
