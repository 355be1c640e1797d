"""What is wrong with installed packages, although their entries can be found or imported: for `cnnreg doctor`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher, get_close_matches
from importlib import metadata

from cnn_registry.text import listing, suggestion

from .discovery import GROUPS, Plugins
from .distributions import groups, identity, shown
from .entries import InstalledEntry
from .policy import ALLOW, CORE, DENY, normalised


def misnamed_groups() -> list[str]:
    """A line for each entry-point group that was probably meant for this package and that nobody reads."""
    lines = []
    for distribution in metadata.distributions():
        for group in groups(distribution):
            if group not in GROUPS and _is_near(group):
                name, version = identity(distribution)
                owner = " ".join(filter(None, (name or "A package without a name", version)))
                what = f"{owner} publishes in the entry-point group '{shown(group)}', which nobody reads"
                lines.append(f"{what}. Did you mean '{_nearest(group)}'?")
    return list(dict.fromkeys(lines))


def unknown_names(plugins: Plugins) -> list[str]:
    """A line for each name in the variables of the policy that no installed distribution has."""
    named = [identity(found)[0] for found in metadata.distributions()]
    publishing = [entry.distribution for entry in _every_entry(plugins)]
    installed, policy = {normalised(name) for name in [*filter(None, named), *publishing]}, plugins.policy
    return [
        f"{variable} names {name}, which is not installed.{suggestion(name, installed)}"
        for variable, names in ((ALLOW, policy.allow or ()), (DENY, policy.deny))
        for name in sorted(names)
        if name not in installed
    ]


def left_out(plugins: Plugins) -> list[str]:
    """A line that names the distributions which the policy does not allow to provide plugins, if there are any."""
    policy = plugins.policy
    names = sorted({entry.distribution for entry in _every_entry(plugins) if not policy.allows(entry)} - {CORE})
    why = f"{ALLOW}, {DENY} or --no-plugins excludes them"
    return [f"Not used, as {why}: {listing(names, 100)}."] if names else []


def _every_entry(plugins: Plugins) -> list[InstalledEntry]:
    """What is installed, whatever the policy in force."""
    return [entry for group in GROUPS for entry in plugins.found(group)]


def unmet_requirements() -> dict[str, list[str]]:
    """What each distribution that publishes plugins requires and does not find, by its normalised name.

    Each is what is missing, for instance ``"cnn-registry>=0.2 (0.1.0 is installed)"``. Requirements that nobody can
    read, and those of extras, are left out.
    """
    installed: dict[str, metadata.Distribution] = {}
    publishing = set()
    for distribution in metadata.distributions():
        if name := identity(distribution)[0]:
            installed.setdefault(normalised(name), distribution)
            if not set(GROUPS).isdisjoint(groups(distribution)):
                publishing.add(normalised(name))
    return {name: list(_unmet(installed[name], installed)) for name in publishing}


def _is_near(group: str) -> bool:
    """Whether ``group`` is a slip for one that is known: this package's or its command's name, or a letter off."""
    letters = _letters(group)
    known = map(_letters, GROUPS)
    return letters.startswith("cnnreg") or ("cnn" in letters and bool(get_close_matches(letters, known, cutoff=0.85)))


def _nearest(group: str) -> str:
    return max(GROUPS, key=lambda known: SequenceMatcher(None, _letters(group), _letters(known)).ratio())


def _letters(group: str) -> str:
    return re.sub("[^a-z]", "", group.lower())


def _unmet(distribution: metadata.Distribution, installed: dict[str, metadata.Distribution]) -> Iterator[str]:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion, Version

    for line in _requirements(distribution):
        try:
            required = Requirement(line)
            if required.marker and not required.marker.evaluate({"extra": ""}):
                continue
            found = installed.get(normalised(required.name))
            wanted = f"{required.name}{required.specifier}"
            if found is None:
                yield f"{wanted} (not installed)"
            elif not required.specifier.contains(Version(identity(found)[1] or ""), prereleases=True):
                yield f"{wanted} ({identity(found)[1]} is installed)"
        except (InvalidRequirement, InvalidVersion):
            continue


def _requirements(distribution: metadata.Distribution) -> list[str]:
    try:
        return distribution.requires or []
    except Exception:  # the file may contain anything
        return []
