"""The names of Inception-ResNet-v2's layers in ``keras.applications``.

Keras numbers most convolutions in the order in which it makes them (``conv2d``, ``conv2d_1``, ...), and their
normalisations likewise.
"""

from __future__ import annotations

BLOCKS = {"a": ("block35", 10), "b": ("block17", 20), "c": ("block8", 10)}
"""Keras' prefix in the name of a residual block's last convolution, and the number of blocks."""


def keras_names() -> dict[str, str]:
    """Keras' names by ours."""
    names = {"final_conv": "conv_7b", "final_conv_bn": "conv_7b_bn", "predictions": "predictions"}
    for number, conv in enumerate(_numbered()):
        suffix = f"_{number}" if number else ""
        names |= {conv: f"conv2d{suffix}", f"{conv}_bn": f"batch_normalization{suffix}"}
    for letter, (prefix, repeats) in BLOCKS.items():
        for block in range(1, repeats + 1):
            names[f"inception_resnet_{letter}{block}_up"] = f"{prefix}_{block}_conv"
    return names


def _numbered() -> list[str]:
    """Our names of the convolutions that Keras numbers, in Keras' order."""
    return [
        *(f"stem_conv{number}" for number in range(1, 6)),
        *_convolutions("stem_inception", 1, 2, 3),
        "stem_inception_pool_proj",
        *(name for block in range(1, 11) for name in _convolutions(f"inception_resnet_a{block}", 1, 2, 3)),
        *_convolutions("reduction_a", 1, 3),
        *(name for block in range(1, 21) for name in _convolutions(f"inception_resnet_b{block}", 1, 3)),
        *_convolutions("reduction_b", 2, 2, 3),
        *(name for block in range(1, 11) for name in _convolutions(f"inception_resnet_c{block}", 1, 3)),
    ]


def _convolutions(block: str, *branches: int) -> list[str]:
    """The convolutions of a block, given their number in each branch."""
    return [
        f"{block}_branch{branch}_conv{number}"
        for branch, length in enumerate(branches, start=1)
        for number in range(1, length + 1)
    ]
