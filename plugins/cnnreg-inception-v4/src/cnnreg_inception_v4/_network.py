"""The layers of the three networks: tables of channels, the blocks that they describe, and the networks.

The figures are those of Szegedy et al. (2016), https://arxiv.org/abs/1602.07261. The layers of a block named ``b`` are
the convolutions ``b_branch1_conv1``, ``b_branch1_conv2``, ``b_branch2_conv1``, ... (each with ``_bn`` and ``_relu``),
then ``b_pool``, ``b_pool_proj`` and ``b_concat``. In a residual block, ``b_up``, ``b_scale``, ``b_add`` and
``b_relu`` follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras

from cnn_registry.blocks import Conv2D_BN, ConvOptions
from cnn_registry.errors import UsageError

Branch = Sequence[tuple[int, int | tuple[int, int]]]
"""Convolutions one after another: number of filters, and the kernel's height and width or one number for both."""

Branches = Sequence[Branch]
"""The parallel branches of a block."""

INCEPTION_A: Branches = (  # figure 4
    [(96, 1)],
    [(64, 1), (96, 3)],
    [(64, 1), (96, 3), (96, 3)],
)
INCEPTION_B: Branches = (  # figure 5
    [(384, 1)],
    [(192, 1), (224, (1, 7)), (256, (7, 1))],
    [(192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))],
)
REDUCTION_A: Branches = ([(384, 3)], [(192, 1), (224, 3), (256, 3)])  # figure 7, table 1
REDUCTION_B: Branches = ([(192, 1), (192, 3)], [(256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3)])  # figure 8

RESNET_V1_A: Branches = ([(32, 1)], [(32, 1), (32, 3)], [(32, 1), (32, 3), (32, 3)])  # figure 10
RESNET_V1_B: Branches = ([(128, 1)], [(128, 1), (128, (1, 7)), (128, (7, 1))])  # figure 11
RESNET_V1_C: Branches = ([(192, 1)], [(192, 1), (192, (1, 3)), (192, (3, 1))])  # figure 13
RESNET_V1_REDUCTION_A: Branches = ([(384, 3)], [(192, 1), (192, 3), (256, 3)])  # figure 7, table 1
RESNET_V1_REDUCTION_B: Branches = (  # figure 12
    [(256, 1), (384, 3)],
    [(256, 1), (256, 3)],
    [(256, 1), (256, 3), (256, 3)],
)

RESNET_V2_STEM: Branches = ([(96, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)])  # only in the authors' code
RESNET_V2_A: Branches = ([(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)])  # figure 16
RESNET_V2_B: Branches = ([(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))])  # figure 17
RESNET_V2_C: Branches = ([(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))])  # figure 19
RESNET_V2_REDUCTION_A: Branches = (
    [(384, 3)],
    [(256, 1), (256, 3), (384, 3)],
)  # figure 7; table 1 has k = l = 256, m = n = 384
RESNET_V2_REDUCTION_B: Branches = (  # figure 18
    [(256, 1), (384, 3)],
    [(256, 1), (288, 3)],
    [(256, 1), (288, 3), (320, 3)],
)


def inception_v4(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    scale: bool,
    dropout: float,
    classifier_activation: str | None,
) -> keras.Model:
    """Build the network of figure 9."""
    # Without shortcuts, gradients grow from layer to layer: with zeros, their norm at 75 pixels starts at 20000.
    options: ConvOptions = {**_conv_options(scale), "beta_initializer": "ones"}
    inputs = keras.Input(input_shape)
    x = _inception_stem(inputs, options)
    for number in range(1, 5):
        x = _inception(x, INCEPTION_A, 96, f"inception_a{number}", options)
    x = _reduction(x, REDUCTION_A, "reduction_a", options)
    for number in range(1, 8):
        x = _inception(x, INCEPTION_B, 128, f"inception_b{number}", options)
    x = _reduction(x, REDUCTION_B, "reduction_b", options)
    for number in range(1, 4):
        x = _inception_c(x, f"inception_c{number}", options)
    outputs = _classifier(x, num_classes, dropout, classifier_activation)
    return keras.Model(inputs, outputs, name="inception_v4")


