"""Build every package as for a release, and check what would be uploaded. ``make release-check`` runs it.

Prints a line for each check, and exits with 1 if one failed. What needs a network is skipped without one, in a line
that says so.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from email.parser import HeaderParser
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

sys.path.insert(0, str(Path(__file__).parents[1]))
from release import matrix

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "release"
SBOM = OUT / "sbom.cdx.json"
LARGE = ("cnnreg_hf-", "cnnreg_keras_hub-", "cnnreg_tfds-")
"""Wheels whose packages bring large libraries of their own."""

CORE = "cnn-registry"

QUICK_TESTS = (
    "tests/test_text.py",
    "tests/test_errors.py",
    "tests/test_dependencies.py",
    "tests/scaffold/test_names.py",
)
"""Tests of the unpacked source distribution that take seconds."""

OWN_WARNINGS = "default\nerror:::(cnn_registry|cnnreg_|tests)"
"""Filters of the quick tests with other versions than the pinned ones. Old packages deprecate each other; only what our
own lines cause is an error there."""

NO_NETWORK = re.compile(r"ConnectionError|Max retries exceeded|Name or service not known|Failed to resolve|timed out")


def main() -> int:
    """Build, check, and return the exit code."""
    OUT.mkdir(parents=True, exist_ok=True)
    for old in (*OUT.glob("*.whl"), *OUT.glob("*.tar.gz")):
        old.unlink()
    projects = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
    failed = 0
    for project in projects:
        failed += report(f"build {project.name if project != ROOT else CORE}", build(project))
    wheels = sorted(OUT.glob("*.whl"))
    version = core_version(wheels)
    for wheel in wheels:
        failed += report(wheel.name, [*wheel_faults(wheel, version)])
    for sdist in sorted(OUT.glob("*.tar.gz")):
        failed += report(sdist.name, [*sdist_faults(sdist)])
    failed += report("changelog", changelog_faults((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version))
    failed += report("changes that are not in the changelog yet", fragment_faults(ROOT / "changelog.d", version))
    failed += report("twine check", twine_faults())
    failed += report("quick tests from the source distribution", quick_test_faults(sys.executable, own=True))
    failed += combination_faults([wheel for wheel in wheels if not wheel.name.startswith(LARGE)])
    failed += audit()
    print(f"{failed} failed" if failed else f"{len(projects)} packages of version {version} can be released")
    return 1 if failed else 0


def report(what: str, faults: Sequence[str]) -> int:
    """Print how a check ended; returns 1 if there are faults."""
    print(f"FAILED   {what}: {'; '.join(faults)}" if faults else f"ok       {what}", flush=True)
    return int(bool(faults))


def run(*command: object, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command, with what it prints as text."""
    environment = os.environ | variables
    words = list(map(str, command))
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def last_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The end of what a command that failed printed; empty for one that did not."""
    return [] if done.returncode == 0 else [" / ".join((done.stdout + done.stderr).strip().splitlines()[-3:])]


def build(project: Path) -> list[str]:
    """Build the source distribution and the wheel of a package; what went wrong."""
    command = (sys.executable, "-m", "hatchling", "build", "-d", OUT, "-t", "sdist", "-t", "wheel")
    return last_lines(run(*command, cwd=project))


def core_version(wheels: Sequence[Path]) -> str:
    """The version of the core's wheel."""
    [core] = [wheel for wheel in wheels if wheel.name.startswith(f"{CORE.replace('-', '_')}-")]
    return core.name.split("-")[1]


def wheel_faults(wheel: Path, version: str) -> Iterator[str]:
    """What is wrong with a wheel: its licence, its marker of types, its metadata, the core that it asks for.

    Args:
        wheel: the file.
        version: the core's version, which every package must accept.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(metadata).decode())
    if not any(".dist-info/licenses/LICENSE" in name for name in names):
        yield "no licence file"
    if headers["License-Expression"] != "Apache-2.0":
        yield f"licence {headers['License-Expression']!r}"
    if headers["Description-Content-Type"] != "text/markdown":
        yield "no README in its metadata"
    packages = {name.partition("/")[0] for name in names if name.endswith("/__init__.py")}
    if missing := [package for package in sorted(packages) if f"{package}/py.typed" not in names]:
        yield f"no py.typed in {', '.join(missing)}"
    if strange := [name for name in names if name.startswith(("tests/", "docs/")) or name.endswith(".pyc")]:
        yield f"it contains {strange[0]}"
    core = [
        item for item in map(Requirement, headers.get_all("Requires-Dist", [])) if canonicalize_name(item.name) == CORE
    ]
    for requirement in core:
        if not requirement.marker and not requirement.specifier.contains(version, prereleases=True):
            yield f"it does not accept {CORE} {version}: {requirement}"


def sdist_faults(sdist: Path) -> Iterator[str]:
    """What is missing in a source distribution."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in ("LICENSE", "README.md", "pyproject.toml"):
        if wanted not in names:
            yield f"no {wanted}"
    if not any(re.fullmatch(r"tests/(.*/)?test_\w+\.py", name) for name in names):
        yield "no tests"


