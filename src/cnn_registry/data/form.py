"""The form in which a network takes pictures: height, width, channels, and how pictures are fitted to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Resize = Literal["squash", "crop", "letterbox"]
"""How a picture of another shape is fitted.

- ``"squash"``: all of it is resized, so that its shape changes.
- ``"crop"``: it keeps its shape and covers the form; what sticks out at two edges is cut off.
- ``"letterbox"``: it keeps its shape and lies within the form; `FILL` is around it.
"""

Channels = Literal[1, 3, 4]
"""1 for grey, 3 for red, green and blue, 4 for these and alpha."""

MODES: dict[int, str] = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name for each number of channels."""

IN_WORDS: dict[int, str] = {1: "grey", 3: "red, green and blue", 4: "red, green, blue and alpha"}

FILL: dict[int, tuple[int, ...]] = {1: (117,), 3: (124, 116, 104), 4: (124, 116, 104, 0)}
"""What letterbox lays around a picture, by the number of channels: ImageNet's mean colour, rounded, and its grey."""

Decoding = Literal["exact", "reduced"]
"""How images are decoded that are decoded whenever they are read, see `Form.reduced`."""

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Form:
    """The form in which a network takes pictures.

    Attributes:
        height, width: in pixels.
        channels: see `Channels`.
        resize: see `Resize`.
        crop_share: the share of height and width that is cut out of the centre: pictures are fitted to ``height /
            crop_share`` by ``width / crop_share`` pixels first, rounded down.
        reduced: whether a JPEG file may be decoded at 1/2, 1/4 or 1/8 of its size, where that is at least as large as
            the frame in both directions, and images are resized with a shorter filter. It takes less than half the
            time, and changes pixels a little.
    """

    height: int
    width: int
    channels: int = 3
    resize: Resize = "squash"
    crop_share: float = 1.0
    reduced: bool = False

    @classmethod
    def of(cls, size: int | Form) -> Form:
        """The form itself, or that of RGB squares with this edge length."""
        return size if isinstance(size, Form) else cls(size, size)

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.height, self.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of its pixels."""
        return self.height, self.width, self.channels

    @property
    def values(self) -> int:
        """The number of values in one picture, a byte each."""
        return self.height * self.width * self.channels

    @property
    def frame(self) -> Size:
        """Height and width to which pictures are fitted before the centre is cut out."""
        # 0.95 is not exactly representable: without the margin, 95 / 0.95 might be 99.
        return int(self.height / self.crop_share + 1e-6), int(self.width / self.crop_share + 1e-6)

    @property
    def corner(self) -> Size:
        """Where in the frame the part begins that is cut out: its top and its left edge."""
        return round((self.frame[0] - self.height) / 2), round((self.frame[1] - self.width) / 2)

    @property
    def key(self) -> str:
        """What distinguishes it from other forms. That of RGB squares is their edge length, as ever."""
        if self == Form.of(self.height):
            return str(self.height)
        return f"{'x'.join(map(str, self.shape))} {self.resize} {self.crop_share!r}"

    @property
    def exact(self) -> Form:
        """The same form of images that are decoded at their full size."""
        return replace(self, reduced=False)

    def at(self, size: Size) -> Form:
        """The form for training at another size: nothing is cut off but by the augmentation."""
        return replace(self, height=size[0], width=size[1], crop_share=1.0)

    def seen(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Which part of a picture the network sees: left, top, right and bottom as shares of its width and height.

        All of it is 0, 0, 1, 1. With letterbox the part reaches over the edges.

        Args:
            height, width: of the picture.
        """
        factors = self.frame[0] / height, self.frame[1] / width
        if self.resize != "squash":
            factors = ((max if self.resize == "crop" else min)(factors),) * 2
        top, left = (
            (extent - framed / factor) / 2 + corner / factor
            for extent, framed, factor, corner in zip((height, width), self.frame, factors, self.corner, strict=True)
        )
        right, bottom = left + self.width / factors[1], top + self.height / factors[0]
        return left / width, top / height, right / width, bottom / height

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def height_and_width(edge: int | Size) -> Size:
    """Height and width, of a square where only its edge length is given."""
    return (edge, edge) if isinstance(edge, int) else edge


def in_proportion(edge: int | Size, height: int, width: int) -> Size:
    """Height and width in the proportions of others where only the shorter edge is given."""
    if not isinstance(edge, int):
        return edge
    shorter = min(height, width)
    return max(round(edge * height / shorter), 1), max(round(edge * width / shorter), 1)