def inception_resnet_v1(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    scale: bool,
    residual_scale: Sequence[float],
    dropout: float,
    classifier_activation: str | None,
) -> keras.Model:
    """Build the network of figure 15 with the stem of figure 14."""
    options = _conv_options(scale)
    scale_a, scale_b, scale_c = _checked(residual_scale)
    inputs = keras.Input(input_shape)
    x = _resnet_stem(inputs, options)
    x = _conv(x, 256, 3, "stem_conv6", options, stride=2, padding="valid")
    for number in range(1, 6):
        x = _residual(x, RESNET_V1_A, scale_a, f"inception_resnet_a{number}", options)
    x = _reduction(x, RESNET_V1_REDUCTION_A, "reduction_a", options)
    for number in range(1, 11):
        x = _residual(x, RESNET_V1_B, scale_b, f"inception_resnet_b{number}", options)
    x = _reduction(x, RESNET_V1_REDUCTION_B, "reduction_b", options)
    for number in range(1, 6):
        x = _residual(x, RESNET_V1_C, scale_c, f"inception_resnet_c{number}", options)
    outputs = _classifier(x, num_classes, dropout, classifier_activation)
    return keras.Model(inputs, outputs, name="inception_resnet_v1")


def inception_resnet_v2(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    scale: bool,
    residual_scale: Sequence[float],
    dropout: float,
    classifier_activation: str | None,
) -> keras.Model:
    """Build the network of figure 15 as in the authors' code: another stem, twice the blocks, a last convolution."""
    options = _conv_options(scale)
    scale_a, scale_b, scale_c = _checked(residual_scale)
    inputs = keras.Input(input_shape)
    x = _resnet_stem(inputs, options)
    x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool2")(x)
    x = _inception(x, RESNET_V2_STEM, 64, "stem_inception", options)
    for number in range(1, 11):
        x = _residual(x, RESNET_V2_A, scale_a, f"inception_resnet_a{number}", options)
    x = _reduction(x, RESNET_V2_REDUCTION_A, "reduction_a", options)
    for number in range(1, 21):
        x = _residual(x, RESNET_V2_B, scale_b, f"inception_resnet_b{number}", options)
    x = _reduction(x, RESNET_V2_REDUCTION_B, "reduction_b", options)
    for number in range(1, 10):
        x = _residual(x, RESNET_V2_C, scale_c, f"inception_resnet_c{number}", options)
    x = _residual(x, RESNET_V2_C, 1.0, "inception_resnet_c10", options, activate=False)
    x = _conv(x, 1536, 1, "final_conv", options)
    outputs = _classifier(x, num_classes, dropout, classifier_activation)
    return keras.Model(inputs, outputs, name="inception_resnet_v2")


def _checked(residual_scale: Sequence[float]) -> Sequence[float]:
    if not isinstance(residual_scale, Sequence) or len(residual_scale) != 3:
        raise UsageError(
            f"residual_scale must be three numbers, one each for the blocks A, B and C; got {residual_scale!r}."
        )
    return residual_scale


def _conv_options(scale: bool) -> ConvOptions:
    # With Keras' momentum of 0.99 the moving statistics lag behind in the few hundred steps of a small dataset.
    return {
        "order": "bn_relu",
        "use_bias": False,
        "kernel_initializer": "he_normal",
        "momentum": 0.9,
        "epsilon": 1e-3,
        "scale": scale,
    }


def _inception_stem(x: keras.KerasTensor, options: ConvOptions) -> keras.KerasTensor:
    """Figure 3; it reduces the size to an eighth and gives 384 channels."""
    x = _conv(x, 32, 3, "stem_conv1", options, stride=2, padding="valid")
    x = _conv(x, 32, 3, "stem_conv2", options, padding="valid")
    x = _conv(x, 64, 3, "stem_conv3", options)
    x = keras.layers.concatenate(
        [
            keras.layers.MaxPooling2D(3, strides=2, name="stem_pool1")(x),
            _conv(x, 96, 3, "stem_conv4", options, stride=2, padding="valid"),
        ],
        name="stem_concat1",
    )
    single = _row(x, [(64, 1)], "stem_branch1", options)
    double = _row(x, [(64, 1), (64, (1, 7)), (64, (7, 1))], "stem_branch2", options)
    x = keras.layers.concatenate(
        [
            _conv(single, 96, 3, "stem_branch1_conv2", options, padding="valid"),
            _conv(double, 96, 3, "stem_branch2_conv4", options, padding="valid"),
        ],
        name="stem_concat2",
    )
    return keras.layers.concatenate(
        [
            _conv(x, 192, 3, "stem_conv5", options, stride=2, padding="valid"),
            keras.layers.MaxPooling2D(3, strides=2, name="stem_pool2")(x),
        ],
        name="stem_concat3",
    )


def _resnet_stem(x: keras.KerasTensor, options: ConvOptions) -> keras.KerasTensor:
    """Figure 14 without its last convolution; it reduces the size to a quarter and gives 192 channels."""
    x = _conv(x, 32, 3, "stem_conv1", options, stride=2, padding="valid")
    x = _conv(x, 32, 3, "stem_conv2", options, padding="valid")
    x = _conv(x, 64, 3, "stem_conv3", options)
    x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool1")(x)
    x = _conv(x, 80, 1, "stem_conv4", options)
    return _conv(x, 192, 3, "stem_conv5", options, padding="valid")


