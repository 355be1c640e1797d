"""Keras' layers computed by faster operations of TensorFlow in training steps.

The layers stay Keras' own: what they are, what is saved of them and what they compute do not change, but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnn_registry import backend

from .graph import macs

if TYPE_CHECKING:
    import keras
    from tensorflow import Tensor

LEAST_MACS = 30_000_000
"""Of a 3x3 convolution for one image: below, its kernel's gradient gains less than its operations cost to trace."""

LEAST_CHANNELS = {"float32": 16, "bfloat16": 192}
"""Of a convolution larger than 1x1: products of smaller matrices are slower than oneDNN's gradient."""

LARGEST_KERNEL = 9
"""Weights for a pair of channels: for larger kernels oneDNN's gradient is as fast."""


def set_precision(model: keras.Model, precision: str, share: float = 1.0) -> None:
    """Have the layers of a functional or sequential ``model`` compute in another type; their weights stay float32.

    The layers that make the outputs stay as they are, since a loss needs probabilities exactly, and so do those that
    may have reasons of their own: layers that are not Keras', and those that were given a type. So do convolutions
    whose kernel is larger than their maps: in TensorFlow 2.21 on a CPU, the bfloat16 gradient of the kernel's places
    that meet no value is not zero but whatever was in memory. And so do layers with a bias that `accelerate` does not
    know: on a CPU, TensorFlow adds up the gradient of a bias in bfloat16, and a sum of ones ends at 256.

    Args:
        model: built in float32.
        precision: ``"bfloat16"``, or ``"float32"`` to undo it.
        share: of the edge length that the model was built for, what the smallest images have.
    """
    layers, policies = backend.keras().layers, ("float32", "mixed_bfloat16")
    before, after = policies if precision == "bfloat16" else policies[::-1]
    ends = {id(tensor._keras_history.operation) for tensor in (*model.inputs, *model.outputs)}
    for layer in model.layers:
        is_keras = type(layer) is getattr(layers, type(layer).__name__, None)
        if not is_keras or layer.dtype_policy.name != before or id(layer) in ends:
            continue
        if not _exceeds_maps(layer, share) and (_adds_bias_last(layer) or not getattr(layer, "use_bias", False)):
            layer.dtype_policy = after


def _exceeds_maps(layer: Any, share: float) -> bool:
    """Whether a convolution's kernel is larger than its maps; of maps without a size, whether it is larger than 1x1."""
    kernel = getattr(layer, "kernel_size", ())
    if not kernel or max(kernel) == 1:
        return False
    return any(
        edge is None or int(edge * share) < extent
        for node in layer._inbound_nodes
        for tensor in node.input_tensors
        for edge, extent in zip(tensor.shape[-1 - len(kernel) : -1], kernel, strict=True)
    )


def _adds_bias_last(layer: Any) -> bool:
    """Whether a layer's bias is added to the last axis of a product, before the activation."""
    layers = backend.keras().layers
    if type(layer) is layers.Dense:
        return layer.quantization_mode is None
    return type(layer) is layers.Conv2D and layer.data_format == "channels_last"


def accelerate(model: keras.Model) -> None:
    """Replace what the layers of a functional or sequential ``model`` compute in training steps.

    - A batch normalisation is one operation, and one for its gradients. Keras composes each of a dozen, and all of
      them pass through the whole map.
    - The gradient of a convolution's kernel is a product of matrices for each of the kernel's places. oneDNN's own is
      slower on processors with AVX2, most so where maps are large; and in bfloat16 with AVX-512, most so where they are
      small. Elsewhere it is not, and stays.
    - In bfloat16, the gradient of a bias is a product of a matrix with ones, whose sums are in float32. TensorFlow's is
      summed in bfloat16.

    Layers of a subclass, and those with settings that these operations do not know, stay as they are.
    """
    layers, products = backend.keras().layers, _types_with_products(backend.cpu_flags())
    for layer in model.layers:
        if type(layer) is layers.BatchNormalization and _is_fusible(layer):
            layer.call = _normalization(layer)
        elif type(layer) is layers.Conv2D and layer.compute_dtype in products and _gains(layer):
            layer.convolution_op = _convolution(layer)
        if layer.compute_dtype == "bfloat16" and _adds_bias_last(layer) and layer.use_bias:
            layer.call = _with_bias(layer)


def _types_with_products(flags: frozenset[str]) -> set[str]:
    """The types in which products of matrices beat oneDNN's gradients of kernels."""
    if "avx512f" not in flags:
        return {"float32"}
    return {"bfloat16"} if "avx512_bf16" in flags and "amx_bf16" not in flags else set()


def _is_fusible(layer: Any) -> bool:
    over_maps = layer.built and layer.input_spec.ndim == 4 and layer.axis in (-1, 3)
    return over_maps and not layer.renorm and not layer.synchronized and layer.compute_dtype in ("float32", "bfloat16")


def _normalization(layer: Any) -> Callable[..., Tensor]:
    """The ``call`` of a batch normalisation."""
    tf, composed = backend.tensorflow(), layer.call

    def call(inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        if not training or not layer.trainable or mask is not None:
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
        # The operation estimates the variance of what the values are drawn from; Keras keeps that of the values.
        number = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        variance *= 1 - 1 / number
        for moving, latest in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + latest * (1.0 - layer.momentum))
        return outputs

    return call


def _gains(layer: Any) -> bool:
    if layer.data_format != "channels_last" or layer.groups != 1 or layer.dilation_rate != (1, 1):
        return False
    if len(layer._inbound_nodes) != 1:  # a layer used twice has no size
        return False
    if layer.kernel_size == (1, 1):
        return bool(layer.strides == (1, 1))
    wide = min(layer.kernel.shape[2:]) >= LEAST_CHANNELS[layer.compute_dtype]
    return wide and math.prod(layer.kernel_size) <= LARGEST_KERNEL and macs(layer) >= LEAST_MACS


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
    multiply = layer.convolution_op if hasattr(layer, "convolution_op") else ops.matmul

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

    At each place of the kernel, every input that it meets is multiplied with the gradient of what it goes into.
    """
    tf = backend.tensorflow()
    height, width, *channels = shape
    upstream_rows = tf.reshape(upstream, (-1, channels[1]))
    if (height, width) == (1, 1):
        return tf.reshape(tf.matmul(tf.reshape(inputs, (-1, channels[0])), upstream_rows, transpose_a=True), shape)
    # From a kernel's place at the first output to that at the last.
    spans = (tf.shape(upstream)[1:3] - 1) * strides + 1
    if padding == "SAME":
        missing = tf.maximum(spans - 1 + tf.constant([height, width]) - tf.shape(inputs)[1:3], 0)
        around = tf.stack([missing // 2, missing - missing // 2], axis=1)
        inputs = tf.pad(inputs, tf.pad(around, [[1, 1], [0, 0]]))
    products: list[Tensor] = []
    for y in range(height):
        for x in range(width):
            with tf.control_dependencies(products[-1:]):  # one after the other, or all copies are in memory at once
                met = inputs[:, y : y + spans[0] : strides[0], x : x + spans[1] : strides[1]]
            products.append(tf.matmul(tf.reshape(met, (-1, channels[0])), upstream_rows, transpose_a=True))
    return tf.reshape(tf.stack(products), shape)
