"""The three Inception blocks of BN-Inception (Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, figure 5).

Each block concatenates the channels of parallel branches. The two 3x3 convolutions of the *double* branch replace one
5x5 convolution, and a 1x1 convolution *reduces* the channels before a 3x3 one. In a block named ``b`` the layers are
the convolutions ``b_1x1``, ``b_3x3_reduce``, ``b_3x3``, ``b_double3x3_reduce``, ``b_double3x3_1``, ``b_double3x3_2``
and ``b_pool_proj``, each followed by the layers of `Conv2D_BN`, the pooling ``b_pool``, and ``b_concat``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import keras

from cnn_registry.errors import UsageError

from .conv import Conv2D_BN, ConvOptions, channel_axis, layer_name

Branches = Sequence[Sequence[int]]
"""Numbers of channels: a sequence per branch with a number per convolution; the two of a double branch share one."""


def InceptionBlock_1(  # noqa: N802  (a layer to those who call it, and a fixed public name)
    inputs: keras.KerasTensor, channel_for_branch: Branches, *, name: str | None = None, **options: Unpack[ConvOptions]
) -> keras.KerasTensor:
    """Four branches that keep height and width; the last one has average pooling.

    Args:
        inputs: ``(batch, height, width, channels)``.
        channel_for_branch: ``[(1x1,), (3x3 reduce, 3x3), (double 3x3 reduce, double 3x3), (pool projection,)]``.
        name: prefix of the layers' names; default: Keras numbers them.
        **options: keyword options of `Conv2D_BN`, for every convolution of the block.

    Returns:
        ``(batch, height, width, 1x1 + 3x3 + double 3x3 + pool projection)``.

    Raises:
        UsageError: ``channel_for_branch`` has another form, or ``order`` is unknown.
    """
    _check("InceptionBlock_1", channel_for_branch, _FOUR_BRANCHES)
    return _four_branches(inputs, channel_for_branch, keras.layers.AveragePooling2D, name, options)


def InceptionBlock_2(  # noqa: N802  (as above)
    inputs: keras.KerasTensor, channel_for_branch: Branches, *, name: str | None = None, **options: Unpack[ConvOptions]
) -> keras.KerasTensor:
    """Three branches that halve height and width; the last one is a max pooling, which keeps its channels.

    Args:
        inputs: ``(batch, height, width, channels)``.
        channel_for_branch: ``[(3x3 reduce, 3x3), (double 3x3 reduce, double 3x3)]``.
        name: prefix of the layers' names; default: Keras numbers them.
        **options: keyword options of `Conv2D_BN`, for every convolution of the block.

    Returns:
        ``(batch, ceil(height / 2), ceil(width / 2), 3x3 + double 3x3 + channels)``.

    Raises:
        UsageError: ``channel_for_branch`` has another form, or ``order`` is unknown.
    """
    _check("InceptionBlock_2", channel_for_branch, _TWO_BRANCHES)
    pooled = keras.layers.MaxPooling2D(3, strides=2, padding="same", name=layer_name(name, "pool"))(inputs)
    branches = [*_branches_3x3(inputs, channel_for_branch, 2, name, options), pooled]
    return keras.layers.concatenate(branches, axis=channel_axis(), name=layer_name(name, "concat"))


def InceptionBlock_3(  # noqa: N802  (as above)
    inputs: keras.KerasTensor, channel_for_branch: Branches, *, name: str | None = None, **options: Unpack[ConvOptions]
) -> keras.KerasTensor:
    """As `InceptionBlock_1`, but with max pooling in the last branch.

    Args:
        inputs: ``(batch, height, width, channels)``.
        channel_for_branch: ``[(1x1,), (3x3 reduce, 3x3), (double 3x3 reduce, double 3x3), (pool projection,)]``.
        name: prefix of the layers' names; default: Keras numbers them.
        **options: keyword options of `Conv2D_BN`, for every convolution of the block.

    Returns:
        ``(batch, height, width, 1x1 + 3x3 + double 3x3 + pool projection)``.

    Raises:
        UsageError: ``channel_for_branch`` has another form, or ``order`` is unknown.
    """
    _check("InceptionBlock_3", channel_for_branch, _FOUR_BRANCHES)
    return _four_branches(inputs, channel_for_branch, keras.layers.MaxPooling2D, name, options)


_TWO_BRANCHES = (("3x3 reduce", "3x3"), ("double 3x3 reduce", "double 3x3"))
_FOUR_BRANCHES = (("1x1",), *_TWO_BRANCHES, ("pool projection",))


def _check(block: str, channel_for_branch: Branches, form: Sequence[Sequence[str]]) -> None:
    lengths = [len(branch) if isinstance(branch, Sequence) else 0 for branch in channel_for_branch]
    if lengths != [len(branch) for branch in form]:
        expected = ", ".join(f"({', '.join(branch)})" for branch in form)
        raise UsageError(f"{block} expects numbers of channels as [{expected}]; got {channel_for_branch!r}.")


def _four_branches(
    inputs: keras.KerasTensor,
    channel_for_branch: Branches,
    pooling: type[keras.layers.Layer],
    name: str | None,
    options: ConvOptions,
) -> keras.KerasTensor:
    (channels_1x1,), *channels_3x3, (channels_projection,) = channel_for_branch
    pooled = pooling(3, strides=1, padding="same", name=layer_name(name, "pool"))(inputs)
    branches = [
        Conv2D_BN(inputs, channels_1x1, 1, "same", 1, name=layer_name(name, "1x1"), **options),
        *_branches_3x3(inputs, channels_3x3, 1, name, options),
        Conv2D_BN(pooled, channels_projection, 1, "same", 1, name=layer_name(name, "pool_proj"), **options),
    ]
    return keras.layers.concatenate(branches, axis=channel_axis(), name=layer_name(name, "concat"))


def _branches_3x3(
    inputs: keras.KerasTensor, channels: Branches, stride: int, name: str | None, options: ConvOptions
) -> list[keras.KerasTensor]:
    """The 3x3 and the double 3x3 branch. The last convolution of each has the stride."""

    def conv(x: keras.KerasTensor, filters: int, kernel: int, stride: int, part: str) -> keras.KerasTensor:
        return Conv2D_BN(x, filters, kernel, "same", stride, name=layer_name(name, part), **options)

    (reduce, filters), (double_reduce, double_filters) = channels
    single = conv(inputs, reduce, 1, 1, "3x3_reduce")
    single = conv(single, filters, 3, stride, "3x3")
    double = conv(inputs, double_reduce, 1, 1, "double3x3_reduce")
    double = conv(double, double_filters, 3, 1, "double3x3_1")
    double = conv(double, double_filters, 3, stride, "double3x3_2")
    return [single, double]
