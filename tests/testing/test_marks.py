"""The checks as pytest's tests, in a session of pytest's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cnn_registry.errors import UsageError
from cnn_registry.testing import parametrize_with_checks

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

TEST = """
from cnn_registry.testing import parametrize_with_checks

@parametrize_with_checks(["tiny"], expected_failures={expected!r})
def test_conformance(check):
    check()
"""


def outcomes(run_python: Any, folder: Path, expected: dict[str, dict[str, str]], select: str) -> dict[str, str]:
    """How the tests that ``-k`` selects end, by their ids."""
    (folder / "test_it.py").write_text(TEST.format(expected=expected))
    done = run_python("-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", select, str(folder))
    return dict(re.findall(r"test_conformance\[(\S+)\] ([A-Z]+)", done.stdout))


def test_ids_skips_and_failures(tiny: str, run_python: Any, tmp_path: Path) -> None:
    found = outcomes(run_python, tmp_path, {}, "tiny-spec or tiny-macs or tiny-names")
    # Its layers have no names, and it declares no MACs.
    assert found == {"tiny-spec": "PASSED", "tiny-macs": "SKIPPED", "tiny-names": "FAILED"}


def test_expected_failures_are_strict(tiny: str, run_python: Any, tmp_path: Path) -> None:
    expected = {"tiny": {"names": "numbered by Keras", "spec": "passes in truth"}}
    found = outcomes(run_python, tmp_path, expected, "tiny-spec or tiny-names")
    assert found == {"tiny-spec": "FAILED", "tiny-names": "XFAIL"}


def test_a_misspelt_expectation_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is no check 'gradient' of 'net'\. Did you mean 'net-gradients'"):
        parametrize_with_checks(["net"], expected_failures={"net": {"gradient": "none"}})


def test_collecting_imports_neither_keras_nor_a_plugin(plugins: FakePlugins, run_python: Any) -> None:
    code = (
        "import sys; from cnn_registry.testing import parametrize_with_checks; assert 'pytest' not in sys.modules; "
        "parametrize_with_checks(['light']); print(sorted({'keras', 'tensorflow', 'fake_light'} & sys.modules.keys()))"
    )
    plugins.install("fake-light", "light")
    done = run_python("-c", code)
    assert done.stdout == "[]\n", done.stderr
