"""How `list`, `info` and `datasets` show entries that can be used, and those that cannot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cnn_registry.registry.catalogue import Ambiguous, Listed
from cnn_registry.registry.current import current_registry
from cnn_registry.registry.entries import Broken
from cnn_registry.registry.spec import Provider, Spec
from cnn_registry.system.progress import note

from .common import is_verbose
from .output import tell


def as_dict(item: Spec | Listed | Broken | Ambiguous) -> dict[str, Any]:
    """One entry as JSON-ready data, with its status: ok, deprecated, broken or ambiguous.

    For an entry whose import was slow, ``slow`` has the time and the reason; otherwise it is ``None``.
    """
    if isinstance(item, Broken):
        entry = item.entry
        facts = {"name": entry.name, "status": "broken", "distribution": entry.distribution, "reason": item.reason}
        return facts | {"slow": current_registry().plugins.slowness(entry.provider) or None}
    if isinstance(item, Ambiguous):
        return {"name": item.name, "status": "ambiguous", "providers": list(item.providers)}
    facts = dict(item.facts) if isinstance(item, Listed) else item.to_dict()
    status = "deprecated" if facts["deprecated"] else "ok"
    return {"status": status, "slow": current_registry().plugins.slowness(item.provider) or None} | facts


def print_unusable(items: Iterable[Listed | Broken | Ambiguous]) -> None:
    """Print a line for each broken or ambiguous entry, and one on standard error for each slow one.

    With ``-v`` the tracebacks of broken entries follow.
    """
    for item in items:
        if isinstance(item, Broken):
            tell(f"broken: {item.entry.name} ({item.entry.distribution}): {item.reason}")
            if is_verbose():
                for line in item.details.splitlines():
                    note(line)
            _note_if_slow(item.entry.name, item.entry.provider)
        elif isinstance(item, Ambiguous):
            choices = " or ".join(f"{provider}:{item.name}" for provider in item.providers)
            tell(f"ambiguous: {item.name}: write {choices}")
        else:
            _note_if_slow(item.facts["name"], item.provider)


def _note_if_slow(name: str, provider: Provider) -> None:
    if slow := current_registry().plugins.slowness(provider):
        note(f"slow: {name} ({provider.distribution}): {slow}")
