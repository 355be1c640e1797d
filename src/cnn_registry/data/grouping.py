"""Spread groups of images over parts, so that no group is divided and each part has its share of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .dataset import Indices


def spread(labels: NDArray[np.integer], groups: Indices, shares: Sequence[float], seed: int) -> Indices:
    """Assign whole groups to parts, stratified as well as possible.

    Groups that have much of a class come first. Each goes where its classes are least complete with half of it. This is
    iterative stratification (Sechidis et al. 2011, https://doi.org/10.1007/978-3-642-23808-6_10), of groups. Time and
    memory grow with the pairs of a group and a class that occur, not with all pairs.

    Args:
        labels: ``(N,)``, the class of each image; or ``(N, num_classes)`` of 0 and 1 where an image may have several.
        groups: ``(N,)``, numbers of the groups.
        shares: of the images that each part should have; they sum to 1.
        seed: of the order of groups that are equal otherwise.

    Returns:
        ``(N,)``, the part of each image.
    """
    names, groups = np.unique(groups, return_inverse=True)
    image, label = np.nonzero(labels) if labels.ndim == 2 else (np.arange(len(labels)), labels)
    # Size counts as one more class, which every image has.
    width = (labels.shape[1] if labels.ndim == 2 else int(labels.max(initial=0)) + 1) + 1
    pairs = np.concatenate([groups[image] * width + label, groups * width + width - 1])
    pairs, counts = np.unique(pairs, return_counts=True)
    group, label = np.divmod(pairs, width)
    totals = np.bincount(label, counts, width)
    portions = counts / totals[label]
    begins = np.searchsorted(group, np.arange(len(names) + 1))

    random = np.random.default_rng(seed).permutation(len(names))
    order = random[np.argsort(-np.bincount(group, portions, len(names))[random], kind="stable")]
    filled = np.zeros((len(shares), width))
    share = np.asarray(shares, float)[:, None]
    part = np.empty(len(names), np.int64)
    for number in order.tolist():
        own = slice(begins[number], begins[number + 1])
        classes, portion = label[own], portions[own]
        complete = (filled[:, classes] + portion / 2) / share
        part[number] = (complete @ counts[own]).argmin()
        filled[part[number], classes] += portion
    return part[groups]
