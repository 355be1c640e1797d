"""Copies that whoever reads them cannot change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class FrozenMapping(Mapping[str, Any]):
    """A copy of a mapping, read-only at every depth. Unlike a `types.MappingProxyType` it can be pickled and copied."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._items = {key: frozen(value) for key, value in items.items()}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


def frozen(value: Any) -> Any:
    """``value``, with read-only copies in place of the mappings, lists and sets in it."""
    if isinstance(value, Mapping):
        return FrozenMapping(value)
    if type(value) in (list, tuple):
        return tuple(map(frozen, value))
    return frozenset(value) if isinstance(value, set) else value
