"""The residual blocks of He et al.: the sum of a branch of convolutions and a shortcut.

The layers of a block named ``b`` are the convolutions ``b_conv1``, ``b_conv2`` and, in a bottleneck, ``b_conv3``, the
1x1 convolution ``b_shortcut`` where the block changes the number of channels or the size, and the sum ``b_add``.
`Conv2D_BN` names the other layers of each convolution. Where a stride halves the size, the 3x3 convolution is padded by
one zero on all sides, as in the authors' networks.
"""

from __future__ import annotations

from typing import Literal, Unpack, get_args

import keras

from cnn_registry.errors import UsageError

from .conv import Conv2D_BN, ConvOptions, channel_axis, layer_name
from .initializers import Initializer, own_initializer

StrideIn = Literal["3x3", "1x1"]
"""The convolution of a bottleneck's branch that has the stride: the middle one or the first."""


def BasicBlock(  # noqa: N802  (a layer to those who call it)
    inputs: keras.KerasTensor,
    filters: int,
    stride: int = 1,
    *,
    zero_init: bool = False,
    name: str | None = None,
    **options: Unpack[ConvOptions],
) -> keras.KerasTensor:
    """Two 3x3 convolutions and a shortcut, activated after the sum.

    He et al. 2015 (https://arxiv.org/abs/1512.03385), figure 5 left, with shortcut B of section 4.1. Their networks
    have the options ``order="bn_relu", use_bias=False``.

    Args:
        inputs: ``(batch, height, width, channels)``.
        filters: number of output channels.
        stride: of the first convolution and of the shortcut.
        zero_init: whether the branch's last scale (gamma) starts at zero, so that the block starts as its shortcut:
            Goyal et al. 2017 (https://arxiv.org/abs/1706.02677), section 5.1.
        name: prefix of the layers' names; the last is ``<name>_out``. Default: Keras numbers them.
        **options: keyword options of `Conv2D_BN`, for every convolution of the block.

    Returns:
        ``(batch, ceil(height / stride), ceil(width / stride), filters)``.

    Raises:
        UsageError: ``order`` is unknown.
    """
    x = Conv2D_BN(inputs, filters, 3, _pad(stride), stride, name=layer_name(name, "conv1"), **options)
    x = _last_conv(x, filters, 3, zero_init, layer_name(name, "conv2"), options)
    return _sum(x, _shortcut(inputs, filters, stride, name, options), name, options)


def BottleneckBlock(  # noqa: N802  (as above)
    inputs: keras.KerasTensor,
    filters: int,
    stride: int = 1,
    *,
    stride_in: StrideIn = "3x3",
    zero_init: bool = False,
    name: str | None = None,
    **options: Unpack[ConvOptions],
) -> keras.KerasTensor:
    """Convolutions 1x1, 3x3 and 1x1 and a shortcut, activated after the sum.

    He et al. 2015 (https://arxiv.org/abs/1512.03385), figure 5 right. Their networks have the options
    ``order="bn_relu", use_bias=False``.

    Args:
        inputs: ``(batch, height, width, channels)``.
        filters: number of channels of the first two convolutions; the block's output has four times as many.
        stride: of the convolution that ``stride_in`` names and of the shortcut.
        stride_in: ``"1x1"`` for the first convolution, as in the paper and in Keras' networks, or ``"3x3"``, as in
            PyTorch's ("version 1.5"), which skips no pixel.
        zero_init: as in `BasicBlock`.
        name: prefix of the layers' names; the last is ``<name>_out``. Default: Keras numbers them.
        **options: keyword options of `Conv2D_BN`, for every convolution of the block.

    Returns:
        ``(batch, ceil(height / stride), ceil(width / stride), 4 * filters)``.

    Raises:
        UsageError: ``stride_in`` or ``order`` has another value.
    """
    if stride_in not in get_args(StrideIn):
        raise UsageError(f"stride_in must be '3x3' or '1x1'; got {stride_in!r}.")
    first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
    x = Conv2D_BN(inputs, filters, 1, "same", first, name=layer_name(name, "conv1"), **options)
    x = Conv2D_BN(x, filters, 3, _pad(second), second, name=layer_name(name, "conv2"), **options)
    x = _last_conv(x, 4 * filters, 1, zero_init, layer_name(name, "conv3"), options)
    return _sum(x, _shortcut(inputs, 4 * filters, stride, name, options), name, options)


