"""The names of Inception-v3's layers in ``keras.applications`` and in torchvision."""

from __future__ import annotations

BLOCKS = {
    "inception_a1": "Mixed_5b",
    "inception_a2": "Mixed_5c",
    "inception_a3": "Mixed_5d",
    "reduction_a": "Mixed_6a",
    "inception_b1": "Mixed_6b",
    "inception_b2": "Mixed_6c",
    "inception_b3": "Mixed_6d",
    "inception_b4": "Mixed_6e",
    "reduction_b": "Mixed_7a",
    "inception_c1": "Mixed_7b",
    "inception_c2": "Mixed_7c",
}
"""torchvision's names of the blocks by ours."""

PARTS = {
    "inception_a": {
        "1x1": "branch1x1",
        "5x5_reduce": "branch5x5_1",
        "5x5": "branch5x5_2",
        "double3x3_reduce": "branch3x3dbl_1",
        "double3x3_1": "branch3x3dbl_2",
        "double3x3_2": "branch3x3dbl_3",
        "pool_proj": "branch_pool",
    },
    "reduction_a": {
        "3x3": "branch3x3",
        "double3x3_reduce": "branch3x3dbl_1",
        "double3x3_1": "branch3x3dbl_2",
        "double3x3_2": "branch3x3dbl_3",
    },
    "inception_b": {
        "1x1": "branch1x1",
        "7x7_reduce": "branch7x7_1",
        "7x7_1": "branch7x7_2",
        "7x7_2": "branch7x7_3",
        "double7x7_reduce": "branch7x7dbl_1",
        "double7x7_1": "branch7x7dbl_2",
        "double7x7_2": "branch7x7dbl_3",
        "double7x7_3": "branch7x7dbl_4",
        "double7x7_4": "branch7x7dbl_5",
        "pool_proj": "branch_pool",
    },
    "reduction_b": {
        "3x3_reduce": "branch3x3_1",
        "3x3": "branch3x3_2",
        "7x7x3_reduce": "branch7x7x3_1",
        "7x7x3_1": "branch7x7x3_2",
        "7x7x3_2": "branch7x7x3_3",
        "7x7x3_3": "branch7x7x3_4",
    },
    "inception_c": {
        "1x1": "branch1x1",
        "3x3_reduce": "branch3x3_1",
        "3x3_1x3": "branch3x3_2a",
        "3x3_3x1": "branch3x3_2b",
        "double3x3_reduce": "branch3x3dbl_1",
        "double3x3": "branch3x3dbl_2",
        "double3x3_1x3": "branch3x3dbl_3a",
        "double3x3_3x1": "branch3x3dbl_3b",
        "pool_proj": "branch_pool",
    },
}
"""torchvision's names of the convolutions in each kind of block by ours, in the order in which Keras numbers them."""

STEM = {
    "conv1": "Conv2d_1a_3x3",
    "conv2": "Conv2d_2a_3x3",
    "conv3": "Conv2d_2b_3x3",
    "conv4": "Conv2d_3b_1x1",
    "conv5": "Conv2d_4a_3x3",
}
AUX = {"aux_conv1": "AuxLogits.conv0", "aux_conv2": "AuxLogits.conv1"}


def keras_names() -> dict[str, str]:
    """Keras' names by ours; Keras numbers its convolutions, and their normalisations likewise."""
    names = {"predictions": "predictions"}
    for number, conv in enumerate(_convolutions()):
        suffix = f"_{number}" if number else ""
        names |= {conv: f"conv2d{suffix}", f"{conv}_bn": f"batch_normalization{suffix}"}
    return names


def torchvision_names() -> dict[str, str]:
    """torchvision's names by ours, the auxiliary head included."""
    names = {"predictions": "fc", "aux": "AuxLogits.fc"}
    for conv, theirs in (_convolutions() | AUX).items():
        names |= {conv: f"{theirs}.conv", f"{conv}_bn": f"{theirs}.bn"}
    return names


def _convolutions() -> dict[str, str]:
    """torchvision's modules by our convolutions, in Keras' order, without the auxiliary head."""
    inner = {
        f"{block}_{part}": f"{their_block}.{their_part}"
        for block, their_block in BLOCKS.items()
        for part, their_part in PARTS[block.rstrip("0123456789")].items()
    }
    return STEM | inner
