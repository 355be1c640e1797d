"""Objects that settings name: whatever their modules do is one line, and ends nothing in silence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry.errors import UsageError
from cnn_registry.system.objects import called, named_object

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

MODULES = {
    "leaving": "import sys\nsys.exit(0)\n",
    "speaking": "print('hello')\ndef loss(): print('made')\n",
    "refusing": "def __getattr__(name): raise ValueError(name)\n",
    "tidying": "import sys\nsys.path[:] = [p for p in sys.path if 'site-packages' in p or 'python3' in p]\nloss = 3\n",
    "ending": "def loss(): raise SystemExit(0)\n",
}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("leaving:loss", "cannot be imported: SystemExit: 0"),
        ("refusing:loss", "cannot be used: ValueError: loss"),
        ("speaking:lossy", "has no 'lossy' for the loss. Did you mean 'loss'"),
        ("nowhere:loss", "There is no module 'nowhere'"),
    ],
)
def test_a_module_that_cannot_be_used_is_one_line(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        named_object(name, "the loss")


def test_a_module_may_change_the_path() -> None:
    assert named_object("tidying:loss", "the loss") == 3


def test_what_is_printed_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    called(named_object("speaking:loss", "the loss"), "The loss")
    assert capsys.readouterr() == ("", "hello\nmade\n")


def test_an_object_that_ends_the_program_does_not() -> None:
    with pytest.raises(UsageError, match="The loss cannot be made by loss: SystemExit: 0"):
        called(named_object("ending:loss", "the loss"), "The loss")


def test_the_command_line_does_not_end_in_silence(cnnreg: Cnnreg) -> None:
    ended = cnnreg("train", "lenet5", "--dataset", "digits", "--set", "loss=leaving:loss", "--dry-run")
    assert ended.code != 0
    assert ended.err.startswith("Error: ")
