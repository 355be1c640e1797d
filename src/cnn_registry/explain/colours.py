"""Maps as colours over pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cnn_registry.data.dataset import Bytes

COLOURS = np.array(
    [
        [48, 18, 59],
        [70, 107, 227],
        [40, 187, 235],
        [50, 242, 152],
        [164, 252, 60],
        [238, 207, 58],
        [251, 126, 33],
        [208, 47, 5],
        [122, 4, 3],
    ],
    np.float32,
)
"""Colours from 0 to 1 in equal steps: Google's Turbo, from blue by green and yellow to red."""

OPACITY = 0.5


def overlay(picture: Bytes, weights: np.ndarray) -> Bytes:
    """A picture with a map over it: blue where nothing speaks for the class, red where most does.

    Args:
        picture: uint8 RGB ``(height, width, 3)`` of any size.
        weights: a map ``(h, w)``, 0 or more; it is stretched over the picture and scaled to its own maximum.

    Returns:
        uint8 RGB ``(height, width, 3)``.
    """
    height, width, _ = picture.shape
    stretched = Image.fromarray(weights.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    shares = np.clip(np.asarray(stretched) / max(float(weights.max()), 1e-30), 0, 1)
    places = np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(shares, places, channel) for channel in COLOURS.T], axis=-1)
    return np.asarray(np.round(picture * (1 - OPACITY) + colours * OPACITY), np.uint8)
