"""The names of the VGGs' layers in ``keras.applications``, in torchvision and in timm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

DENSE_KERAS = {"fc6": "fc1", "fc7": "fc2", "predictions": "predictions"}
DENSE_TIMM = {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2", "predictions": "head.fc"}
DENSE_TORCHVISION = {"fc6": "classifier.0", "fc7": "classifier.3", "predictions": "classifier.6"}


def keras_names(convolutions: Sequence[int]) -> dict[str, str]:
    """Keras' names by ours; ``convolutions`` has the number of convolutions in each block."""
    return {name: name for block in _blocks(convolutions) for name in block} | DENSE_KERAS


def torchvision_names(convolutions: Sequence[int], batch_norm: bool) -> dict[str, str]:
    """torchvision's names by ours; torchvision counts every convolution, normalisation, ReLU and pooling."""
    names, position = {}, 0
    for block in _blocks(convolutions):
        for name in block:
            names[name] = f"features.{position}"
            if batch_norm:
                names[f"{name}_bn"] = f"features.{position + 1}"
            position += 3 if batch_norm else 2
        position += 1
    return names | DENSE_TORCHVISION


def timm_names(convolutions: Sequence[int], batch_norm: bool) -> dict[str, str]:
    """timm's names by ours: torchvision's, but its dense layers are convolutions of other names."""
    return torchvision_names(convolutions, batch_norm) | DENSE_TIMM


def _blocks(convolutions: Sequence[int]) -> Iterator[list[str]]:
    for block, count in enumerate(convolutions, start=1):
        yield [f"block{block}_conv{number}" for number in range(1, count + 1)]
