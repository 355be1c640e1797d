"""BN-Inception for ``cnn_registry``. This module declares the model; Keras is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry import Feature, Paper, register_model

if TYPE_CHECKING:
    import keras


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
        # The paper needs no dropout on a million images (section 4.2.1); a few thousand are soon learnt by heart.
        "default": {"model.dropout": 0.2},
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
        input_shape: ``(height, width, channels)``; any size, best from 64 pixels on (the last maps are 32 times
            smaller).
        num_classes: number of outputs.
        variant: how each convolution is made. ``"paper"``: without a bias, normalised, then activated; He
            initialisation; moving statistics with momentum 0.9. ``"article"``: with a bias, activated, then
            normalised; Glorot initialisation; momentum 0.99. It trains only at very low learning rates.
        dropout: fraction of the classifier's inputs that training drops; neither variant has it of its own.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model from ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Raises:
        UsageError: ``variant`` is neither of the two.
    """
    from ._network import build

    return build(
        input_shape,
        num_classes,
        variant=variant,
        dropout=dropout,
        classifier_activation=classifier_activation,
    )
