"""The page about a dataset: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cnn_registry.data.fitting import as_image, fitted
from cnn_registry.data.image import decode_image
from cnn_registry.errors import BadImageError
from cnn_registry.text import counted

from .gallery import EDGE, picture_address
from .inspection import Inspection, Item
from .render import render_page

GROUPS, EACH = 24, 4
"""Groups of images that look the same that are shown, and images of each."""

SHOWN = 24
"""Images of one colour, and likely wrong labels, that are shown."""

LISTED = 200
"""Unreadable images, and sizes, that are listed."""


def data_page(found: Inspection) -> str:
    """What was found, as a page."""
    by_id = {item.id: item for item in found.items}
    parts = sorted({item.part for item in found.items}, key=lambda part: (part not in PARTS_FIRST, part))
    counts = [(name, [count[part] for part in parts], count.total()) for name, count in found.class_counts.items()]
    suspects = [(suspect, _picture(by_id.get(suspect.id))) for suspect in found.suspects[:SHOWN]]
    context: dict[str, Any] = {
        "title": f"Images of {found.name}",
        "sentence": (
            f"{counted(len(found.items), 'image')} of {counted(len(counts), 'class')} can be read, in {found.source}."
        ),
        "notes": found.notes,
        "findings": found.findings,
        "groups": [(group, _pictures(group.items[:EACH])) for group in found.same[:GROUPS]],
        "more_groups": max(0, len(found.same) - GROUPS),
        "blank": _pictures(found.blank[:SHOWN]),
        "suspects": suspects,
        "bad": found.bad[:LISTED],
        "more_bad": max(0, len(found.bad) - LISTED),
        "parts": [part or "images" for part in parts],
        "counts": counts,
        "most": max((total for *_, total in counts), default=1),
        "sizes": found.sizes.most_common(20),
        "images": len(found.items),
    }
    sections = {
        "findings": ("Findings", True),
        "suspects": ("Likely wrong labels", bool(suspects)),
        "same": ("Images that are there twice", bool(found.same)),
        "blank": ("Images of one colour", bool(found.blank)),
        "bad": ("Unreadable images", bool(found.bad)),
        "classes": ("Classes", True),
        "sizes": ("Sizes", True),
    }
    context["sections"] = [(key, title) for key, (title, is_there) in sections.items() if is_there]
    return render_page("data.html.jinja", context)


PARTS_FIRST = ("train", "val", "test")


def _pictures(items: Iterable[Item]) -> list[tuple[Item, str]]:
    return [(item, _picture(item)) for item in items]


def _picture(item: Item | None) -> str:
    """A small picture of an image as an address; empty where it can no longer be read."""
    if item is None:
        return ""
    try:
        if isinstance(item.image, np.ndarray):
            return picture_address(np.asarray(as_image(item.image).convert("RGB")))
        return picture_address(np.asarray(fitted(decode_image(item.image), EDGE)))
    except BadImageError:
        return ""
