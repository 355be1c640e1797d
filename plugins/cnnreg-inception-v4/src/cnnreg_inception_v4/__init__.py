"""Declares Inception-v4 and the Inception-ResNets for ``cnn_registry``. Keras is imported only when one is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnn_registry import Feature, Paper, Pretrained, register_model

from . import _timm
from ._weights import keras_names

if TYPE_CHECKING:
    import keras

IMAGENET = "keras.applications.imagenet_utils:decode_predictions"
"""Where the names of the classes are."""

_PAPER = Paper(
    title="Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
    authors="Szegedy, Ioffe, Vanhoucke, Alemi",
    year=2016,
    url="https://arxiv.org/abs/1602.07261",
)
_INPUT_SHAPE = (299, 299, 3)
_MIN_SIZE = 75  # in smaller images the kernels of the last reduction, which has no padding, do not fit


@register_model(
    family="inception",
    summary="Inception-v4: uniform Inception blocks without residual connections",
    paper=_PAPER,
    input_shape=_INPUT_SHAPE,
    trainable_params=42_679_816,
    non_trainable_params=63_168,
    macs=12_253_974_624,
    # As for Inception V3 (https://arxiv.org/abs/1512.00567, section 8): without a limit, gradients grow from one
    # normalisation to the next, as there are no shortcuts, and the network hardly learns in the first epochs.
    recipe_settings={"default": {"optimizer.clipnorm": 2.0}},
    min_size=_MIN_SIZE,
    features={
        "stride2": Feature("stem_conv3_relu", (147, 147, 64)),
        "stride4": Feature("stem_concat2", (71, 71, 192)),
        "stride8": Feature("inception_a4_concat", (35, 35, 384)),
        "stride16": Feature("inception_b7_concat", (17, 17, 1024)),
        "stride32": Feature("inception_c3_concat", (8, 8, 1536)),
    },
    weights={
        "timm:tf_in1k": Pretrained(
            "hf://timm/inception_v4.tf_in1k",
            _timm.inception_v4_names,
            pixels="signed",
            options={"scale": True},
            classes=IMAGENET,
        )
    },
)
def inception_v4(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    scale: bool = True,
    dropout: float = 0.2,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build Inception-v4: figure 9 of the paper.

    The stages are ``stem``, ``inception_a1`` to ``inception_a4``, ``reduction_a``, ``inception_b1`` to
    ``inception_b7``, ``reduction_b`` and ``inception_c1`` to ``inception_c3``; the names of layers begin with them.
    Where a figure shows a 7x1 and a 1x7 convolution in another order than the authors' code, or 1x7 twice (figure 5),
    this network follows the code; the parameters are the same. Convolutions have He initialisation, no bias, and before
    the ReLU a normalisation with momentum 0.9 and, as in the authors' code, epsilon 0.001.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 75.
        num_classes: number of outputs.
        scale: whether the normalisations have a scale (gamma). Without it, as in the authors' code, there are
            42,648,232 trainable parameters; the published count of 42,679,816 includes it.
        dropout: dropout rate of the classifier's inputs; the paper keeps 0.8 of them.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
    """
    from ._network import inception_v4 as build

    return build(input_shape, num_classes, scale=scale, dropout=dropout, classifier_activation=classifier_activation)


