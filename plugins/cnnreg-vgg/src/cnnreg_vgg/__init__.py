"""Declares the VGGs for ``cnn_registry``. Keras is imported only when one is built."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from cnn_registry import Feature, Paper, Pretrained, register_model

from . import _weights

if TYPE_CHECKING:
    import keras

    from cnn_registry.blocks import Initializer

IMAGENET = "keras.applications.imagenet_utils:decode_predictions"
"""Where the names of the classes are."""

FILTERS = (64, 128, 256, 512, 512)
"""Number of filters of the convolutions in each block."""

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Number of convolutions in each block, by depth: configurations A, B, D and E of table 1."""

_PAPER = Paper(
    title="Very Deep Convolutional Networks for Large-Scale Image Recognition",
    authors="Simonyan, Zisserman",
    year=2014,
    url="https://arxiv.org/abs/1409.1556",
)
_ARTICLE: dict[str, Any] = {"optimizer.learning_rate": 1e-5, "model.kernel_initializer": "glorot_uniform"}
# From 64 to 95 pixels the dense layers have the same number of inputs, so training can start with small images, at half
# the cost of 96 pixels, and end with larger ones.
_DEFAULT_WITH_BN: dict[str, Any] = {
    "photos.size": 92,
    "photos.train_sizes": (64, 72, 80),
    "photos.decode_size": 112,
}
# Without normalisation the first steps need a lower rate, and the differences between images are small at first: with
# He's kernels, or with much dropout, the network learns nothing in the first 20 epochs or more.
_DEFAULT_WITHOUT_BN: dict[str, Any] = _DEFAULT_WITH_BN | {
    "optimizer.learning_rate": 0.02,
    "optimizer.weight_decay": 5e-3,
    "model.kernel_initializer": "cnn_registry>NearIdentity",
    "model.dropout": 0.2,
}


def _declare(
    depth: int,
    *,
    batch_norm: bool = False,
    trainable_params: int,
    non_trainable_params: int = 0,
    macs: int,
    torchvision: str,
) -> Callable[..., keras.Model]:
    """Declare the VGG with ``depth`` layers that have weights, not counting normalisations."""

    def build(
        input_shape: tuple[int, int, int],
        num_classes: int,
        *,
        dropout: float = 0.5,
        kernel_initializer: Initializer = "he_normal",
        classifier_activation: str | None = "softmax",
    ) -> keras.Model:
        """Build the VGG that the function is named after.

        Args:
            input_shape: ``(height, width, channels)``, height and width at least 32.
            num_classes: number of outputs.
            dropout: dropout rate of the outputs of ``fc6`` and ``fc7``.
            kernel_initializer: Keras initializer of every layer with a ReLU; the classifier's is
                ``"glorot_uniform"``.
            classifier_activation: Keras activation of the outputs; ``None`` gives logits.

        Returns:
            A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
        """
        from ._network import vgg

        return vgg(
            depth,
            batch_norm,
            input_shape,
            num_classes,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            classifier_activation=classifier_activation,
            name=build.__name__,
        )

    build.__name__ = build.__qualname__ = f"vgg{depth}_bn" if batch_norm else f"vgg{depth}"
    return register_model(
        family="vgg",
        summary=f"VGG with {depth} layers" + (" and batch normalisation" if batch_norm else ""),
        paper=_PAPER,
        trainable_params=trainable_params,
        non_trainable_params=non_trainable_params,
        macs=macs,
        features=_features(depth, "_relu" if batch_norm else ""),
        min_size=32,  # five poolings halve the size
        weights=_pretrained(depth, batch_norm, torchvision),
        recipe_settings={"article": _ARTICLE, "default": _DEFAULT_WITH_BN if batch_norm else _DEFAULT_WITHOUT_BN},
    )(build)


def _features(depth: int, suffix: str) -> dict[str, Feature]:
    """The last activation of each block, and the last pooling."""
    features = {
        f"stride{2**block}": Feature(
            f"block{block + 1}_conv{convolutions}{suffix}", (224 >> block, 224 >> block, filters)
        )
        for block, (filters, convolutions) in enumerate(zip(FILTERS, CONVOLUTIONS[depth], strict=True))
    }
    return features | {"stride32": Feature("block5_pool", (7, 7, 512))}


def _pretrained(depth: int, batch_norm: bool, torchvision: str) -> dict[str, Pretrained]:
    """torchvision's weights, given the last part of their file's name, timm's copy, and Keras' if it has any."""
    convolutions, name = CONVOLUTIONS[depth], f"vgg{depth}_bn" if batch_norm else f"vgg{depth}"
    weights = {
        "torchvision:IMAGENET1K_V1": Pretrained(
            f"https://download.pytorch.org/models/{name}-{torchvision}.pth",
            partial(_weights.torchvision_names, convolutions, batch_norm),
            pixels="imagenet",
            classes=IMAGENET,
        ),
        "timm:tv_in1k": Pretrained(
            f"hf://timm/{name}.tv_in1k",
            partial(_weights.timm_names, convolutions, batch_norm),
            pixels="imagenet",
            classes=IMAGENET,
        ),
    }
    if depth in (16, 19) and not batch_norm:
        names = partial(_weights.keras_names, convolutions)
        weights["keras:imagenet"] = Pretrained(f"keras.applications:VGG{depth}", names, "caffe", classes=IMAGENET)
    return weights


vgg11 = _declare(11, trainable_params=132_863_336, macs=7_609_090_048, torchvision="8a719046")
vgg13 = _declare(13, trainable_params=133_047_848, macs=11_308_466_176, torchvision="19584684")
vgg16 = _declare(16, trainable_params=138_357_544, macs=15_470_264_320, torchvision="397923af")
vgg19 = _declare(19, trainable_params=143_667_240, macs=19_632_062_464, torchvision="dcbb9e9d")
vgg11_bn = _declare(
    11,
    batch_norm=True,
    trainable_params=132_868_840,
    non_trainable_params=5_504,
    macs=7_609_090_048,
    torchvision="6002323d",
)
vgg13_bn = _declare(
    13,
    batch_norm=True,
    trainable_params=133_053_736,
    non_trainable_params=5_888,
    macs=11_308_466_176,
    torchvision="abd245e5",
)
vgg16_bn = _declare(
    16,
    batch_norm=True,
    trainable_params=138_365_992,
    non_trainable_params=8_448,
    macs=15_470_264_320,
    torchvision="6c64b313",
)
vgg19_bn = _declare(
    19,
    batch_norm=True,
    trainable_params=143_678_248,
    non_trainable_params=11_008,
    macs=19_632_062_464,
    torchvision="c79401a0",
)
