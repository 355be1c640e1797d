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


WHOLE = (0.0, 0.0, 1.0, 1.0)
"""All of a picture, as `cnn_registry.data.form.Form.seen` has it."""


def overlay(picture: Bytes, weights: np.ndarray, seen: tuple[float, float, float, float] = WHOLE) -> Bytes:
    """A picture with a map over it: blue where nothing speaks for the class, red where most does.

    Args:
        picture: uint8 RGB ``(height, width, 3)`` of any size.
        weights: a map ``(h, w)``, 0 or more; it is stretched over what the network saw and scaled to its own maximum.
        seen: which part of the picture the network saw: left, top, right and bottom as shares of its width and height,
            which may reach over its edges. The rest stays as it is. Default all of it.

    Returns:
        uint8 RGB ``(height, width, 3)``.
    """
    height, width, _ = picture.shape
    left, top, right, bottom = (round(share * edge) for share, edge in zip(seen, (width, height) * 2, strict=True))
    size = max(right - left, 1), max(bottom - top, 1)
    map_of_seen = Image.fromarray(weights.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    stretched = map_of_seen.crop((-left, -top, width - left, height - top))
    shares = np.clip(np.asarray(stretched) / max(float(weights.max()), 1e-30), 0, 1)
    places = np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(shares, places, channel) for channel in COLOURS.T], axis=-1)
    drawn = np.asarray(np.round(picture * (1 - OPACITY) + colours * OPACITY), np.uint8)
    unseen = np.ones((height, width, 1), bool)
    unseen[max(top, 0) : bottom, max(left, 0) : right] = False
    return np.where(unseen, picture, drawn)
