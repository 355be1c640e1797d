"""Declares four AlexNets for ``cnn_registry``. Keras is imported only when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_registry import Feature, Paper, Pretrained, register_model

from ._weights import TORCHVISION

if TYPE_CHECKING:
    import keras

    from cnn_registry.blocks import Initializer

IMAGENET = "keras.applications.imagenet_utils:decode_predictions"
"""Where the names of the classes are."""

_PAPER = Paper(
    title="ImageNet Classification with Deep Convolutional Neural Networks",
    authors="Krizhevsky, Sutskever, Hinton",
    year=2012,
    url="https://papers.nips.cc/paper/4824",
)
# No layer normalises over the batch, so the first steps need a lower rate. From 96 to 124 pixels the dense layers have
# the same number of inputs, so evaluation can use larger images than training.
_DEFAULT: dict[str, Any] = {
    "epochs": 80,
    "optimizer.learning_rate": 0.02,
    "optimizer.weight_decay": 5e-3,
    "photos.size": 112,
    "photos.train_sizes": (96,),
    "photos.decode_size": 128,
}
# With kernels near the identity and less dropout, half of the images are recognised after half as many epochs.
_SOONER: dict[str, Any] = {
    "schedule.warmup_epochs": 1,
    "model.kernel_initializer": "cnn_registry>NearIdentity",
    "model.dropout": 0.3,
}


@register_model(
    family="alexnet",
    summary="AlexNet in one tower: five convolutions and three dense layers",
    paper=_PAPER,
    trainable_params=76_009_832,
    macs=3_235_448_832,
    features={
        "stride4": Feature("conv2", (56, 56, 256)),
        "stride8": Feature("conv3", (28, 28, 384)),
        "stride16": Feature("conv5", (14, 14, 256)),
        "stride32": Feature("pool5", (7, 7, 256)),
    },
    min_size=29,  # the first convolution divides by 4 and rounds up, three poolings by 2 and round down
    recipe_settings={"default": _DEFAULT | _SOONER, "article": {"model.kernel_initializer": "glorot_uniform"}},
)
def alexnet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build AlexNet in its simplest form: one tower, 2x2 poolings, no normalisation.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 29.
        num_classes: number of outputs.
        dropout: dropout rate of the outputs of ``fc6`` and ``fc7``.
        kernel_initializer: Keras initializer of every layer with a ReLU; the classifier's is ``"glorot_uniform"``.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
    """
    from . import _network

    return _network.alexnet(
        input_shape,
        num_classes,
        dropout=dropout,
        kernel_initializer=kernel_initializer,
        classifier_activation=classifier_activation,
    )


