"""AlexNet for ``cnn_registry``. This module declares the model; Keras is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry import Feature, Paper, register_model

if TYPE_CHECKING:
    import keras


@register_model(
    family="alexnet",
    summary="AlexNet in one tower: five convolutions and three dense layers",
    paper=Paper(
        title="ImageNet Classification with Deep Convolutional Neural Networks",
        authors="Krizhevsky, Sutskever, Hinton",
        year=2012,
        url="https://papers.nips.cc/paper/4824",
    ),
    trainable_params=76_009_832,
    macs=3_235_448_832,
    features={
        "stride4": Feature("conv2", (56, 56, 256)),
        "stride8": Feature("conv3", (28, 28, 384)),
        "stride16": Feature("conv5", (14, 14, 256)),
        "stride32": Feature("pool5", (7, 7, 256)),
    },
    min_size=29,  # the first convolution divides by 4 and rounds up, three poolings by 2 and round down
    recipe_settings={
        # No layer normalises, so the first steps need a lower rate and bounded gradients.
        "default": {"optimizer.learning_rate": 0.02, "optimizer.clipnorm": 5.0},
        "article": {"model.kernel_initializer": "glorot_uniform"},
    },
)
def alexnet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    dropout: float = 0.5,
    kernel_initializer: str = "he_normal",
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build AlexNet.

    Args:
        input_shape: ``(height, width, channels)``, height and width at least 29.
        num_classes: number of outputs.
        dropout: fraction of ``fc6``'s and ``fc7``'s outputs that training drops.
        kernel_initializer: Keras initializer of every layer with a ReLU; the classifier's is ``"glorot_uniform"``.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model from ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
    """
    from ._network import build

    return build(
        input_shape,
        num_classes,
        dropout=dropout,
        kernel_initializer=kernel_initializer,
        classifier_activation=classifier_activation,
    )
