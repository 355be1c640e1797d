"""``cnnreg doctor``."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from cnn_registry import backend
from cnn_registry.backend.keras_internals import uses_onednn, vector_instructions
from cnn_registry.errors import BackendError
from cnn_registry.registry.catalogue import Catalogue
from cnn_registry.registry.current import current_registry
from cnn_registry.registry.discovery import COMMANDS, RECIPES
from cnn_registry.registry.entries import Broken, InstalledEntry
from cnn_registry.registry.extensions import extensions
from cnn_registry.registry.policy import normalised
from cnn_registry.registry.spec import API_VERSION, Spec
from cnn_registry.system.cache import cache_entries
from cnn_registry.system.paths import cache_root
from cnn_registry.system.progress import working
from cnn_registry.text import counted, unstopped

from .commands import COMMANDS as BUILT_IN
from .common import common_options, json_option, wide_option
from .extra import load_command
from .output import print_facts, print_json, tell
from .table import Column, print_table

COLUMNS = (
    Column("name", at_least=16),
    Column("kind", rank=2),
    Column("provided by", at_least=20),
    Column("import", number=True, rank=1),
    Column("status"),
)


@click.command("doctor")
@click.option("--outdated", is_flag=True, help="Ask pip's package index for newer versions of what is installed.")
@wide_option
@json_option
@common_options
def command(outdated: bool, wide: bool, as_json: bool) -> None:
    """Show versions, the CPU, plugins and the cache."""
    # Plugins come first, while nothing else has imported what a plugin should not import.
    from cnn_registry.recipes.installed import recipe_text
    from cnn_registry.recipes.load import built_in_names
    from cnn_registry.registry.diagnosis import left_out, misnamed_groups, unknown_names, unmet_requirements

    registry, unmet = current_registry(), unmet_requirements()
    plugins = [
        *_healths(registry.models, unmet),
        *_healths(registry.datasets, unmet),
        *_extensions(RECIPES, "recipe", recipe_text, unmet, built_in_names()),
        *_extensions(COMMANDS, "command", load_command, unmet, [name.replace("-", "_") for name in BUILT_IN]),
    ]
    facts: dict[str, Any] = {
        "versions": _versions(),
        "machine": _machine(),
        "plugins": plugins,
        "excluded": [*left_out(registry.plugins), *unknown_names(registry.plugins)],
        "problems": misnamed_groups(),
        "cache": _cache(),
    }
    if outdated:
        facts["outdated"] = _outdated()
    if as_json:
        print_json(facts)
    else:
        _print(facts, wide)
    if facts["problems"] or any(plugin["status"].startswith(("broken", "unmet")) for plugin in plugins):
        click.get_current_context().exit(1)


def _versions() -> dict[str, str]:
    from cnn_registry.runs.machine import versions

    return versions()


def _outdated() -> dict[str, Any]:
    from cnn_registry.registry.outdated import ask_index

    with working("Asking the package index", after=1.0):
        return asdict(ask_index())


def _machine() -> dict[str, Any]:
    from cnn_registry.runs.machine import machine

    return machine() | {
        "simd": _simd(),
        "onednn": _onednn(),
        "threads": os.environ.get("TF_NUM_INTRAOP_THREADS", "all"),
        "backend": backend.chosen_backend(),
    }


def _onednn() -> str:
    """Whether TensorFlow uses oneDNN's operations, according to TensorFlow itself."""
    try:
        with working("Importing TensorFlow", after=1.0):
            backend.tensorflow()
    except BackendError as error:
        return f"not used: {error}"
    return {True: "on", False: "off", None: "unknown"}[uses_onednn()]


def _simd() -> list[str]:
    """The processor's vector instructions, as far as they matter for convolutions."""
    features = vector_instructions()
    if features is None:
        return ["unknown"]
    wanted = ("AVX2", "FMA3", "AVX512F", "AVX512_SKX", "AVX512_ICL", "AVX512_SPR", "AMX_BF16", "ASIMD", "SVE")
    return [name for name in wanted if features.get(name)]