def PreactBottleneckBlock(  # noqa: N802  (as above)
    inputs: keras.KerasTensor,
    filters: int,
    stride: int = 1,
    *,
    zero_init: bool = False,
    kernel_initializer: Initializer = "he_normal",
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    name: str | None = None,
) -> keras.KerasTensor:
    """A bottleneck that normalises and activates before each convolution, and not after the sum.

    He et al. 2016 (https://arxiv.org/abs/1603.05027), figure 4e, in the form of Keras' networks: the convolutions
    that no normalisation follows (the third and the shortcut's) have a bias, and where the number of channels stays the
    same, the shortcut at a stride of 2 is every second pixel. The shortcut's convolution is applied to the activated
    inputs; any other shortcut passes the inputs on.

    Args:
        inputs: ``(batch, height, width, channels)``.
        filters: number of channels of the first two convolutions; the block's output has four times as many.
        stride: of the 3x3 convolution and of the shortcut.
        zero_init: whether the branch's last kernel starts at zero, so that the block starts as its shortcut, as in
            Zhang et al. 2019 (https://arxiv.org/abs/1901.09321), section 3. Otherwise the sums double from block to
            block, because nothing normalises them.
        kernel_initializer: a Keras initializer for the kernels.
        momentum: share of the moving mean and variance that each training step keeps.
        epsilon: added to the variance before its square root is taken.
        name: prefix of the layers' names; the first normalisation and activation are ``<name>_preact_bn`` and
            ``<name>_preact_relu``, the last layer is ``<name>_add``. Default: Keras numbers them.

    Returns:
        ``(batch, ceil(height / stride), ceil(width / stride), 4 * filters)``.
    """
    options: ConvOptions = {
        "order": "bn_relu",
        "use_bias": False,
        "kernel_initializer": kernel_initializer,
        "momentum": momentum,
        "epsilon": epsilon,
    }

    def conv1x1(x: keras.KerasTensor, stride: int, part: str, initializer: Initializer) -> keras.KerasTensor:
        return keras.layers.Conv2D(
            4 * filters,
            1,
            strides=stride,
            kernel_initializer=own_initializer(initializer),
            name=layer_name(name, part),
        )(x)

    preact = keras.layers.BatchNormalization(
        axis=channel_axis(), momentum=momentum, epsilon=epsilon, name=layer_name(name, "preact_bn")
    )
    activated = keras.layers.Activation("relu", name=layer_name(name, "preact_relu"))(preact(inputs))
    if inputs.shape[channel_axis()] != 4 * filters:
        shortcut = conv1x1(activated, stride, "shortcut", kernel_initializer)
    elif stride > 1:
        shortcut = keras.layers.MaxPooling2D(1, strides=stride, name=layer_name(name, "shortcut"))(inputs)
    else:
        shortcut = inputs
    x = Conv2D_BN(activated, filters, 1, "same", 1, name=layer_name(name, "conv1"), **options)
    x = Conv2D_BN(x, filters, 3, _pad(stride), stride, name=layer_name(name, "conv2"), **options)
    x = conv1x1(x, 1, "conv3", "zeros" if zero_init else kernel_initializer)
    return keras.layers.Add(name=layer_name(name, "add"))([shortcut, x])


def _pad(stride: int) -> str | int:
    """The padding of a 3x3 convolution. At a stride of 1, ``"same"`` is one zero on each side without another layer."""
    return "same" if stride == 1 else 1


def _last_conv(
    x: keras.KerasTensor, filters: int, kernel: int, zero_init: bool, name: str | None, options: ConvOptions
) -> keras.KerasTensor:
    """The last convolution of a branch: its activation comes after the sum."""
    gamma = "zeros" if zero_init else "ones"
    plain: ConvOptions = {**options, "activation": None}
    return Conv2D_BN(x, filters, kernel, "same", 1, gamma_initializer=gamma, name=name, **plain)


def _shortcut(
    inputs: keras.KerasTensor, filters: int, stride: int, name: str | None, options: ConvOptions
) -> keras.KerasTensor:
    """The inputs, or a 1x1 convolution of them where the block's output has another shape."""
    if stride == 1 and inputs.shape[channel_axis()] == filters:
        return inputs
    plain: ConvOptions = {**options, "activation": None}
    return Conv2D_BN(inputs, filters, 1, "same", stride, name=layer_name(name, "shortcut"), **plain)


def _sum(
    x: keras.KerasTensor, shortcut: keras.KerasTensor, name: str | None, options: ConvOptions
) -> keras.KerasTensor:
    total = keras.layers.Add(name=layer_name(name, "add"))([shortcut, x])
    return keras.layers.Activation(options.get("activation", "relu"), name=layer_name(name, "out"))(total)
