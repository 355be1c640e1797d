"""Declares LeNet-5 for ``cnn_registry``. Keras is imported only when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from cnn_registry import Feature, Paper, register_model
from cnn_registry.errors import UsageError, suggestion

if TYPE_CHECKING:
    import keras

    from cnn_registry.blocks import Initializer

Variant = Literal["modern", "paper"]
"""How closely the network follows the paper."""


@register_model(
    family="lenet",
    summary="LeNet-5: three convolutions and two poolings for 32x32 images of characters",
    paper=Paper(
        title="Gradient-Based Learning Applied to Document Recognition",
        authors="LeCun, Bottou, Bengio, Haffner",
        year=1998,
        url="https://doi.org/10.1109/5.726791",
    ),
    input_shape=(32, 32, 1),
    trainable_params=145_856,
    macs=499_680,
    features={
        "stride1": Feature("c1", (28, 28, 6)),
        "stride2": Feature("c3", (10, 10, 16)),
        "stride4": Feature("c5", (1, 1, 120)),
    },
    min_size=32,  # leaves 5x5 for the last convolution's kernel
    recipe_settings={
        "default": {
            "optimizer.clipnorm": 1.0,  # the paper's outputs are squares, which are steep far from a code
            "epochs": 600,  # each takes about a second
            "precision": "float32",  # layers of a few channels are no faster in bfloat16
            "augmentation.rotation": 0.0,
            "mixing.cutmix": 1.0,
            "mixing.since": 0.0,
            "photos.size": 48,
            "photos.decode_size": 64,
        }
    },
)
def lenet5(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    variant: Variant = "modern",
    kernel_initializer: Initializer = "glorot_uniform",
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build LeNet-5 (LeCun et al. 1998, section II.B and figure 2).

    Both variants have the layers C1, S2, C3, S4, C5 and F6 with the paper's sizes. They differ as follows:

    ==================== ============================ =====================================================
    layer                ``"modern"``                 ``"paper"``
    ==================== ============================ =====================================================
    activation           tanh                         1.7159 tanh(2/3 x)
    S2, S4               average pooling              sum of 2x2, trainable factor and bias, activation
    C3                   each map sees all of S2      each map sees three, four or all six maps of S2 (table I)
    ``predictions``      dense                        minus the squared distances from fixed codes (RBF units)
    trainable parameters 61,706 with 10 classes       60,000 with any number of classes
    ==================== ============================ =====================================================

    The paper's codes are 7x12 pixel pictures of the characters. Here they are random, as the paper suggests where such
    pictures do not exist. With softmax and cross-entropy over the negative distances, the loss is equation (9) of the
    paper without the constant j.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 32. The paper has one channel.
        num_classes: number of outputs.
        variant: ``"modern"`` or ``"paper"``.
        kernel_initializer: Keras initializer of all kernels.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits, which in the ``"paper"`` variant
            are the paper's outputs with the sign changed.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Raises:
        UsageError: ``variant`` is not one of the two.
    """
    variants = get_args(Variant)
    if variant not in variants:
        hint = suggestion(str(variant), variants)
        raise UsageError(f"variant of lenet5 must be 'modern' or 'paper'; got {variant!r}.{hint}")
    from . import _network

    build = _network.lenet5_paper if variant == "paper" else _network.lenet5
    return build(
        input_shape,
        num_classes,
        kernel_initializer=kernel_initializer,
        classifier_activation=classifier_activation,
    )
