"""Look at a dataset before it is trained on: what cannot be read, is there twice, or is likely mislabelled."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn_registry.data.checks import Finding, Kind, findings
from cnn_registry.data.dataset import Bytes, EncodedImage, ImageDataset, Split
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.looks import Look, look_alikes, looks
from cnn_registry.data.manifest import Manifest
from cnn_registry.data.parts import composed
from cnn_registry.data.sources.loaded import BadImage, LoadedImages, image_hashes
from cnn_registry.data.sources.memory import ArrayImages
from cnn_registry.errors import BadImageError, DataError, UnknownNameError, UsageError
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.registry.datasets import get_dataset_spec
from cnn_registry.runs.folds import open_runs
from cnn_registry.runs.record import short_hash
from cnn_registry.system.callers import warned_once
from cnn_registry.system.progress import collected_notes, progress, working
from cnn_registry.text import counted, listing

from .label_errors import label_errors

PARTS = ("train", "val", "test")

WHERE = ("across parts", "across classes", "within a class")
"""Where images are that are the same, the worst first."""

WORST_FIRST: tuple[Kind, ...] = (
    "unreadable",
    "leak",
    "group",
    "label",
    "suspect",
    "duplicate",
    "blank",
    "imbalance",
)
"""The kinds of findings in the order in which they are shown."""

KINDS: dict[str, Kind] = dict(zip(WHERE, ("leak", "label", "duplicate"), strict=True))


class Item(NamedTuple):
    """One image.

    Attributes:
        id: its id; that of the other source begins with its name.
        image: its file or packed image, or its pixels.
        labels: the names of its classes.
        part: ``"train"``, ``"val"``, ``"test"``, the name of the other source, or an empty string.
        digest: the SHA-256 of its content.
        look: what it looks like.
    """

    id: str
    image: EncodedImage | Bytes
    labels: tuple[str, ...]
    part: str
    digest: bytes
    look: Look


class Same(NamedTuple):
    """Images that are the same, or look the same.

    Attributes:
        exact: whether their files have the same content.
        where: one of `WHERE`.
        items: the images.
    """

    exact: bool
    where: str
    items: tuple[Item, ...]


class Suspect(NamedTuple):
    """An image whose label is likely wrong: its id, its label, the likelier class, and by how much that is likelier."""

    id: str
    label: str
    suggested: str
    margin: float


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        name: of the dataset.
        source: where it is; with another one, both.
        notes: what loading said: files that were passed over, folders that were left out, names that look alike.
        items: the images that can be read.
        bad: those that cannot, and why.
        findings: what should be known, the worst first.
        same: images that are there twice, the worst first.
        blank: images of one colour.
        suspects: likely wrong labels, the likeliest first.
    """

    name: str
    source: str
    notes: tuple[str, ...]
    items: tuple[Item, ...]
    bad: tuple[BadImage, ...]
    findings: tuple[Finding, ...]
    same: tuple[Same, ...]
    blank: tuple[Item, ...]
    suspects: tuple[Suspect, ...]

    @property
    def class_counts(self) -> dict[str, Counter[str]]:
        """The images of each class by their parts."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for item in self.items:
            for label in item.labels:
                found[label][item.part] += 1
        return dict(found)

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """How many images have each width and height."""
        return Counter((item.look.width, item.look.height) for item in self.items)

    def to_dict(self) -> dict[str, Any]:
        """What was found as JSON-ready data."""
        return {
            "name": self.name,
            "source": self.source,
            "images": len(self.items),
            "classes": {name: dict(counts) for name, counts in self.class_counts.items()},
            "notes": list(self.notes),
            "findings": [{"kind": item.kind, "count": item.count, "text": item.text} for item in self.findings],
            "unreadable": [{"image": image.id, "reason": image.reason} for image in self.bad],
            "same": [
                {"exact": group.exact, "where": group.where, "images": [item.id for item in group.items]}
                for group in self.same
            ],
            "blank": [item.id for item in self.blank],
            "label_errors": [suspect._asdict() for suspect in self.suspects],
        }


@working("Looking at the images")
def inspect(
    source: str | Path | Manifest,
    *,
    other: str | Path | Manifest | None = None,
    run: str | Path | None = None,
    max_pixels: int | None = None,
) -> Inspection:
    """Look at a dataset, and at what it has in common with another one.

    Args:
        source: a folder or a table, as ``data`` of `cnn_registry.train`; or a dataset's name.
        other: further images, which should not be among the first, such as those of a later test.
        run: the directory of a cross-validation on the dataset, whose predictions show labels that are likely wrong.
        max_pixels: the largest image that is read, width times height.

    Raises:
        DataError: there are no images, or folders look like parts of a dataset and cannot be used as such.
        UsageError: there is no such folder or dataset, or the images of ``run`` are others, or may show several
            classes.
        RunError: the cross-validation is not complete.
        MissingPackageError: ImageHash is not installed.
    """
    with collected_notes() as notes:
        dataset = _loaded(source)
        more = None if other is None else _loaded(other)
    hashes = image_hashes(dataset)
    items, bad = _items(dataset, hashes, dict(_parts(dataset)), "", max_pixels)
    if more:
        other_part = dict.fromkeys(range(len(more)), f"{more.name} (other)")  # not the name of a part of the first
        further, also_bad = _items(more, image_hashes(more), other_part, f"{more.name}: ", max_pixels)
        items, bad = [*items, *further], [*bad, *also_bad]
    same = _same(items)
    blank = tuple(item for item in items if item.look.blank)
    suspects = tuple(_suspects(run, dataset.source, hashes)) if run else ()
    found = [
        *_unreadable(bad),
        *_of_same(same),
        *_of_dataset(dataset, items),
        *_of_blank(blank),
        *_of_suspects(suspects),
    ]
    found.sort(key=lambda finding: WORST_FIRST.index(finding.kind))
    where = dataset.source if more is None else f"{dataset.source} and {more.source}"
    return Inspection(
        dataset.name, where, tuple(notes), tuple(items), tuple(bad), tuple(found), tuple(same), blank, suspects
    )


def _loaded(source: str | Path | Manifest) -> ImageDataset:
    if not isinstance(source, Manifest) and not Path(source).exists():
        with warned_once():
            try:
                get_dataset_spec(str(source))
            except UnknownNameError as error:
                raise UsageError(f"There is no folder, table or dataset {source}.") from error
            return load_dataset(str(source), None)
    return load_dataset(None, source if isinstance(source, Manifest) else Path(source), min_classes=1)


def _parts(dataset: ImageDataset) -> Iterable[tuple[int, str]]:
    """The parts of the images by their positions, where the dataset brings a split."""
    if dataset.default_split:
        for part in PARTS:
            yield from ((int(index), part) for index in getattr(dataset.splits[dataset.default_split], part))


def _items(
    dataset: ImageDataset, hashes: Sequence[bytes], parts: dict[int, str], prefix: str, max_pixels: int | None
) -> tuple[list[Item], list[BadImage]]:
    """The images of a dataset, and those that cannot be read."""
    items, bad = [], []
    with progress(f"Looking at {counted(len(dataset), 'image')}", len(dataset)) as advance:
        for index, look in enumerate(looks(dataset.images, max_pixels)):
            image_id = f"{prefix}{dataset.ids[index]}"
            if isinstance(look, BadImageError):
                bad.append(BadImage(image_id, look.reason))
            else:
                image = dataset.images[index]
                items.append(Item(image_id, image, _labels(dataset, index), parts.get(index, ""), hashes[index], look))
            advance(1)
    if not items:
        raise DataError(f"No image of {dataset.source} can be read.")
    return items, bad


def _labels(dataset: ImageDataset, index: int) -> tuple[str, ...]:
    shown = np.flatnonzero(dataset.labels[index]) if dataset.multi_label else [int(dataset.labels[index])]
    return tuple(composed(dataset.class_names[label]) for label in shown)


def _same(items: Sequence[Item]) -> list[Same]:
    """Images with the same content, and others that look the same."""
    by_digest: dict[bytes, list[Item]] = defaultdict(list)
    for item in items:
        by_digest[item.digest].append(item)
    found = [Same(True, _where(group), tuple(group)) for group in by_digest.values() if len(group) > 1]
    distinct = [item for item in items if not item.look.blank]  # those of one colour all look the same
    for positions in look_alikes(np.array([item.look.hash for item in distinct], np.uint64)):
        group = [distinct[position] for position in positions]
        if len({item.digest for item in group}) > 1:
            found.append(Same(False, _where(group), tuple(group)))
    return sorted(found, key=lambda group: (WHERE.index(group.where), not group.exact))


def _where(group: Sequence[Item]) -> str:
    if len({item.part for item in group}) > 1:
        return WHERE[0]
    return WHERE[1] if len({item.labels for item in group}) > 1 else WHERE[2]


def _of_same(same: Sequence[Same]) -> Iterable[Finding]:
    for where in WHERE:
        for exact in (True, False):
            groups = [group for group in same if (group.where, group.exact) == (where, exact)]
            if not groups:
                continue
            pair = next(
                (pair for pair in combinations(groups[0].items, 2) if _where(pair) == where), groups[0].items[:2]
            )
            what = "images with the same content" if exact else "images that look the same"
            warning = "; results on them say nothing about new images" if where == WHERE[0] else ""
            text = (
                f"{counted(len(groups), 'group')} of {what} {where}, for example "
                f"{listing(item.id for item in pair)}{warning}."
            )
            yield Finding(KINDS[where], len(groups), text)


def _unreadable(bad: Sequence[BadImage]) -> Iterable[Finding]:
    if bad:
        first = f"{listing([bad[0].id])} ({bad[0].reason})"
        yield Finding("unreadable", len(bad), f"{counted(len(bad), 'image')} cannot be read, for example {first}.")


def _of_dataset(dataset: ImageDataset, items: Sequence[Item]) -> Iterable[Finding]:
    """Groups in two parts, and classes of few images or very unequal ones."""
    readable = {item.id for item in items}
    dataset = dataset.select(np.array([image_id in readable for image_id in dataset.ids]))
    images = LoadedImages(dataset, ArrayImages(np.empty((0, 1, 1, 3), np.uint8)), (), "")
    nothing = np.empty(0, np.int64)
    whole = Split(np.arange(len(dataset)), nothing, nothing)
    split = dataset.splits[dataset.default_split] if dataset.default_split else whole
    return findings(images, split)


def _of_blank(blank: Sequence[Item]) -> Iterable[Finding]:
    if blank:
        examples = listing((item.id for item in blank), 2)
        yield Finding("blank", len(blank), f"{counted(len(blank), 'image')} of one colour, for example {examples}.")


def _suspects(run: str | Path, source: str, hashes: Sequence[bytes]) -> Iterable[Suspect]:
    """Likely wrong labels by the predictions of a cross-validation.

    Raises:
        UsageError: it is a single run or of other images, or its images may show several classes.
    """
    runs = open_runs(run)
    if len(runs) < 2:
        raise UsageError(f"{run} is one run, which knows its training images; expected what cnnreg train --folds made.")
    if runs[0].record.model.multi_label:
        raise UsageError(f"Likely label errors are found for images with one class; those of {run} may show several.")
    trained = {image for fold in runs for image in fold.record.split.trained}
    if not trained <= set(map(short_hash, hashes)):
        raise UsageError(f"{run} is a cross-validation on other images than those of {source}. Name its own.")
    evaluation = evaluate(run)
    ids = [image_id for fold in runs for image_id in fold.record.validated]
    names = evaluation.class_names
    for error in label_errors(evaluation.labels, evaluation.probabilities):
        label = names[int(evaluation.labels[error.number])]
        yield Suspect(ids[error.number], label, names[error.suggested], -error.margin)


def _of_suspects(suspects: Sequence[Suspect]) -> Iterable[Finding]:
    if suspects:
        first = suspects[0]
        text = (
            f"{counted(len(suspects), 'label')} likely wrong by cross-validation, first {first.id!r}: {first.label!r}, "
            f"rather {first.suggested!r}."
        )
        yield Finding("suspect", len(suspects), text)
