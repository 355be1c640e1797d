from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

from cnn_registry.system.callers import warn_caller, warned_once


def test_a_warning_points_at_the_nearest_line_outside_the_package() -> None:
    inside = {"__name__": "cnn_registry.deep.inside", "warn_caller": warn_caller}
    exec("def one(): warn_caller('look', FutureWarning)\ndef two(): one()\ndef three(): two()", inside)
    with pytest.warns(FutureWarning, match="look") as caught:
        inside["three"]()  # type: ignore[operator]
    assert Path(caught[0].filename) == Path(__file__)
    assert "three" in Path(__file__).read_text().splitlines()[caught[0].lineno - 1]


def test_a_warning_within_a_context_manager_points_at_whoever_enters_it() -> None:
    inside = {"__name__": "cnn_registry.deep.inside", "warn_caller": warn_caller, "contextmanager": contextmanager}
    exec(
        "@contextmanager\ndef block():\n    warn_caller('look', FutureWarning)\n    yield\n"
        "def work():\n    with block(): pass",
        inside,
    )
    with pytest.warns(FutureWarning, match="look") as caught:
        inside["work"]()  # type: ignore[operator]
    assert Path(caught[0].filename) == Path(__file__)


def test_a_package_of_a_similar_name_is_outside() -> None:
    similar = {"__name__": "cnn_registry_plugins", "warn_caller": warn_caller}
    exec(compile("def one(): warn_caller('look', FutureWarning)", "similar.py", "exec"), similar)
    with pytest.warns(FutureWarning, match="look") as caught:
        similar["one"]()  # type: ignore[operator]
    assert caught[0].filename == "similar.py"


def test_a_message_is_issued_once_within_a_block() -> None:
    def calls() -> None:
        warn_caller("outside", FutureWarning)
        with warned_once(), warned_once():
            for message in ("one", "two", "one"):
                warn_caller(message, FutureWarning)
        warn_caller("outside", FutureWarning)

    with pytest.warns(FutureWarning) as caught:
        calls()
    assert [str(warning.message) for warning in caught] == ["outside", "one", "two", "outside"]
