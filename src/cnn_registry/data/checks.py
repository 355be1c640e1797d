"""Look for what makes a dataset give misleading results: the same image in two places, and unequal classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from cnn_registry.text import counted, listing, quoted

from .dataset import ImageDataset, Indices, Split
from .sources.loaded import LoadedImages

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

    Images are the same if their files have the same content, byte for byte. Where files are read
    while they are trained on, those count that have been read by now.

    Args:
        images: the images that can be read.
        split: its positions are those of ``images.dataset``.
    """
    contents = _contents(images)
    return [
        *_leaks(images.dataset, contents, split),
        *_divided_groups(images.dataset, split),
        *_labels(images.dataset, contents),
        *_imbalance(images.dataset, split),
    ]


def _leaks(dataset: ImageDataset, contents: Indices, split: Split) -> Iterator[Finding]:
    for first, second in combinations(_PARTS, 2):
        one, part = getattr(split, first), getattr(split, second)
        again = part[(contents[part] >= 0) & np.isin(contents[part], contents[one])]
        if len(again):
            other = one[contents[one] == contents[again[0]]][0]
            ids = dataset.ids
            also = f"is also a {_PARTS[first]} image" if len(again) == 1 else f"are also {_PARTS[first]} images"
            text = (
                f"{len(again):,} of {counted(len(part), f'{_PARTS[second]} image')} {also}, "
                f"for example {listing([ids[other], ids[again[0]]])}; results on them say nothing about new images."
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


def _labels(dataset: ImageDataset, contents: Indices) -> Iterator[Finding]:
    labels, ids = dataset.labels, dataset.ids
    known = np.flatnonzero(contents >= 0)
    first = known[np.unique(contents[known], return_index=True)[1]]  # of each content, by its number
    differs = labels[known] != labels[first[contents[known]]]
    others = known[differs.any(1) if differs.ndim == 2 else differs]
    if len(others):
        several = np.unique(contents[others])
        pair = min(int(first[number]) for number in several)
        example = listing([ids[pair], ids[int(others[contents[others] == contents[pair]][0])]])
        where = "with several sets of labels" if dataset.multi_label else "in more than one class"
        text = f"{counted(len(several), 'image')} {where}, for example {example}."
        yield Finding("label", len(several), text)


def _imbalance(dataset: ImageDataset, split: Split) -> Iterator[Finding]:
    used = np.concatenate([getattr(split, part) for part in _PARTS])
    counts = dataset.class_counts(used)
    few = np.flatnonzero(counts < FEW_IMAGES)
    smallest, largest = int(counts.argmin()), int(counts.argmax())
    if not len(few) and counts[largest] < UNEQUAL * counts[smallest]:
        return
    ends = (largest, smallest) if counts[largest] > counts[smallest] else (smallest,)
    sizes = " and ".join(
        f"{counted(int(counts[label]), 'image')} of {quoted(dataset.class_names[label])}" for label in ends
    )
    text = f"{sizes}: accuracy hides how well small classes are recognised; look at the recall of each class."
    if len(few):
        named = listing(dataset.class_names[label] for label in few)
        text = f"{counted(len(few), 'class')} with fewer than {FEW_IMAGES} images: {named}. {text}"
    yield Finding("imbalance", max(len(few), 1), text)


def _contents(images: LoadedImages) -> Indices:
    """A number for the content of each image, which those with the same content share; -1 where it is not known."""
    numbers = np.full(len(images.dataset), -1, np.int64)
    if images.files is not None:
        hashes, known = images.files.digests.view("S32")[:, 0], np.flatnonzero(images.files.known)
    else:
        hashes = np.array(images.hashes, "S32") if images.hashes else np.empty(0, "S32")
        known = np.flatnonzero(hashes != b"")
    if len(known):
        numbers[known] = np.unique(hashes[known], return_inverse=True)[1]
    return numbers
