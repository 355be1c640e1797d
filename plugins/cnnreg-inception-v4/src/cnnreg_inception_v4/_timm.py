"""The names of the layers of Inception-v4 and Inception-ResNet-v2 in timm.

There, the branches and the convolutions in them are counted from 0, and a branch of one convolution has no count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Lengths = Sequence[int]
"""The number of convolutions in each branch of a block."""


def inception_v4_names() -> dict[str, str]:
    """timm's names of Inception-v4 by ours."""
    convolutions = {
        **{f"stem_conv{number}": f"features.{number - 1}" for number in range(1, 4)},
        "stem_conv4": "features.3.conv",
        **{f"stem_branch1_conv{number}": f"features.4.branch0.{number - 1}" for number in range(1, 3)},
        **{f"stem_branch2_conv{number}": f"features.4.branch1.{number - 1}" for number in range(1, 5)},
        "stem_conv5": "features.5.conv",
    }
    place = 6
    for letter, blocks, lengths, reduction in (("a", 4, (1, 2, 3), (1, 3)), ("b", 7, (1, 3, 5), (2, 4))):
        for number in range(1, blocks + 1):
            ours, theirs = f"inception_{letter}{number}", f"features.{place}"
            convolutions |= _branches(ours, theirs, lengths) | {f"{ours}_pool_proj": f"{theirs}.branch3.1"}
            place += 1
        convolutions |= _branches(f"reduction_{letter}", f"features.{place}", reduction)
        place += 1
    for number in range(1, 4):
        convolutions |= _forked(f"inception_c{number}", f"features.{place}")
        place += 1
    return _with_normalisations(convolutions) | {"predictions": "last_linear"}


def inception_resnet_v2_names() -> dict[str, str]:
    """timm's names of Inception-ResNet-v2 by ours."""
    stem = ("conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a")
    convolutions = {f"stem_conv{number}": theirs for number, theirs in enumerate(stem, start=1)}
    convolutions |= _branches("stem_inception", "mixed_5b", (1, 2, 3))
    convolutions |= {"stem_inception_pool_proj": "mixed_5b.branch3.1", "final_conv": "conv2d_7b"}
    convolutions |= _branches("reduction_a", "mixed_6a", (1, 3)) | _branches("reduction_b", "mixed_7a", (2, 2, 3))
    names = {"predictions": "classif"}
    for letter, group, blocks, lengths in (
        ("a", "repeat", 10, (1, 2, 3)),
        ("b", "repeat_1", 20, (1, 3)),
        ("c", "repeat_2", 10, (1, 3)),
    ):
        for number in range(1, blocks + 1):
            is_last = (letter, number) == ("c", 10)
            ours, theirs = f"inception_resnet_{letter}{number}", "block8" if is_last else f"{group}.{number - 1}"
            convolutions |= _branches(ours, theirs, lengths)
            names[f"{ours}_up"] = f"{theirs}.conv2d"
    return _with_normalisations(convolutions) | names


def _branches(ours: str, theirs: str, lengths: Lengths) -> dict[str, str]:
    return {
        f"{ours}_branch{branch + 1}_conv{conv + 1}": f"{theirs}.branch{branch}" + (f".{conv}" if length > 1 else "")
        for branch, length in enumerate(lengths)
        for conv in range(length)
    }


def _forked(ours: str, theirs: str) -> dict[str, str]:
    """The convolutions of a block of figure 6, two of whose branches fork at the end."""
    forks = {"1x3": "a", "3x1": "b"}
    return {
        f"{ours}_branch1_conv1": f"{theirs}.branch0",
        f"{ours}_branch2_conv1": f"{theirs}.branch1_0",
        **{f"{ours}_branch2_{part}": f"{theirs}.branch1_1{letter}" for part, letter in forks.items()},
        **{f"{ours}_branch3_conv{number}": f"{theirs}.branch2_{number - 1}" for number in range(1, 4)},
        **{f"{ours}_branch3_{part}": f"{theirs}.branch2_3{letter}" for part, letter in forks.items()},
        f"{ours}_pool_proj": f"{theirs}.branch3.1",
    }


def _with_normalisations(convolutions: Mapping[str, str]) -> dict[str, str]:
    return {
        name: f"{theirs}.{part}"
        for ours, theirs in convolutions.items()
        for name, part in ((ours, "conv"), (f"{ours}_bn", "bn"))
    }