@register_model(
    family="inception",
    summary="Inception-ResNet-v1: Inception blocks with residual connections, at the cost of Inception-v3",
    paper=_PAPER,
    input_shape=_INPUT_SHAPE,
    trainable_params=22_742_808,
    non_trainable_params=27_040,
    macs=6_206_361_696,
    min_size=_MIN_SIZE,
    features={
        "stride2": Feature("stem_conv3_relu", (147, 147, 64)),
        "stride4": Feature("stem_conv5_relu", (71, 71, 192)),
        "stride8": Feature("inception_resnet_a5_relu", (35, 35, 256)),
        "stride16": Feature("inception_resnet_b10_relu", (17, 17, 896)),
        "stride32": Feature("inception_resnet_c5_relu", (8, 8, 1792)),
    },
)
def inception_resnet_v1(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    scale: bool = False,
    residual_scale: Sequence[float] = (0.17, 0.1, 0.2),
    dropout: float = 0.2,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build Inception-ResNet-v1: figures 7 and 10 to 15 of the paper.

    The stages are ``stem``, ``inception_resnet_a1`` to ``inception_resnet_a5``, ``reduction_a``,
    ``inception_resnet_b1`` to ``inception_resnet_b10``, ``reduction_b`` and ``inception_resnet_c1`` to
    ``inception_resnet_c5``; the names of layers begin with them. Where the paper leaves a choice:

    - The figures of the blocks show a ReLU before the block and one after the sum. The input of every block already
      comes from a ReLU, so only the one after the sum is built, including that of the last block.
    - The "linear" 1x1 convolution before each sum has a bias and no normalisation, as in the authors' code of
      Inception-ResNet-v2: the paper normalises "only on top of the traditional layers" (section 3.2).

    Convolutions have He initialisation, no bias, and before the ReLU a normalisation with momentum 0.9 and epsilon
    0.001.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 75.
        num_classes: number of outputs.
        scale: whether the normalisations have a scale (gamma); off as in Inception-ResNet-v2. With it there are
            22,756,328 trainable parameters.
        residual_scale: factors of the branches of the blocks A, B and C. Section 3.3 recommends 0.1 to 0.3, because
            training without them failed with more than 1000 channels, as in the blocks C. The default is that of the
            authors' code of Inception-ResNet-v2; ``(1, 1, 1)`` is the plain sum.
        dropout: dropout rate of the classifier's inputs; the paper keeps 0.8 of them.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Raises:
        UsageError: ``residual_scale`` is not three numbers.
    """
    from ._network import inception_resnet_v1 as build

    return build(
        input_shape,
        num_classes,
        scale=scale,
        residual_scale=residual_scale,
        dropout=dropout,
        classifier_activation=classifier_activation,
    )


@register_model(
    family="inception",
    summary="Inception-ResNet-v2: Inception blocks with residual connections, at the cost of Inception-v4",
    paper=_PAPER,
    input_shape=_INPUT_SHAPE,
    trainable_params=55_813_192,
    non_trainable_params=60_544,
    macs=13_155_794_016,
    min_size=_MIN_SIZE,
    features={
        "stride2": Feature("stem_conv3_relu", (147, 147, 64)),
        "stride4": Feature("stem_conv5_relu", (71, 71, 192)),
        "stride8": Feature("inception_resnet_a10_relu", (35, 35, 320)),
        "stride16": Feature("inception_resnet_b20_relu", (17, 17, 1088)),
        "stride32": Feature("final_conv_relu", (8, 8, 1536)),
    },
    weights={
        "keras:imagenet": Pretrained(
            "keras.applications:InceptionResNetV2",
            keras_names,
            pixels="signed",
            options={"scale": False},
            classes=IMAGENET,
        ),
        "timm:tf_in1k": Pretrained(
            "hf://timm/inception_resnet_v2.tf_in1k",
            _timm.inception_resnet_v2_names,
            pixels="signed",
            options={"scale": True},
            classes=IMAGENET,
        ),
    },
)
def inception_resnet_v2(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    scale: bool = False,
    residual_scale: Sequence[float] = (0.17, 0.1, 0.2),
    dropout: float = 0.2,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build Inception-ResNet-v2 as in its authors' code and `keras.applications`.

    That network differs from the paper's (figures 15 to 19). It has the stem of Inception-ResNet-v1 followed by an
    Inception block, instead of the stem of figure 3; 10, 20 and 10 blocks instead of 5, 10 and 5; 320, 1088 and 2080
    channels between them instead of 384, 1152 (1154 in figure 17) and 2144 (2048 in figure 19); and at the end a block
    without scaling and activation and a 1x1 convolution to 1536 channels. The branches of the blocks are those of
    figures 16 to 19.

    The stages are ``stem``, ``inception_resnet_a1`` to ``inception_resnet_a10``, ``reduction_a``,
    ``inception_resnet_b1`` to ``inception_resnet_b20``, ``reduction_b``, ``inception_resnet_c1`` to
    ``inception_resnet_c10`` and ``final_conv``; the names of layers begin with them. Convolutions have He
    initialisation, no bias, and before the ReLU a normalisation with momentum 0.9 and, as in the authors' code, epsilon
    0.001. The 1x1 convolution before each sum has a bias, and neither normalisation nor ReLU.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 75.
        num_classes: number of outputs.
        scale: whether the normalisations have a scale (gamma); off as in the authors' code. With it there are
            55,843,464 trainable parameters.
        residual_scale: factors of the branches of the blocks A, B and C, except for the last one; the default is that
            of the authors' code. Section 3.3 recommends 0.1 to 0.3, because training without them failed with more than
            1000 channels.
        dropout: dropout rate of the classifier's inputs; the paper keeps 0.8 of them.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Raises:
        UsageError: ``residual_scale`` is not three numbers.
    """
    from ._network import inception_resnet_v2 as build

    return build(
        input_shape,
        num_classes,
        scale=scale,
        residual_scale=residual_scale,
        dropout=dropout,
        classifier_activation=classifier_activation,
    )
