"""Declares GoogLeNet and BN-Inception for ``cnn_registry``. Keras is imported only when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry import Feature, Paper, Pretrained, register_model

from ._weights import torchvision_names

if TYPE_CHECKING:
    import keras

IMAGENET = "keras.applications.imagenet_utils:decode_predictions"
"""Where the names of the classes are."""


_GOOGLENET = Paper(
    title="Going Deeper with Convolutions",
    authors="Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich",
    year=2014,
    url="https://arxiv.org/abs/1409.4842",
)
_AUX_HEADS = {"aux1": 0.3, "aux2": 0.3}
_GOOGLENET_BLOCKS = {
    "stride8": Feature("inception_3b_concat", (28, 28, 480)),
    "stride16": Feature("inception_4e_concat", (14, 14, 832)),
    "stride32": Feature("inception_5b_concat", (7, 7, 1024)),
}


@register_model(
    family="inception",
    summary="GoogLeNet: Inception with 5x5 convolutions and two auxiliary heads, as in the paper",
    paper=_GOOGLENET,
    trainable_params=6_998_552,
    macs=1_582_671_872,
    features={
        "stride2": Feature("conv1", (112, 112, 64)),
        "stride4": Feature("conv2_lrn", (56, 56, 192)),
        **_GOOGLENET_BLOCKS,
    },
    aux_heads=_AUX_HEADS,
    # No layer normalises over the batch, so the first steps need a lower rate.
    recipe_settings={"default": {"optimizer.learning_rate": 0.02}},
)
def inception_v1(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    large_kernel: int = 5,
    aux_heads: bool = False,
    dropout: float = 0.4,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build GoogLeNet as in table 1 of the paper, with biases and without batch normalisation.

    The stages are ``conv1``, ``conv2`` and ``inception_3a`` to ``inception_5b``; the names of layers begin with them.
    The local response normalisations after the first pooling and the third convolution are in the paper's figure 3.
    The paper does not state their parameters; they are those of Krizhevsky et al. (2012). Convolutions have "same"
    padding and He initialisation.

    The auxiliary heads follow ``inception_4a`` and ``inception_4d`` (section 5). Each has an average pooling over 5x5
    with stride 3, a 1x1 convolution to 128 channels, a dense layer of 1024, dropout of 0.7 and a classifier. If the
    maps are smaller than 5 (images below 65 pixels), the pooling covers them completely. The dense layer has as many
    inputs as the pooled maps have values, 2048 at 224 pixels, so the heads for one input size do not fit another. With
    both heads there are 13,378,280 parameters.

    Args:
        input_shape: ``(height, width, channels)``; any size, but at least 64 pixels are recommended, because the
            last maps are 32 times smaller.
        num_classes: number of outputs.
        large_kernel: size of the third branch's convolution, the ``_5x5`` layers: 5 as in the paper, or 3 as in
            torchvision.
        aux_heads: whether the model has the heads: its output is then a dict of ``"predictions"``, ``"aux1"`` and
            ``"aux2"``, each ``(batch, num_classes)``.
        dropout: dropout rate of the classifier's inputs.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Raises:
        UsageError: ``large_kernel`` is neither 5 nor 3.
    """
    from . import _googlenet

    return _googlenet.build(
        _googlenet.PAPER,
        input_shape,
        num_classes,
        large_kernel=large_kernel,
        aux_heads=aux_heads,
        dropout=dropout,
        classifier_activation=classifier_activation,
        name="inception_v1",
    )


