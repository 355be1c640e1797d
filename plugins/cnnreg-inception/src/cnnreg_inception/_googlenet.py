"""The layers of GoogLeNet, in the paper's form and with batch normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras

from cnn_registry.blocks import Conv2D_BN, LocalResponseNormalization
from cnn_registry.errors import UsageError

Layer = Callable[..., keras.KerasTensor]

AUX_DROPOUT = 0.7

BLOCKS = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}
"""Table 1: numbers of channels of 1x1, (3x3 reduce, 3x3), (5x5 reduce, 5x5) and pool projection."""

AUX_BLOCKS = {"aux1": "4a", "aux2": "4d"}
"""The block that each auxiliary head follows."""


@dataclass(frozen=True)
class Form:
    """The parts in which the two forms differ.

    Attributes:
        conv: ``(x, filters, kernel, stride=1, name=...)``, a convolution and its activation.
        pool: ``(x, size, name=...)``, a max pooling with stride 2.
        normalise: ``(x, name=...)``, the stem's layer after the first pooling and the third convolution.
        aux_pool: ``(x, name=...)``, the average pooling of an auxiliary head.
        last_pool: size of the last max pooling.
    """

    conv: Layer
    pool: Layer
    normalise: Layer
    aux_pool: Layer
    last_pool: int


def _plain_conv(x: keras.KerasTensor, filters: int, kernel: int, stride: int = 1, *, name: str) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _conv_bn(x: keras.KerasTensor, filters: int, kernel: int, stride: int = 1, *, name: str) -> keras.KerasTensor:
    return Conv2D_BN(
        x,
        filters,
        kernel,
        "same" if stride == 1 else kernel // 2,  # torchvision pads both sides equally
        stride,
        order="bn_relu",
        use_bias=False,
        kernel_initializer="he_normal",
        momentum=0.9,
        epsilon=1e-3,
        name=name,
    )


def _same_pool(x: keras.KerasTensor, size: int, *, name: str) -> keras.KerasTensor:
    return keras.layers.MaxPooling2D(size, strides=2, padding="same", name=name)(x)


def _ceil_pool(x: keras.KerasTensor, size: int, *, name: str) -> keras.KerasTensor:
    """Pool as torchvision does in ceil mode: the end is padded where the last window would pass it, the start never is.

    The maps come from a ReLU, so a zero from the padding never changes the maximum of a window.
    """
    end = tuple((0, (n - size) % 2) for n in x.shape[1:3])
    x = keras.layers.ZeroPadding2D(end, name=f"{name}_pad")(x)
    return keras.layers.MaxPooling2D(size, strides=2, name=name)(x)


def _paper_aux_pool(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Average over 5x5 with stride 3, or over the whole height or width of maps smaller than 5."""
    height, width = (min(5, size) for size in x.shape[1:3])
    return keras.layers.AveragePooling2D((height, width), strides=3, name=name)(x)


PAPER = Form(
    conv=_plain_conv,
    pool=_same_pool,
    normalise=lambda x, *, name: LocalResponseNormalization(name=name)(x),
    aux_pool=_paper_aux_pool,
    last_pool=3,
)
BATCH_NORM = Form(
    conv=_conv_bn,
    pool=_ceil_pool,
    normalise=lambda x, *, name: x,
    aux_pool=lambda x, *, name: keras.layers.AdaptiveAveragePooling2D(4, name=name)(x),
    last_pool=2,
)


def build(
    form: Form,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    large_kernel: int,
    aux_heads: bool,
    dropout: float,
    classifier_activation: str | None,
    name: str,
) -> keras.Model:
    """Build the network of Szegedy et al. (2014), table 1 and section 5."""
    if large_kernel not in (3, 5):
        raise UsageError(f"large_kernel must be 5 or 3; got {large_kernel!r}.")

    def blocks(x: keras.KerasTensor, names: str) -> keras.KerasTensor:
        for block in names.split():
            x = maps[block] = _inception(form, x, block, large_kernel)
        return x

    maps: dict[str, keras.KerasTensor] = {}
    inputs = keras.Input(input_shape)
    x = form.conv(inputs, 64, 7, 2, name="conv1")
    x = form.pool(x, 3, name="pool1")
    x = form.normalise(x, name="pool1_lrn")
    x = form.conv(x, 64, 1, name="conv2_reduce")
    x = form.conv(x, 192, 3, name="conv2")
    x = form.normalise(x, name="conv2_lrn")
    x = form.pool(x, 3, name="pool2")
    x = blocks(x, "3a 3b")
    x = form.pool(x, 3, name="pool3")
    x = blocks(x, "4a 4b 4c 4d 4e")
    x = form.pool(x, form.last_pool, name="pool4")
    x = blocks(x, "5a 5b")

    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions")(x)
    if not aux_heads:
        return keras.Model(inputs, outputs, name=name)
    heads = {
        head: _aux_head(form, maps[block], num_classes, classifier_activation, head)
        for head, block in AUX_BLOCKS.items()
    }
    return keras.Model(inputs, {"predictions": outputs, **heads}, name=name)


def _inception(form: Form, x: keras.KerasTensor, block: str, large_kernel: int) -> keras.KerasTensor:
    """Figure 2b: four parallel branches."""
    channels_1x1, (reduce_3x3, channels_3x3), (reduce_5x5, channels_5x5), projection = BLOCKS[block]
    name = f"inception_{block}"
    small = form.conv(x, reduce_3x3, 1, name=f"{name}_3x3_reduce")
    large = form.conv(x, reduce_5x5, 1, name=f"{name}_5x5_reduce")
    pooled = keras.layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    branches = [
        form.conv(x, channels_1x1, 1, name=f"{name}_1x1"),
        form.conv(small, channels_3x3, 3, name=f"{name}_3x3"),
        form.conv(large, channels_5x5, large_kernel, name=f"{name}_5x5"),
        form.conv(pooled, projection, 1, name=f"{name}_pool_proj"),
    ]
    return keras.layers.concatenate(branches, name=f"{name}_concat")


def _aux_head(
    form: Form, x: keras.KerasTensor, num_classes: int, classifier_activation: str | None, name: str
) -> keras.KerasTensor:
    """Section 5, the side network; its output layer has the head's name."""
    x = form.aux_pool(x, name=f"{name}_pool")
    x = form.conv(x, 128, 1, name=f"{name}_conv")
    x = keras.layers.Flatten(name=f"{name}_flatten")(x)
    x = keras.layers.Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}_fc")(x)
    x = keras.layers.Dropout(AUX_DROPOUT, name=f"{name}_dropout")(x)
    return keras.layers.Dense(num_classes, activation=classifier_activation, name=name)(x)
