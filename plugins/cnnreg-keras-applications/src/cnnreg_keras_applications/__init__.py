"""Declares the classifiers of ``keras.applications`` for ``cnn_registry``. Keras is imported only when one is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cnn_registry import Feature, Pretrained, register_model

from ._families import FAMILIES
from ._table import TABLE, Row

if TYPE_CHECKING:
    import keras

IMAGENET = "keras.applications.imagenet_utils:decode_predictions"
"""Where the names of the classes are."""

ELSEWHERE = ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19")
"""Networks whose names in lower case are models of cnnreg-resnet and cnnreg-vgg."""


def model_name(constructor: str) -> str:
    """The model's name: Keras' name in lower case, after ``keras_`` where another package has that name."""
    return f"keras_{constructor.lower()}" if constructor in ELSEWHERE else constructor.lower()


def _declare(constructor: str, row: Row) -> Callable[..., keras.Model]:
    """Declare one network."""
    family = FAMILIES[constructor]

    def build(
        input_shape: tuple[int, int, int],
        num_classes: int,
        *,
        classifier_activation: str | None = "softmax",
    ) -> keras.Model:
        """Build the network of ``keras.applications`` that the function is named after.

        It is Keras' own, without the rescaling layers that some of these networks begin with: the recipe's ``pixels``
        choose the range of the images. Layers that Keras numbers are numbered from the network's first.

        Args:
            input_shape: ``(height, width, channels)``.
            num_classes: number of outputs.
            classifier_activation: Keras activation of the outputs; ``None`` gives logits.

        Returns:
            A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
        """
        from ._network import build as build_network

        return build_network(
            constructor,
            input_shape,
            num_classes,
            classifier_activation=classifier_activation,
            name=build.__name__,
        )

    build.__name__ = build.__qualname__ = model_name(constructor)
    return register_model(
        family=family.name,
        summary=f"{constructor} of keras.applications",
        paper=family.paper,
        input_shape=(row.edge, row.edge, 3),
        min_size=family.min_size,
        trainable_params=row.trainable_params,
        non_trainable_params=row.non_trainable_params,
        macs=row.macs,
        features={f"stride{stride}": Feature(*feature) for stride, feature in row.features.items()},
        aliases=(constructor.lower(),) if constructor in ELSEWHERE else (),
        weights={
            "keras:imagenet": Pretrained(
                f"{__name__}._trained:{constructor}", names=dict, pixels=family.pixels, classes=IMAGENET
            )
        },
    )(build)


globals().update({model_name(constructor): _declare(constructor, row) for constructor, row in TABLE.items()})
