"""Charts as coordinates, which a template writes as SVG: sharp at any size, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .measures import Bin

WIDTH, HEIGHT = 400.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 14.0, 38.0
"""Margins around the axes, for their labels."""


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        label: in the legend.
        path: of an SVG.
        style: the name of its colour.
        point: its only point; ``None`` of a curve with several.
    """

    label: str
    path: str
    style: str
    point: tuple[float, float] | None


@dataclass(frozen=True)
class Rectangle:
    """A rectangle.

    Attributes:
        x, y, width, height: its place.
        weight: its opacity.
        title: what it shows, for people to read.
    """

    x: float
    y: float
    width: float
    height: float
    weight: float
    title: str


@dataclass(frozen=True)
class Mark:
    """A ring around a point, and what is there."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """What the template draws.

    Attributes:
        title: what it shows, in one line.
        x_label, y_label: of the axes.
        x_ticks, y_ticks: see there.
        lines, bars, marks: see there.
    """

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    bars: tuple[Rectangle, ...] = ()
    marks: tuple[Mark, ...] = ()

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM


@dataclass(frozen=True)
class Curve:
    """Values by epoch, from the first; NaN leaves a gap."""

    label: str
    values: Sequence[float]
    style: str


def curves(
    title: str, label: str, given: Sequence[Curve], *, limits: tuple[float, float], best: int | None = None
) -> Chart:
    """Values by epoch.

    Args:
        title: what they are of.
        label: of the vertical axis.
        given: the curves, the one that is marked last.
        limits: the ends of the vertical axis. Larger values are cut off.
        best: the epoch that is marked on the last curve, from 1.
    """
    epochs = max(len(curve.values) for curve in given)
    bottom, top = limits
    x, y = _scale(1, max(epochs, 2), LEFT, WIDTH - RIGHT), _scale(bottom, top, HEIGHT - BOTTOM, TOP)
    if epochs == 1:
        x = _scale(0, 2, LEFT, WIDTH - RIGHT)

    def line(curve: Curve) -> Line:
        places = [(x(epoch), y(min(value, top))) for epoch, value in enumerate(curve.values, start=1)]
        return Line(curve.label, _path(places), curve.style, places[0] if len(places) == 1 else None)

    marks: tuple[Mark, ...] = ()
    if best is not None and math.isfinite(value := given[-1].values[best - 1]):
        marks = (Mark(x(best), y(min(value, top)), f"best epoch ({best}): {value:.4g}"),)
    epoch_ticks = [1.0] if epochs == 1 else [tick for tick in _round_numbers(1, epochs, 6) if tick == int(tick)]
    return Chart(
        title,
        "epoch",
        label,
        tuple(Tick(x(tick), f"{tick:.0f}") for tick in epoch_ticks),
        tuple(Tick(y(tick), f"{tick:g}") for tick in _round_numbers(bottom, top, 5)),
        tuple(map(line, given)),
        marks=marks,
    )


def reliability(bins: Sequence[Bin]) -> Chart:
    """Accuracy by confidence, with the diagonal on which both are the same."""
    x, y = _scale(0, 1, LEFT, WIDTH - RIGHT), _scale(0, 1, HEIGHT - BOTTOM, TOP)
    step, most = 1 / len(bins), max(found.images for found in bins) or 1
    bars = tuple(
        Rectangle(
            round(x(number * step) + 1, 1),
            round(y(found.accuracy), 1),
            round(x(step) - x(0) - 2, 1),
            round(y(0) - y(found.accuracy), 1),
            0.3 + 0.7 * (found.images / most) ** 0.5,
            f"confidence {number * step:.0%} to {(number + 1) * step:.0%}: {found.images} images, mean confidence "
            f"{found.confidence:.1%}, accuracy {found.accuracy:.1%}",
        )
        for number, found in enumerate(bins)
        if found.images
    )
    shares = [number / 5 for number in range(6)]
    diagonal = _path([(x(0), y(0)), (x(1), y(1))])
    return Chart(
        "Accuracy by confidence",
        "confidence",
        "accuracy",
        tuple(Tick(x(share), f"{share:.0%}") for share in shares),
        tuple(Tick(y(share), f"{share:.0%}") for share in shares),
        (Line("perfect calibration", diagonal, "diagonal", None),),
        bars,
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From values to places."""
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _path(places: Sequence[tuple[float, float]]) -> str:
    """An SVG path through places, with a gap where one is not finite."""
    parts, draws = [], False
    for x, y in places:
        if math.isfinite(y):
            parts.append(f"{'L' if draws else 'M'}{x:.1f} {y:.1f}")
        draws = math.isfinite(y)
    return " ".join(parts)


def _round_numbers(low: float, high: float, about: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, between ``low`` and ``high``."""
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