@register_model(
    family="inception",
    summary="GoogLeNet with batch normalisation and 3x3 convolutions for 5x5, as in torchvision",
    paper=_GOOGLENET,
    trainable_params=6_624_904,
    non_trainable_params=14_560,
    macs=1_498_376_192,
    min_size=15,
    features={
        "stride2": Feature("conv1_relu", (112, 112, 64)),
        "stride4": Feature("conv2_relu", (56, 56, 192)),
        **_GOOGLENET_BLOCKS,
    },
    aux_heads=_AUX_HEADS,
    weights={
        "torchvision:IMAGENET1K_V1": Pretrained(
            "https://download.pytorch.org/models/googlenet-1378be20.pth",
            torchvision_names,
            pixels="signed",  # torchvision's model converts its inputs to it
            options={"large_kernel": 3},
            classes=IMAGENET,
        )
    },
)
def inception_v1_bn(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    large_kernel: int = 3,
    aux_heads: bool = False,
    dropout: float = 0.2,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build GoogLeNet with batch normalisation and the layers of torchvision's ``googlenet``.

    It differs from the paper and `inception_v1` as follows: every convolution has a normalisation (epsilon 0.001,
    momentum 0.9) instead of a bias, there is no local response normalisation, the third branch has a 3x3 convolution,
    and the last max pooling is 2x2. Layers with a stride are padded as in PyTorch: ``conv1`` by three zeros on each
    side, the max poolings only at the end, and only where a window would pass it ("ceil mode"). At even sizes this is
    Keras' "same"; at odd sizes "same" would shift the windows and give one more. The layers have the names of
    `inception_v1`.

    The auxiliary heads are those of `inception_v1`, except that they average maps of any size to 4x4, so that the heads
    for one input size fit any other. With both heads there are 13,004,888 trainable parameters.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 15.
        num_classes: number of outputs.
        large_kernel: size of the third branch's convolution, the ``_5x5`` layers: 3 as in torchvision, or 5 as in the
            paper.
        aux_heads: whether the model has the heads: its output is then a dict of ``"predictions"``, ``"aux1"`` and
            ``"aux2"``, each ``(batch, num_classes)``.
        dropout: dropout rate of the classifier's inputs.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Raises:
        UsageError: ``large_kernel`` is neither 3 nor 5.
    """
    from . import _googlenet

    return _googlenet.build(
        _googlenet.BATCH_NORM,
        input_shape,
        num_classes,
        large_kernel=large_kernel,
        aux_heads=aux_heads,
        dropout=dropout,
        classifier_activation=classifier_activation,
        name="inception_v1_bn",
    )


@register_model(
    family="inception",
    summary="BN-Inception: Inception with batch normalisation and two 3x3 convolutions for one 5x5",
    paper=Paper(
        title="Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
        authors="Ioffe, Szegedy",
        year=2015,
        url="https://arxiv.org/abs/1502.03167",
    ),
    trainable_params=11_285_224,
    non_trainable_params=20_032,
    macs=2_032_600_064,
    features={
        "stride2": Feature("conv1_relu", (112, 112, 64)),
        "stride4": Feature("conv2_relu", (56, 56, 192)),
        "stride8": Feature("inception_3b_concat", (28, 28, 320)),
        "stride16": Feature("inception_4d_concat", (14, 14, 608)),
        "stride32": Feature("inception_5b_concat", (7, 7, 1024)),
    },
    aliases=("bn_inception",),
    recipe_settings={
        # The paper needs no dropout on a million images (section 4.2.1); a few thousand are soon memorised.
        # With the recipe's own limit of the gradients, the first steps are so large that the next epochs are lost.
        "default": {
            "epochs": 80,
            "optimizer.clipnorm": 2.0,
            "model.dropout": 0.2,
            "photos.size": 144,
            "photos.train_sizes": (96, 112, 128),
            "photos.decode_size": 160,
        },
        "article": {"optimizer.learning_rate": 1e-5, "model.variant": "article"},
    },
)
def inception_v2(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    variant: str = "paper",
    dropout: float = 0.0,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build BN-Inception.

    Args:
        input_shape: ``(height, width, channels)``; any size, but at least 64 pixels are recommended, because the
            last maps are 32 times smaller.
        num_classes: number of outputs.
        variant: ``"paper"`` for convolutions without a bias, normalised and then activated, with He initialisation and
            moving statistics with momentum 0.9; ``"article"`` for convolutions with a bias, activated and then
            normalised, with Glorot initialisation and momentum 0.99, which train only at very low learning rates.
        dropout: dropout rate of the classifier's inputs; neither variant has dropout by default.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Raises:
        UsageError: ``variant`` is not one of the two.
    """
    from ._network import build

    return build(
        input_shape,
        num_classes,
        variant=variant,
        dropout=dropout,
        classifier_activation=classifier_activation,
    )
