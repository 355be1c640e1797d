"""Folder names that mean the parts of a dataset, not classes: ``train``, ``Test Images``, ``seg_val``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, NamedTuple

Role = Literal["train", "val", "test"]

ROLES: tuple[Role, ...] = ("train", "val", "test")

_WORDS: dict[Role, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "trainval", "训练"),
    "val": ("val", "valid", "validation", "validate", "validating", "dev", "eval", "evaluation", "验证"),
    "test": ("test", "testing", "tst", "holdout", "测试"),
}
_FILLERS = (
    "set|data|dataset|image|img|picture|pic|photo|sample|example|file|folder|dir|directory|part|split|subset|frame|ds|"
    "集|数据集|图片"
)
"""Words that say nothing about what is in a folder; each may have a plural."""

_ROLE_OF = {word: role for role, words in _WORDS.items() for word in (*words, *(f"{word}s" for word in words))}
_FILLER = re.compile(f"(?:{_FILLERS})s?")
_JOINED = re.compile(rf"(?:{_FILLERS})?s?({'|'.join(sorted(_ROLE_OF, key=len, reverse=True))})(?:(?:{_FILLERS})s?)?")
"""A word that begins or ends in a filler: ``testset``, ``imagestrain``."""


class Part(NamedTuple):
    """What the name of a folder says.

    Attributes:
        role: which part it is.
        rest: the other words of the name: ``("seg",)`` in ``seg_train``.
    """

    role: Role
    rest: tuple[str, ...]


def composed(name: str) -> str:
    """The name with letters and their accents as one character each (Unicode NFC).

    Some file systems, those of macOS for instance, store them as two.
    """
    return unicodedata.normalize("NFC", name)


def part(name: str) -> Part | None:
    """The part that a folder's name means; ``None`` if it means none, or several.

    >>> part("Training_Set"), part("seg-test"), part("bus")
    (Part(role='train', rest=()), Part(role='test', rest=('seg',)), None)
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", composed(name))
    words = re.findall(r"[^\W\d_]+", spaced.casefold())
    roles = [_role(word) for word in words]
    found = {role for role in roles if role}
    if found == {"train", "val"}:
        found = {"train"}
    if len(found) != 1:
        return None
    rest = (word for word, role in zip(words, roles, strict=True) if not role and not _FILLER.fullmatch(word))
    return Part(found.pop(), tuple(rest))


def parts(names: Iterable[str]) -> list[dict[Role, list[str]]]:
    """Groups of folder names that together look like the parts of a dataset.

    One alone may be a class: trains, or a test. Two that mean different parts are taken for parts if the rest of their
    names is the same.

    >>> parts(["seg_train", "seg_test", "docs"])
    [{'train': ['seg_train'], 'test': ['seg_test']}]
    >>> parts(["bullet_train", "test_tube"])
    []
    """
    groups: dict[tuple[str, ...], dict[Role, list[str]]] = {}
    for name in names:
        if found := part(name):
            groups.setdefault(found.rest, {}).setdefault(found.role, []).append(name)
    return [{role: group[role] for role in ROLES if role in group} for group in groups.values() if len(group) > 1]


def _role(word: str) -> Role | None:
    found = _JOINED.fullmatch(word)
    return _ROLE_OF[found[1]] if found else None