def _inception(
    x: keras.KerasTensor, branches: Branches, pool_filters: int, name: str, options: ConvOptions
) -> keras.KerasTensor:
    """Figures 4 and 5: ``branches`` and an average pooling; height and width stay."""
    outputs = [*_rows(x, branches, name, options), _pooled(x, pool_filters, name, options)]
    return keras.layers.concatenate(outputs, name=f"{name}_concat")


def _inception_c(x: keras.KerasTensor, name: str, options: ConvOptions) -> keras.KerasTensor:
    """Figure 6: two of the branches fork at the end."""

    def fork(x: keras.KerasTensor, name: str) -> list[keras.KerasTensor]:
        kernels = {"1x3": (1, 3), "3x1": (3, 1)}
        return [_conv(x, 256, kernel, f"{name}_{part}", options) for part, kernel in kernels.items()]

    rows: list[Branch] = [[(256, 1)], [(384, 1)], [(384, 1), (448, (3, 1)), (512, (1, 3))]]
    first, second, third = _rows(x, rows, name, options)
    outputs = [
        first,
        *fork(second, f"{name}_branch2"),
        *fork(third, f"{name}_branch3"),
        _pooled(x, 256, name, options),
    ]
    return keras.layers.concatenate(outputs, name=f"{name}_concat")


def _reduction(x: keras.KerasTensor, branches: Branches, name: str, options: ConvOptions) -> keras.KerasTensor:
    """Figures 7, 8, 12 and 18: the last convolution of each branch halves the size, as a max pooling does."""
    outputs = [*_rows(x, branches, name, options, halve=True)]
    outputs.append(keras.layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x))
    return keras.layers.concatenate(outputs, name=f"{name}_concat")


def _residual(
    x: keras.KerasTensor,
    branches: Branches,
    scale: float,
    name: str,
    options: ConvOptions,
    *,
    activate: bool = True,
) -> keras.KerasTensor:
    """Figures 10, 11, 13, 16, 17 and 19: ``x + scale * up(branches)``, then a ReLU; the shape stays.

    The 1x1 convolution ``up`` has as many filters as ``x`` has channels. It has a bias and no normalisation, as in the
    authors' code.
    """
    mixed = keras.layers.concatenate([*_rows(x, branches, name, options)], name=f"{name}_concat")
    up = keras.layers.Conv2D(x.shape[-1], 1, kernel_initializer=options["kernel_initializer"], name=f"{name}_up")(mixed)
    up = keras.layers.Rescaling(scale, name=f"{name}_scale")(up)
    x = keras.layers.Add(name=f"{name}_add")([x, up])
    return keras.layers.Activation("relu", name=f"{name}_relu")(x) if activate else x


def _classifier(x: keras.KerasTensor, num_classes: int, dropout: float, activation: str | None) -> keras.KerasTensor:
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.layers.Dense(num_classes, activation=activation, name="predictions")(x)


def _rows(
    x: keras.KerasTensor, branches: Branches, name: str, options: ConvOptions, *, halve: bool = False
) -> Iterator[keras.KerasTensor]:
    """The output of each branch."""
    for number, branch in enumerate(branches, start=1):
        yield _row(x, branch, f"{name}_branch{number}", options, halve=halve)


def _row(
    x: keras.KerasTensor, branch: Branch, name: str, options: ConvOptions, *, halve: bool = False
) -> keras.KerasTensor:
    """Convolutions that keep the size; with ``halve`` the last one has a stride of 2 and no padding."""
    for number, (filters, kernel) in enumerate(branch, start=1):
        if halve and number == len(branch):
            x = _conv(x, filters, kernel, f"{name}_conv{number}", options, stride=2, padding="valid")
        else:
            x = _conv(x, filters, kernel, f"{name}_conv{number}", options)
    return x


def _pooled(x: keras.KerasTensor, filters: int, name: str, options: ConvOptions) -> keras.KerasTensor:
    x = keras.layers.AveragePooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    return _conv(x, filters, 1, f"{name}_pool_proj", options)


def _conv(
    x: keras.KerasTensor,
    filters: int,
    kernel: int | tuple[int, int],
    name: str,
    options: ConvOptions,
    *,
    stride: int = 1,
    padding: str = "same",
) -> keras.KerasTensor:
    return Conv2D_BN(x, filters, kernel, padding, stride, name=name, **options)
