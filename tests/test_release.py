"""What ``make release-check`` finds, and the workflows that release."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.scripts import script

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
    return script("release.check")


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


def test_changes_are_collected_into_the_changelog(check: ModuleType, tmp_path: Path) -> None:
    for name in ("pyproject.toml", "CHANGELOG.md", "changelog.d/template.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    before = (tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")
    folder = tmp_path / "changelog.d"
    assert check.fragment_faults(folder, "0.1.0") == []
    (folder / "+one.added.md").write_text("The first of two changes, in\ntwo lines.\n")
    (folder / "+two.fixed.md").write_text("The second.\n")
    [fault] = check.fragment_faults(folder, "0.1.0")
    assert fault == "changelog.d has 2, beginning with 'The first of two changes, in'; run: make changelog"
    command = [sys.executable, "-m", "towncrier", "build", "--yes", "--version", "0.1.0", "--dir", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    collected = "- The first of two changes, in\n  two lines.\n- The second.\n"
    after = (tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")
    assert after.replace(collected, "", 1) == before
    assert after.index("## 0.1.0") < after.index(collected)
    assert [file.name for file in folder.iterdir()] == ["template.md"]


def test_no_change_waits_with_a_wrong_name() -> None:
    names = [file.name for file in (ROOT / "changelog.d").iterdir() if file.name != "template.md"]
    assert all(re.fullmatch(r"\+[a-z0-9-]+\.(added|changed|fixed|removed)\.md", name) for name in names), names


def test_combinations_are_resolved_installed_and_reported(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix = check.matrix
    here = "{}.{}".format(*sys.version_info)
    pins = ("keras==3.15.1", "numpy==2.0.0", "six==1.0")

    def resolved(combination: Any, folder: Path) -> Any:
        return matrix.Resolution((), "no wheels") if combination.python == "3.14" else matrix.Resolution(pins, "")

    monkeypatch.setattr(matrix, "resolve", resolved)
    monkeypatch.setattr(matrix, "interpreter", lambda python: sys.executable if python == "3.11" else None)
    monkeypatch.setattr(matrix, "install", lambda *given: [])
    monkeypatch.setattr(matrix, "trial_faults", lambda python, workplace: ["no"] if "oldest" in str(python) else [])
    assert matrix.check([], tmp_path, lambda python: [], check.report) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "FAILED   Python 3.11 with the oldest versions: keras 3.15.1, numpy 2.0.0: no"
    assert lines[1] == "ok       Python 3.11 with the newest versions: keras 3.15.1, numpy 2.0.0"
    assert lines[2].endswith("it resolves; this Python is not here, so nothing was installed")
    assert lines[-1] == "SKIPPED  Python 3.14 with the newest versions: no wheels"
    monkeypatch.undo()
    assert matrix.interpreter("2.0") is None
    assert matrix.interpreter(here) is None or here in subprocess.check_output(
        [matrix.interpreter(here), "-V"], text=True
    )


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
    assert [step["run"] for step in workflows["ci"]["jobs"]["checks"]["steps"] if "run" in step] == [".ci/run"]
    # YAML reads the key "on" as true.
    assert workflows["keras-prerelease"][True]["schedule"] == [{"cron": "17 4 * * 1"}]
    for path in ROOT.glob(".github/workflows/*.yml"):
        assert "secrets." not in path.read_text(encoding="utf-8")
