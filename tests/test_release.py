"""What ``make release-check`` finds, and the workflows that release."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
METADATA = """\
Metadata-Version: 2.4
Name: cnnreg-fake
Version: 0.1.0
License-Expression: Apache-2.0
Description-Content-Type: text/markdown
Requires-Dist: cnn-registry<0.2,>=0.1

Read me
"""
FILES = {
    "cnnreg_fake/__init__.py": "",
    "cnnreg_fake/py.typed": "",
    "cnnreg_fake-0.1.0.dist-info/METADATA": METADATA,
    "cnnreg_fake-0.1.0.dist-info/licenses/LICENSE": "Apache",
}


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_check", ROOT / "release" / "check.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("changes", "version", "faults"),
    [
        ({}, "0.1.0", []),
        ({"cnnreg_fake-0.1.0.dist-info/licenses/LICENSE": None}, "0.1.0", ["no licence file"]),
        ({"cnnreg_fake/py.typed": None}, "0.1.0", ["no py.typed in cnnreg_fake"]),
        ({"tests/test_it.py": ""}, "0.1.0", ["it contains tests/test_it.py"]),
        ({}, "0.2.0", ["it does not accept cnn-registry 0.2.0: cnn-registry<0.2,>=0.1"]),
        (
            {"cnnreg_fake-0.1.0.dist-info/METADATA": METADATA.replace("Apache-2.0", "MIT")},
            "0.1.0",
            ["licence 'MIT'"],
        ),
    ],
)
def test_what_is_wrong_with_a_wheel(
    check: ModuleType, tmp_path: Path, changes: dict[str, str | None], version: str, faults: list[str]
) -> None:
    wheel = tmp_path / "cnnreg_fake-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (FILES | changes).items():
            if text is not None:
                archive.writestr(name, text)
    assert list(check.wheel_faults(wheel, version)) == faults


def test_a_package_is_built_with_all_that_is_needed(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "OUT", tmp_path)
    assert check.build(ROOT / "plugins" / "cnnreg-lenet") == []
    [wheel], [sdist] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    assert list(check.wheel_faults(wheel, "0.1.0")) == list(check.sdist_faults(sdist)) == []


def test_the_changelog_begins_with_the_version(check: ModuleType) -> None:
    text = "# Changes\n\n## 0.2.0 (unreleased)\n\n- New\n\n## 0.1.0\n"
    assert check.changelog_faults(text, "0.2.0") == []
    assert check.changelog_faults(text, "0.3.0") == ["its newest entry is 0.2.0, the version is 0.3.0"]


def test_every_package_has_the_licence() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    folders = [path.parent for path in ROOT.glob("plugins/*/pyproject.toml")]
    assert len(folders) >= 10
    assert all((folder / "LICENSE").read_text(encoding="utf-8") == text for folder in folders)


def test_the_workflows_are_valid_and_hold_no_secrets() -> None:
    yaml = pytest.importorskip("yaml")
    workflows: dict[str, Any] = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob(".github/workflows/*.yml")
    }
    publish = workflows["release"]["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["needs"] == "build"
    assert publish["steps"][-1]["uses"].startswith("pypa/gh-action-pypi-publish@")
    # YAML reads the key "on" as true.
    assert workflows["keras-prerelease"][True]["schedule"] == [{"cron": "17 4 * * 1"}]
    for path in ROOT.glob(".github/workflows/*.yml"):
        assert "secrets." not in path.read_text(encoding="utf-8")
