from __future__ import annotations

import pytest

from cnn_registry.system.times import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), (" 0.5 h ", 1800), ("1m 5s", 65)]
)
def test_times_have_units(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30 min", "-5m", "0s", "1d", "1e3s", "5m later", "1s" * 40])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="for instance 90s, 30m or 2h"):
        seconds_of(text)