@register_model(
    family="alexnet",
    summary="AlexNet in one tower with batch normalisation after each convolution",
    paper=_PAPER,
    trainable_params=76_012_584,
    non_trainable_params=2_752,
    macs=3_235_448_832,
    features={
        "stride4": Feature("conv2_relu", (56, 56, 256)),
        "stride8": Feature("conv3_relu", (28, 28, 384)),
        "stride16": Feature("conv5_relu", (14, 14, 256)),
        "stride32": Feature("pool5", (7, 7, 256)),
    },
    min_size=29,  # as in alexnet
    recipe_settings={"default": _DEFAULT | {"optimizer.learning_rate": 0.05, "optimizer.weight_decay": 2e-3}},
)
def alexnet_bn(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build `alexnet` with a normalisation between each convolution and its ReLU, as in ``vgg16_bn``.

    The paper has no batch normalisation, which came later: Ioffe & Szegedy 2015 (https://arxiv.org/abs/1502.03167). The
    moving statistics have momentum 0.9, and epsilon is 1e-5. A convolution has the same name and the same weights with
    and without normalisation.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 29.
        num_classes: number of outputs.
        dropout: dropout rate of the outputs of ``fc6`` and ``fc7``.
        kernel_initializer: Keras initializer of every layer with a ReLU; the classifier's is ``"glorot_uniform"``.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
    """
    from . import _network

    return _network.alexnet(
        input_shape,
        num_classes,
        batch_norm=True,
        dropout=dropout,
        kernel_initializer=kernel_initializer,
        classifier_activation=classifier_activation,
    )


@register_model(
    family="alexnet",
    summary="AlexNet as published: two towers, local response normalisation, overlapping poolings",
    paper=_PAPER,
    input_shape=(227, 227, 3),
    trainable_params=60_965_224,
    macs=724_406_816,
    features={
        "stride4": Feature("norm1", (55, 55, 96)),
        "stride8": Feature("norm2", (27, 27, 256)),
        "stride16": Feature("conv5", (13, 13, 256)),
        "stride32": Feature("pool5", (6, 6, 256)),
    },
    min_size=67,  # leaves 15x15 after the first convolution, then 7x7, 3x3 and 1x1 after the poolings
    recipe_settings={"default": _DEFAULT | {"photos.train_sizes": (100,)}},  # 2x2 maps at the end, as at 112
)
def alexnet_paper(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    groups: int = 2,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build the AlexNet of the paper (section 3 and figure 2), with the towers of its two GPUs as grouped convolutions.

    Local response normalisation (n=5, k=2, alpha=1e-4, not divided by n, beta=0.75) follows the ReLUs of the first two
    convolutions, before the pooling; Caffe's *CaffeNet* pools first. The poolings are 3x3 with stride 2. The first
    convolution is not padded, so its 55x55 maps need 227 pixels, three more than the paper states. The paper draws all
    weights from a normal distribution with standard deviation 0.01 and starts some biases at 1; here
    ``kernel_initializer`` draws the weights, and biases start at 0.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 67.
        num_classes: number of outputs.
        groups: number of groups of the second, fourth and fifth convolution: 2 for the paper's two towers (60,965,224
            parameters with 1000 classes), or 1 to join them (62,378,344).
        dropout: dropout rate of the outputs of ``fc6`` and ``fc7``.
        kernel_initializer: Keras initializer of every layer with a ReLU; the classifier's is ``"glorot_uniform"``.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
    """
    from . import _network

    return _network.alexnet_paper(
        input_shape,
        num_classes,
        groups=groups,
        dropout=dropout,
        kernel_initializer=kernel_initializer,
        classifier_activation=classifier_activation,
    )


@register_model(
    family="alexnet",
    summary="AlexNet of 'One weird trick': one tower with fewer filters, as in torchvision",
    paper=Paper(
        title="One weird trick for parallelizing convolutional neural networks",
        authors="Krizhevsky",
        year=2014,
        url="https://arxiv.org/abs/1404.5997",
    ),
    trainable_params=61_100_840,
    macs=714_188_480,
    features={
        "stride4": Feature("conv1", (55, 55, 64)),
        "stride8": Feature("conv2", (27, 27, 192)),
        "stride16": Feature("conv5", (13, 13, 256)),
        "stride32": Feature("pool5", (6, 6, 256)),
    },
    weights={
        "torchvision:IMAGENET1K_V1": Pretrained(
            "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            lambda: TORCHVISION,
            "imagenet",
            classes=IMAGENET,
        )
    },
    min_size=95,  # leaves 2x2 after the last pooling: a compiled adaptive pooling of Keras cannot enlarge a map of 1x1
    recipe_settings={"default": _DEFAULT},
)
def alexnet_owt(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    conv4_filters: int = 256,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build the single-tower AlexNet of "One weird trick", with the layers of torchvision's ``alexnet``.

    The first convolution is padded by 2, the poolings are 3x3 with stride 2, and dropout comes before ``fc6`` and
    ``fc7`` instead of after them. Before the dense layers an adaptive average pooling reduces the maps to 6x6, so that
    their weights do not depend on the input's size; at 224 pixels it changes nothing.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 95.
        num_classes: number of outputs.
        conv4_filters: number of filters of the fourth convolution: 256 as in torchvision, which follows the author's
            code, or 384 as in the paper (section 5, footnote 1).
        dropout: dropout rate of the inputs of ``fc6`` and ``fc7``.
        kernel_initializer: Keras initializer of every layer with a ReLU; the classifier's is ``"glorot_uniform"``.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
    """
    from . import _network

    return _network.alexnet_owt(
        input_shape,
        num_classes,
        conv4_filters=conv4_filters,
        dropout=dropout,
        kernel_initializer=kernel_initializer,
        classifier_activation=classifier_activation,
    )
