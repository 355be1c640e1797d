"""The names of GoogLeNet's layers in torchvision."""

from __future__ import annotations

BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")

STEM = {"conv1": "conv1", "conv2_reduce": "conv2", "conv2": "conv3"}
PARTS = {
    "1x1": "branch1",
    "3x3_reduce": "branch2.0",
    "3x3": "branch2.1",
    "5x5_reduce": "branch3.0",
    "5x5": "branch3.1",
    "pool_proj": "branch4.1",
}


def torchvision_names() -> dict[str, str]:
    """torchvision's names by those of ``inception_v1_bn``, the auxiliary heads included."""
    names = {"predictions": "fc"}
    for head in ("aux1", "aux2"):
        names |= {f"{head}_fc": f"{head}.fc1", head: f"{head}.fc2"}
    inner = {
        f"inception_{block}_{part}": f"inception{block}.{theirs}" for block in BLOCKS for part, theirs in PARTS.items()
    }
    for conv, theirs in {**STEM, **inner, "aux1_conv": "aux1.conv", "aux2_conv": "aux2.conv"}.items():
        names |= {conv: f"{theirs}.conv", f"{conv}_bn": f"{theirs}.bn"}
    return names
