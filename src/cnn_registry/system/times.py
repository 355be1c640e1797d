"""Times as people write them: ``90s``, ``30m``, ``1h30m``."""

from __future__ import annotations

import re

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
"""Seconds of each unit."""

_PART = r"(\d+(?:\.\d+)?)\s*([smh])"


def seconds_of(text: str) -> float:
    """The seconds of a time.

    >>> seconds_of("90s"), seconds_of("1h30m"), seconds_of("0.5 h")
    (90.0, 5400.0, 1800.0)

    Raises:
        ValueError: it has another form, or is 0.
    """
    parts = re.findall(_PART, text)
    if not re.fullmatch(rf"(?:{_PART}\s*)+", text.strip()) or len(text) > 50:
        raise ValueError("expected a time in seconds, minutes or hours, for instance 90s, 30m or 2h")
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not seconds:
        raise ValueError("expected a time above 0, for instance 90s, 30m or 2h")
    return seconds
