"""What importing a declaring module costs, measured in a process that has imported nothing yet."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from cnn_registry.registry.discovery import HEAVY

_CODE = """
import importlib, json, sys
paths, module, home, lookup, name, heavy = json.loads(sys.argv[1])
sys.path[:] = paths
answer = {"error": ""}
sys.stdout, stdout = sys.stderr, sys.stdout
try:
    importlib.import_module(module)
    getattr(importlib.import_module(home), lookup)(name)
except Exception as error:
    answer["error"] = f"{type(error).__name__}: {error}"
answer["heavy"] = sorted(set(heavy) & {name.partition(".")[0] for name in sys.modules})
print(json.dumps(answer), file=stdout)
"""


@dataclass(frozen=True)
class FreshImport:
    """What a new process found.

    Attributes:
        error: why the module cannot be imported there, or does not declare the model; empty if it does.
        heavy: which of the large packages were imported with it.
    """

    error: str
    heavy: tuple[str, ...]


def fresh_import(module: str, lookup: tuple[str, str], name: str) -> FreshImport:
    """Import ``module`` in a process of its own, and look up ``name`` there.

    Args:
        module: the declaring module.
        lookup: the function that should find the name then: its module, and its name there.
        name: as ``distribution:name``.
    """
    request = json.dumps([sys.path, module, *lookup, name, HEAVY])
    command = [sys.executable, "-W", "ignore", "-c", _CODE, request]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return FreshImport(f"it ended with exit code {done.returncode}: {last}", ())
    answer = json.loads(done.stdout.splitlines()[-1])
    return FreshImport(answer["error"], tuple(answer["heavy"]))
