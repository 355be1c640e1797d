"""The names of the ResNets' layers in ``keras.applications`` and in torchvision.

The tables have a shortcut's convolution for the first unit of every stage, even where the network has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def keras_names(units: Sequence[int]) -> dict[str, str]:
    """Keras' names of ResNet V1 by ours; ``units`` has the number of units in each stage."""
    names = {"conv1": "conv1_conv", "conv1_bn": "conv1_bn", "predictions": "predictions"}
    for stage, unit, parts in _units(units, convolutions=3):
        for part in parts:
            ours, theirs = f"stage{stage}_block{unit}_{part}", f"conv{stage + 1}_block{unit}_{_number(part)}"
            names |= {ours: f"{theirs}_conv", f"{ours}_bn": f"{theirs}_bn"}
    return names


def keras_v2_names(units: Sequence[int]) -> dict[str, str]:
    """Keras' names of ResNet V2 by ours."""
    names = {"conv1": "conv1_conv", "post_bn": "post_bn", "predictions": "predictions"}
    for stage, unit, parts in _units(units, convolutions=3):
        block = f"conv{stage + 1}_block{unit}"
        names[f"stage{stage}_block{unit}_preact_bn"] = f"{block}_preact_bn"
        for part in parts:
            ours, theirs = f"stage{stage}_block{unit}_{part}", f"{block}_{_number(part)}"
            names |= {ours: f"{theirs}_conv", f"{ours}_bn": f"{theirs}_bn"}
    return names


def torchvision_names(units: Sequence[int], convolutions: int) -> dict[str, str]:
    """torchvision's names by ours; ``convolutions`` is their number in a unit."""
    names = {"conv1": "conv1", "conv1_bn": "bn1", "predictions": "fc"}
    for stage, unit, parts in _units(units, convolutions):
        block = f"layer{stage}.{unit - 1}"
        for part in parts:
            ours, number = f"stage{stage}_block{unit}_{part}", _number(part)
            names[ours] = f"{block}.conv{number}" if number else f"{block}.downsample.0"
            names[f"{ours}_bn"] = f"{block}.bn{number}" if number else f"{block}.downsample.1"
    return names


def _units(units: Sequence[int], convolutions: int) -> Iterator[tuple[int, int, list[str]]]:
    """The numbers of the stage and of the unit in it, and the unit's convolutions."""
    branch = [f"conv{number}" for number in range(1, convolutions + 1)]
    for stage, count in enumerate(units, start=1):
        for unit in range(1, count + 1):
            yield stage, unit, [*branch, "shortcut"] if unit == 1 else branch


def _number(part: str) -> int:
    """The number of a convolution in its branch; 0 for the shortcut's, as in Keras."""
    return 0 if part == "shortcut" else int(part.removeprefix("conv"))