def _healths(catalogue: Catalogue[Any], unmet: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    entries = catalogue.plugins.installed(catalogue.group)
    uses = Counter(entry.name for entry in entries)
    return [_health(entry, catalogue, unmet, is_shared=uses[entry.name] > 1) for entry in entries]


def _health(
    entry: InstalledEntry, catalogue: Catalogue[Any], unmet: Mapping[str, Sequence[str]], *, is_shared: bool
) -> dict[str, Any]:
    plugins = catalogue.plugins
    described = plugins.describe(entry, catalogue.kind)
    missing = ", ".join(unmet.get(normalised(entry.distribution), ()))
    return {
        "name": entry.name,
        "kind": catalogue.noun,
        "provided by": f"{entry.distribution} {entry.version or ''}".strip(),
        "import": f"{plugins.import_seconds(entry.provider) * 1000:.1f} ms",
        "status": _status(entry, described, missing, plugins.slowness(entry.provider), is_shared),
    }


def _status(entry: InstalledEntry, described: Spec | Broken, missing: str, slow: str, is_shared: bool) -> str:
    """The state of an entry in a few words; ``ok`` if nothing is wrong."""
    requires = f"requires {missing}"
    if isinstance(described, Broken):
        return f"broken: {unstopped(described.reason)}. It {requires}." if missing else f"broken: {described.reason}"
    if missing:
        return f"unmet: {requires}"
    if slow:
        return f"slow: {slow}"
    if is_shared:
        return f"ambiguous: write {entry.distribution}:{entry.name}"
    if described.api_version < API_VERSION:
        return f"old: written for plugin interface {described.api_version}; this version supports {API_VERSION}"
    return "ok"


def _extensions(
    group: str,
    noun: str,
    read: Callable[[InstalledEntry], object],
    unmet: Mapping[str, Sequence[str]],
    built_in: Sequence[str],
) -> list[dict[str, Any]]:
    """The state of recipes or commands, which have no declaration; those that are ``built_in`` hide theirs."""
    rows = []
    for name, entries in extensions(group).items():
        for entry in entries:
            began = time.perf_counter()
            found = read(entry)
            missing = ", ".join(unmet.get(normalised(entry.distribution), ()))
            status = f"broken: {found.reason}" if isinstance(found, Broken) else "ok"
            if status == "ok" and missing:
                status = f"unmet: requires {missing}"
            if status == "ok" and (name in built_in or len(entries) > 1):
                status = f"{'hidden' if name in built_in else 'ambiguous'}: write {entry.distribution}:{name}"
            rows.append(
                {
                    "name": name,
                    "kind": noun,
                    "provided by": f"{entry.distribution} {entry.version or ''}".strip(),
                    "import": f"{(time.perf_counter() - began) * 1000:.1f} ms",
                    "status": status,
                }
            )
    return rows


def _cache() -> dict[str, Any]:
    return {"path": str(cache_root()), "bytes": sum(entry.bytes for entry in cache_entries())}


def _print(facts: dict[str, Any], wide: bool) -> None:
    for title in ("versions", "machine", "cache"):
        tell(f"{title}:")
        print_facts({f"{key}:": _text(value) for key, value in facts[title].items()}, indent="  ")
    tell("plugins:")
    rows = [
        [plugin["name"], plugin["kind"], plugin["provided by"], plugin["import"], plugin["status"].partition(":")[0]]
        for plugin in facts["plugins"]
    ]
    print_table(COLUMNS, rows, wide=wide)
    for plugin in facts["plugins"]:
        if plugin["status"] != "ok":
            tell(f"{plugin['name']} ({plugin['provided by']}): {plugin['status']}")
    for line in [*facts["excluded"], *facts["problems"]]:
        tell(line)
    if "outdated" in facts:
        _print_outdated(facts["outdated"])


def _print_outdated(found: Mapping[str, Any]) -> None:
    for package in found["newer"]:
        name = package["distribution"]
        both = f"{package['installed']} is installed, {package['newest']} is available"
        tell(f"{name} {both}: pip install --upgrade {name}")
    if found["missing"]:
        tell(f"The index does not have {', '.join(found['missing'])}.")
    if found["fault"]:
        tell(f"Newer versions are not known: {found['fault']}.")
    elif not found["newer"] and (count := found["asked"] - len(found["missing"])):
        tell(f"{counted(count, 'package')} {'is' if count == 1 else 'are'} the newest that the index has.")


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
