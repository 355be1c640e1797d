"""``cnnreg doctor``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from cnn_registry import backend
from cnn_registry.data.paths import cache_root
from cnn_registry.data.registry import datasets
from cnn_registry.discovery import Broken, InstalledEntry, describe, installed
from cnn_registry.registry import models

from .common import common_options, json_option, print_json, print_table


@click.command("doctor")
@json_option
@common_options
def command(as_json: bool) -> None:
    """Show versions, what the processor offers, the health of every plugin, and the cache."""
    facts: dict[str, Any] = {
        "versions": _versions(),
        "machine": _machine(),
        "plugins": [_health(entry, group) for group in (models, datasets) for entry in installed(group.group)],
        "cache": _cache(cache_root()),
    }
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    if any(plugin["status"] != "ok" for plugin in facts["plugins"]):
        click.get_current_context().exit(1)


def _versions() -> dict[str, str]:
    from cnn_registry.training.run import versions

    return versions()


def _machine() -> dict[str, Any]:
    from cnn_registry.training.run import machine

    return machine() | {
        "simd": _simd(),
        "onednn": _onednn(),
        "threads": os.environ["TF_NUM_INTRAOP_THREADS"],
        "backend": os.environ["KERAS_BACKEND"],
    }


def _onednn() -> str:
    """Whether TensorFlow uses oneDNN's operations, as it says itself."""
    backend.tensorflow()
    # No public function tells it; TensorFlow's own tests ask here.
    from tensorflow.python.util._pywrap_util_port import IsMklEnabled

    return "on" if IsMklEnabled() else "off"


def _simd() -> list[str]:
    """The vector instructions that matter for convolutions, of those that the processor has."""
    # NumPy detects them on every platform; no public function of its returns them.
    from numpy._core._multiarray_umath import __cpu_features__ as features

    wanted = ("AVX2", "FMA3", "AVX512F", "AVX512_SKX", "AVX512_ICL", "AVX512_SPR", "AMX_BF16", "ASIMD", "SVE")
    return [name for name in wanted if features.get(name)]


def _health(entry: InstalledEntry, group: Any) -> dict[str, Any]:
    began = time.perf_counter()
    described = describe(entry, group.kind)
    return {
        "name": entry.name,
        "kind": group.noun,
        "provided by": f"{entry.distribution} {entry.version or ''}".strip(),
        "import": f"{(time.perf_counter() - began) * 1000:.1f} ms",
        "status": f"broken: {described.reason}" if isinstance(described, Broken) else "ok",
    }


def _cache(root: Path) -> dict[str, Any]:
    sizes = [file.stat().st_size for file in root.rglob("*") if file.is_file()]
    return {"path": str(root), "files": len(sizes), "bytes": sum(sizes)}


def _print(facts: dict[str, Any]) -> None:
    for title in ("versions", "machine", "cache"):
        click.echo(f"{title}:")
        for key, value in facts[title].items():
            click.echo(f"  {key}: {', '.join(value) if isinstance(value, list) else value}")
    click.echo("plugins:")
    columns = ["name", "kind", "provided by", "import", "status"]
    print_table(columns, [[plugin[column] for column in columns] for plugin in facts["plugins"]], right=["import"])
