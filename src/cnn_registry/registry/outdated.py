"""Which installed packages of this project and its plugins have newer versions in the package index.

The index is asked as pip asks it: at the address that pip is configured with, in the JSON form of the simple API
(PEP 691, with PEP 700's versions).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any
from urllib.parse import quote

from cnn_registry.errors import DownloadError
from cnn_registry.system.download import fetch
from cnn_registry.text import without_credentials

from .discovery import GROUPS
from .distributions import groups, identity
from .policy import CORE, normalised

JSON = "application/vnd.pypi.simple.v1+json"
MAX_BYTES = 2**26
SECONDS = 15.0
"""The largest answer, and the time for one."""


@dataclass(frozen=True)
class Newer:
    """A package of which there is a newer version.

    Attributes:
        distribution: its name.
        installed, newest: versions.
    """

    distribution: str
    installed: str
    newest: str


@dataclass(frozen=True)
class IndexAnswer:
    """What the index says of the installed packages.

    Attributes:
        newer: those of which it has a newer version.
        missing: those that it does not have.
        asked: how many were asked about.
        fault: why it could not be asked, or an empty string.
    """

    newer: tuple[Newer, ...]
    missing: tuple[str, ...]
    asked: int
    fault: str = ""


def ask_index() -> IndexAnswer:
    """Compare this package and everything installed that has plugins with the index. Nothing of it is imported."""
    installed = installed_packages()
    newer: list[Newer] = []
    missing: list[str] = []
    try:
        index = index_address()
        for name, version in installed.items():
            found = _newest(index, name, version)
            if found is None:
                missing.append(name)
            elif found:
                newer.append(Newer(name, version, found))
    except DownloadError as error:
        return IndexAnswer(tuple(newer), tuple(missing), len(installed), str(error).rstrip("."))
    return IndexAnswer(tuple(newer), tuple(missing), len(installed))


def installed_packages() -> dict[str, str]:
    """The versions of this package and of the distributions that provide plugins, by name."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name, version = identity(distribution)
        is_ours = name and (normalised(name) == CORE or set(groups(distribution)) & set(GROUPS))
        if name and version and is_ours:
            found.setdefault(normalised(name), version)
    return dict(sorted(found.items()))


def index_address() -> str:
    """The address of the index that pip uses.

    Raises:
        DownloadError: pip uses none, or one that cannot be asked over http.
    """
    settings = _pip_settings()
    if _is_on(settings.get("no-index", "")):
        raise DownloadError("pip is configured to use no index.")
    index = settings.get("index-url") or _pips_own()
    if not re.match(r"https?://", index):
        raise DownloadError(f"pip's index {without_credentials(index)} is not an address that can be asked.")
    return index.rstrip("/")


def _pip_settings() -> Mapping[str, str]:
    """pip's settings by their names without the section; those for installing and of the environment win."""
    lines = _pip("config", "list").splitlines()
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for line in lines:
        match = re.fullmatch(r"(global|install)\.([\w-]+)='(.*)'", line.strip())
        if match:
            found[match[1]][match[2]] = match[3]
    of_environment = {
        name: os.environ[variable]
        for name, variable in (("index-url", "PIP_INDEX_URL"), ("no-index", "PIP_NO_INDEX"))
        if os.environ.get(variable)
    }
    return found["global"] | found["install"] | of_environment


def _pips_own() -> str:
    """The index that pip uses unless it is configured otherwise, as its help says.

    Raises:
        DownloadError: pip does not say so, or is not installed.
    """
    match = re.search(r"--index-url.*?\(default:? (https?://[^\s)]+)\)", " ".join(_pip("help", "install").split()))
    if not match:
        raise DownloadError("pip does not say which index it uses.")
    return match[1]


def _pip(*arguments: str) -> str:
    """What pip prints; nothing where it is not installed or fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _is_on(value: str) -> bool:
    return value.lower() in ("1", "true", "yes", "on", "t", "y")


def _newest(index: str, name: str, installed: str) -> str | None:
    """A newer version, an empty string if there is none, and ``None`` where the index does not have the package.

    Raises:
        DownloadError: the index cannot be asked, or answers in another form.
    """
    address = f"{index}/{quote(name)}/"
    try:
        content = fetch(address, limit=MAX_BYTES, seconds=SECONDS, accept=JSON)
    except DownloadError as error:
        if str(error).startswith("HTTP 404"):
            return None
        raise DownloadError(without_credentials(f"{index} cannot be asked: {error}")) from None
    try:
        return _newer_than(installed, json.loads(content)["files"])
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise DownloadError(f"{without_credentials(index)} does not answer in JSON (PEP 691)") from None


def _newer_than(installed: str, files: Iterable[Mapping[str, Any]]) -> str:
    """The newest version of files that are not withdrawn and fit this Python; pre-releases only for pre-releases."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    try:
        current = Version(installed)
    except InvalidVersion:
        return ""
    python = ".".join(map(str, sys.version_info[:3]))
    newest = current
    for file in files:
        name = str(file["filename"])
        try:
            version = parse_wheel_filename(name)[1] if name.endswith(".whl") else parse_sdist_filename(name)[1]
            fits = SpecifierSet(file.get("requires-python") or "").contains(python)
        except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion, InvalidSpecifier):
            continue
        if fits and not file.get("yanked") and (current.is_prerelease or not version.is_prerelease):
            newest = max(newest, version)
    return "" if newest == current else str(newest)
