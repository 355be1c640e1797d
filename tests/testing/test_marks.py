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

pytestmark = pytest.mark.slow

TESTS = """
from cnn_registry.testing import parametrize_with_checks

@parametrize_with_checks(["tiny"], only=["spec", "macs", "names"])
def test_plain(check):
    check()

EXPECTED = {"tiny": {"names": "numbered by Keras", "spec": "passes in truth"}}

@parametrize_with_checks(["tiny"], only=["spec", "names"], expected_failures=EXPECTED)
def test_expected(check):
    check()
"""


def test_ids_skips_failures_and_expectations_that_are_strict(tiny: str, run_warm_python: Any, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    done = run_warm_python("-m", "pytest", "-v", "-p", "no:cacheprovider", str(tmp_path))
    # Its layers have no names, and it declares no MACs.
    assert dict(re.findall(r"test_it\.py::(\S+) ([A-Z]+)", done.stdout)) == {
        "test_plain[tiny-spec]": "PASSED",
        "test_plain[tiny-macs]": "SKIPPED",
        "test_plain[tiny-names]": "FAILED",
        "test_expected[tiny-spec]": "FAILED",
        "test_expected[tiny-names]": "XFAIL",
    }


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
