"""Declares the image classifiers of keras-hub for ``cnn_registry``. Keras is imported only when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry import Feature, Paper, Pretrained, register_model

from ._presets import PRESETS

if TYPE_CHECKING:
    import keras

__all__ = ["keras_hub"]

IMAGENET = "keras.applications.imagenet_utils:decode_predictions"
"""Where the names of the classes are."""


@register_model(
    family="keras_hub",
    summary="Any image classification preset of keras-hub, by the option preset",
    paper=Paper(
        title="Deep Residual Learning for Image Recognition",
        authors="He, Zhang, Ren, Sun",
        year=2015,
        url="https://arxiv.org/abs/1512.03385",
    ),
    trainable_params=11_689_512,
    non_trainable_params=9_600,
    macs=1_814_073_344,
    min_size=32,
    features={"last": Feature("features", (7, 7, 512))},
    weights={
        f"keras_hub:{preset}": Pretrained(
            f"{__name__}._trained:{preset}", names=dict, pixels="unit", options={"preset": preset}, classes=IMAGENET
        )
        for preset in PRESETS
    },
)
def keras_hub(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    preset: str = "resnet_18_imagenet",
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build the classifier of a preset of keras-hub, with random weights.

    It begins with the scaling of the preset's own preprocessor, so that it takes pixels from 0 to 1, whatever the
    preset was trained with. The form of the default preset is in this package. That of another built-in one is
    downloaded by keras-hub, once; a line says so.

    Args:
        input_shape: ``(height, width, channels)``.
        num_classes: number of outputs.
        preset: the name of a preset of keras-hub, or a folder that ``save_to_preset`` wrote.
        classifier_activation: Keras activation of the outputs; ``None`` gives logits.

    Returns:
        A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Raises:
        UsageError: there is no such preset.
        DownloadError: the preset could not be downloaded.
    """
    from ._network import build

    return build(preset, input_shape, num_classes, classifier_activation=classifier_activation)