def changelog_faults(changelog: str, version: str) -> list[str]:
    """What is wrong with the newest entry of the changelog."""
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    if newest is None or newest[1] != version:
        return [f"its newest entry is {newest[1] if newest else 'missing'}, the version is {version}"]
    return []


def fragment_faults(folder: Path, version: str) -> list[str]:
    """What towncrier says against the fragments of a folder; or that there are some, which a release has to collect."""
    command = ("build", "--draft", "--version", version, "--config", ROOT / "pyproject.toml", "--dir", folder.parent)
    if find_spec("towncrier") is None:
        return ["towncrier is not installed: pip install --group dev"]
    done = run(sys.executable, "-m", "towncrier", *command)
    if done.returncode or not (draft := [line for line in done.stdout.splitlines() if line.startswith("- ")]):
        return last_lines(done)
    return [f"changelog.d has {len(draft)}, beginning with {draft[0][2:]!r}; run: make changelog"]


def twine_faults() -> list[str]:
    """What ``twine check`` reports."""
    if find_spec("twine") is None:
        return ["twine is not installed: pip install --group release"]
    return last_lines(
        run(sys.executable, "-m", "twine", "check", "--strict", *OUT.glob("*.whl"), *OUT.glob("*.tar.gz"))
    )


def combination_faults(wheels: Sequence[Path]) -> int:
    """Check what the metadata allows; returns how many combinations failed."""
    if find_spec("uv") is None:
        print("SKIPPED  combinations of versions: uv is not installed: pip install --group release")
        return 0
    with tempfile.TemporaryDirectory(prefix="cnnreg-release-") as name:
        return matrix.check(wheels, Path(name), lambda python: quick_test_faults(python, own=False), report)


def quick_test_faults(python: Path | str, *, own: bool) -> list[str]:
    """How the quick tests of the unpacked source distribution end.

    Args:
        python: what runs them.
        own: whether they import its code; otherwise, what is installed.
    """
    [sdist] = OUT.glob(f"{CORE.replace('-', '_')}-*.tar.gz")
    with tempfile.TemporaryDirectory(prefix="cnnreg-release-") as name:
        with tarfile.open(sdist) as archive:
            archive.extractall(name, filter="data")
        [folder] = Path(name).iterdir()
        warnings = () if own else ("-o", f"filterwarnings={OWN_WARNINGS}")
        command = (python, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *warnings, *QUICK_TESTS)
        return last_lines(run(*command, cwd=folder, PYTHONPATH=str(folder / "src") if own else ""))


def audit() -> int:
    """List the pinned packages (SBOM), and look for known vulnerabilities of them; returns 1 if something failed.

    ``make audit`` does it alone.
    """
    OUT.mkdir(parents=True, exist_ok=True)
    return report(f"SBOM in {SBOM.relative_to(ROOT)}", sbom_faults()) or vulnerabilities()


def sbom_faults() -> list[str]:
    """Write the list of the pinned packages in CycloneDX' form."""
    if find_spec("cyclonedx_py") is None:
        return ["cyclonedx-bom is not installed: pip install --group release"]
    arguments = ("--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--output-file", SBOM)
    return last_lines(run(sys.executable, "-m", "cyclonedx_py", "requirements", *arguments, ROOT / "constraints.txt"))


def vulnerabilities() -> int:
    """Look for known vulnerabilities of the pinned packages; returns 1 if there is one."""
    what = "pip-audit"
    if find_spec("pip_audit") is None:
        print(f"SKIPPED  {what}: it is not installed: pip install --group release")
        return 0
    arguments = ("--requirement", ROOT / "constraints.txt", "--no-deps", "--disable-pip", "--progress-spinner", "off")
    done = run(sys.executable, "-m", "pip_audit", *arguments)
    if done.returncode and NO_NETWORK.search(done.stderr):
        print(f"SKIPPED  {what}: there is no network")
        return 0
    return report(what, last_lines(done))


if __name__ == "__main__":
    sys.exit(audit() if sys.argv[1:] == ["audit"] else main())
