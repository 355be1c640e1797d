"""Declares Inception-v3 for ``cnn_registry``. Keras is imported only when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry import Feature, Paper, Pretrained, register_model

from ._weights import keras_names, torchvision_names

if TYPE_CHECKING:
    import keras

IMAGENET = "keras.applications.imagenet_utils:decode_predictions"
"""Where the names of the classes are."""


@register_model(
    family="inception",
    summary="Inception-v3: convolutions factorised into 1xn and nx1, and an auxiliary head",
    paper=Paper(
        title="Rethinking the Inception Architecture for Computer Vision",
        authors="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna",
        year=2015,
        url="https://arxiv.org/abs/1512.00567",
    ),
    input_shape=(299, 299, 3),
    trainable_params=23_817_352,
    non_trainable_params=34_432,
    macs=5_713_216_096,
    # Section 8: the paper's limit of the gradient's norm.
    recipe_settings={"default": {"optimizer.clipnorm": 2.0}},
    min_size=75,  # in smaller images the kernels of the last reduction, which has no padding, do not fit
    features={
        "stride2": Feature("conv3_relu", (147, 147, 64)),
        "stride4": Feature("conv5_relu", (71, 71, 192)),
        "stride8": Feature("inception_a3_concat", (35, 35, 288)),
        "stride16": Feature("inception_b4_concat", (17, 17, 768)),
        "stride32": Feature("inception_c2_concat", (8, 8, 2048)),
    },
    aux_heads={"aux": 0.3},
    weights={
        "keras:imagenet": Pretrained(
            "keras.applications:InceptionV3",
            keras_names,
            pixels="signed",
            options={"scale": False, "count_include_pad": False},
            classes=IMAGENET,
        ),
        "torchvision:IMAGENET1K_V1": Pretrained(
            "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
            torchvision_names,
            pixels="signed",  # torchvision's model converts its inputs to it
            options={"scale": True, "count_include_pad": True},
            classes=IMAGENET,
        ),
        "timm:tf_in1k": Pretrained(
            "hf://timm/inception_v3.tf_in1k",
            torchvision_names,  # which timm has kept
            pixels="signed",
            options={"scale": True, "count_include_pad": True},
            classes=IMAGENET,
        ),
    },
)
def inception_v3(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    scale: bool = False,
    count_include_pad: bool = False,
    aux_heads: bool = False,
    dropout: float = 0.2,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build Inception-v3: table 1 and figures 5 to 8 of the paper, in the form of the authors' code and of Keras.

    The stages are ``conv1`` to ``conv5``, ``inception_a1`` to ``inception_a3`` (figure 5, with the 5x5 convolution
    that the authors' code keeps in one branch), ``reduction_a``, ``inception_b1`` to ``inception_b4`` (figure 6, n =
    7), ``reduction_b``, ``inception_c1`` and ``inception_c2`` (figure 7); the names of layers begin with them.
    Convolutions have He initialisation, no bias, and before the ReLU a normalisation with momentum 0.9 and epsilon
    0.001.

    The auxiliary head follows ``inception_b4`` (figure 8, in the form of torchvision). It has an average pooling over
    5x5 with stride 3, a 1x1 convolution to 128 channels, a 5x5 convolution to 768 and a classifier. At 299 pixels the
    last convolution covers its 5x5 maps once. With larger maps its results are averaged; smaller ones (images below 299
    pixels) are padded with zeros. The pooling covers maps smaller than 5 completely. The weights fit every size.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 75.
        num_classes: number of outputs.
        scale: whether the normalisations have a scale (gamma), as in torchvision and unlike in the authors' code and
            Keras. With it there are 23,834,568 trainable parameters, or 27,161,264 with the auxiliary head.
        count_include_pad: whether the averages of the branches include the zeros of the padding, as in torchvision, or
            only the pixels of the map, as in Keras.
        aux_heads: whether the model has the head: its output is then a dict of ``"predictions"`` and ``"aux"``, each
            ``(batch, num_classes)``.
        dropout: dropout rate of the classifier's inputs; the authors' code keeps 0.8 of them.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
    """
    from ._network import build

    return build(
        input_shape,
        num_classes,
        scale=scale,
        count_include_pad=count_include_pad,
        aux_heads=aux_heads,
        dropout=dropout,
        classifier_activation=classifier_activation,
    )
