"""Look for what makes a dataset give misleading results: the same image in two places, and unequal classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from cnn_registry.text import counted, listing

from .dataset import ImageDataset, Indices, Split
from .sources.cache import LoadedImages

FEW_IMAGES = 10
"""A class with fewer images than this is pointed out."""

UNEQUAL = 20
"""So is a dataset whose largest class has this many times as many images as its smallest."""

_PARTS = {"train": "training", "val": "validation", "test": "test"}


Kind = Literal["leak", "group", "label", "imbalance", "duplicate", "unreadable", "blank", "suspect"]


@dataclass(frozen=True)
class Finding:
    """Something in a dataset that its owner should know.

    Attributes:
        kind: ``"leak"``, the same image in two parts of the split; ``"group"``, a group in two parts; ``"label"``, the
            same image in two classes; ``"imbalance"``, classes with few images or very unequal ones; or what
            ``cnnreg data`` finds: ``"duplicate"``, the same image twice in a class; ``"unreadable"``; ``"blank"``,
            images of one colour; ``"suspect"``, labels that are likely wrong.
        count: images concerned; groups, or of an imbalance classes.
        text: one line that describes it, with an example.
    """

    kind: Kind
    count: int
    text: str

    def __str__(self) -> str:
        return self.text


def findings(images: LoadedImages, split: Split) -> list[Finding]:
    """What should be known of a dataset before it is trained on.

    Images are the same if their files have the same content, byte for byte.

    Args:
        images: the images that can be read.
        split: its positions are those of ``images.dataset``.
    """
    return [
        *_leaks(images, split),
        *_divided_groups(images.dataset, split),
        *_labels(images),
        *_imbalance(images.dataset, split),
    ]


def _leaks(images: LoadedImages, split: Split) -> Iterator[Finding]:
    for first, second in combinations(_PARTS, 2):
        seen = {images.hashes[index]: index for index in _with_hash(images, reversed(getattr(split, first)))}
        part = getattr(split, second)
        again = [index for index in _with_hash(images, part) if images.hashes[index] in seen]
        if again:
            one, other = images.dataset.ids[seen[images.hashes[again[0]]]], images.dataset.ids[again[0]]
            text = (
                f"{len(again):,} of {counted(len(part), f'{_PARTS[second]} image')} are also {_PARTS[first]} images, "
                f"for example {listing([one, other])}; results on them say nothing about new images."
            )
            yield Finding("leak", len(again), text)


def _divided_groups(dataset: ImageDataset, split: Split) -> Iterator[Finding]:
    if dataset.groups is None:
        return
    for first, second in combinations(_PARTS, 2):
        one, other = getattr(split, first), getattr(split, second)
        both = np.intersect1d(dataset.groups[one], dataset.groups[other])
        if len(both):
            examples = [dataset.ids[part[dataset.groups[part] == both[0]][0]] for part in (one, other)]
            text = (
                f"{counted(len(both), 'group')} with {_PARTS[first]} and {_PARTS[second]} images, for example of "
                f"{listing(examples)}; results on the {_PARTS[second]} images are too good."
            )
            yield Finding("group", len(both), text)


def _labels(images: LoadedImages) -> Iterator[Finding]:
    labels, ids = images.dataset.labels, images.dataset.ids
    places: dict[bytes, list[int]] = {}
    for index in _with_hash(images, range(len(images.dataset))):
        places.setdefault(images.hashes[index], []).append(index)
    found = [same for same in places.values() if len(same) > 1 and (labels[same] != labels[same[0]]).any()]
    if found:
        other = next(index for index in found[0] if (labels[index] != labels[found[0][0]]).any())
        example = listing([ids[found[0][0]], ids[other]])
        where = "with several sets of labels" if images.dataset.multi_label else "in more than one class"
        text = f"{counted(len(found), 'image')} {where}, for example {example}."
        yield Finding("label", len(found), text)


def _imbalance(dataset: ImageDataset, split: Split) -> Iterator[Finding]:
    used = np.concatenate([getattr(split, part) for part in _PARTS])
    counts = dataset.class_counts(used)
    few = np.flatnonzero(counts < FEW_IMAGES)
    smallest, largest = int(counts.argmin()), int(counts.argmax())
    if not len(few) and counts[largest] < UNEQUAL * counts[smallest]:
        return
    ends = (largest, smallest) if counts[largest] > counts[smallest] else (smallest,)
    sizes = " and ".join(f"{counted(int(counts[label]), 'image')} of {dataset.class_names[label]!r}" for label in ends)
    text = f"{sizes}: accuracy hides how well small classes are recognised; look at the recall of each class."
    if len(few):
        named = listing(dataset.class_names[label] for label in few)
        text = f"{counted(len(few), 'class')} with fewer than {FEW_IMAGES} images: {named}. {text}"
    yield Finding("imbalance", max(len(few), 1), text)


def _with_hash(images: LoadedImages, indices: Iterable[int] | Indices) -> Iterator[int]:
    """The indices of images whose content is known."""
    return (int(index) for index in indices if images.hashes and images.hashes[int(index)])
