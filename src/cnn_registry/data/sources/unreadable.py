"""Images that turn out to be unreadable while batches are made of them, and the images that stand in for these.

Which image stands in for which follows from which images are unreadable, not from when that was found. So it is the
same in every epoch, in a training that is resumed, and however many processes read the batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from cnn_registry.data.dataset import ImageDataset, Indices
from cnn_registry.errors import DataError
from cnn_registry.text import quoted

OnBadImage = Literal["skip", "error"]


def refused(image_id: str, reason: str) -> DataError:
    """The error for an image that cannot be read, where that is one."""
    return DataError(f"{image_id} cannot be read: {reason}. Fix or remove it, or use --on-bad-image skip.")


class Unreadable:
    """The images of a dataset that were found to be unreadable.

    Args:
        ids: of its images.
        on_bad_image: ``"skip"`` to have others stand in for them, ``"error"`` to raise.

    Attributes:
        reasons: why they cannot be read, by their positions.
    """

    def __init__(self, ids: Sequence[str] = (), on_bad_image: OnBadImage = "skip") -> None:
        self._ids = ids
        self._on_bad_image = on_bad_image
        self.reasons: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, reasons: Mapping[int, str]) -> None:
        """Add images.

        Raises:
            DataError: unreadable images are an error.
        """
        if self._on_bad_image == "error" and reasons:
            position, reason = next(iter(reasons.items()))
            raise refused(self._ids[position], reason)
        self.reasons |= reasons

    def recall(self, by_id: Mapping[str, str]) -> None:
        """Add images that were found another time, by their ids."""
        wanted = set(by_id)
        self.reasons |= {place: by_id[name] for place, name in enumerate(self._ids) if name in wanted} if wanted else {}

    def by_id(self) -> dict[str, str]:
        """Why images cannot be read, by their ids, in the order of the dataset."""
        return {self._ids[position]: self.reasons[position] for position in sorted(self.reasons)}

    def readable(self, indices: Indices) -> Indices:
        """Those of ``indices`` that were not found to be unreadable."""
        if not self.reasons:
            return indices
        return indices[~np.isin(indices, list(self.reasons))]


class StandIns:
    """For each unreadable image, the next readable one of its class in its part of the split.

    Where images may show several classes, the next one whatever it shows. After the last one comes the first.

    Args:
        dataset: the images.
        part: the positions of those that may stand in.
        unreadable: those that are known to be unreadable, to which others may be added.
    """

    def __init__(self, dataset: ImageDataset, part: Indices, unreadable: Unreadable) -> None:
        self._dataset, self._part, self._unreadable = dataset, part, unreadable
        self._peers: dict[int, Indices] = {}

    def of(self, indices: Indices) -> Indices:
        """``indices`` with others in place of the unreadable ones.

        Raises:
            DataError: none of a class can be read.
        """
        reasons = self._unreadable.reasons
        if not reasons or not np.isin(indices, list(reasons)).any():
            return indices
        return np.array([self._next(int(index)) if int(index) in reasons else index for index in indices], np.int64)

    def _next(self, index: int) -> int:
        peers = self._peers_of(index)
        start = int(np.searchsorted(peers, index))
        for step in range(len(peers)):
            found = int(peers[(start + step) % len(peers)])
            if found not in self._unreadable.reasons:
                return found
        dataset = self._dataset
        what = "" if dataset.multi_label else f" of {quoted(dataset.class_names[int(dataset.labels[index])])}"
        raise DataError(f"{dataset.source} has no readable image{what} in this part of the split.")

    def _peers_of(self, index: int) -> Indices:
        """The images that may stand in for one, in order."""
        dataset = self._dataset
        label = -1 if dataset.multi_label else int(dataset.labels[index])
        if label not in self._peers:
            part = self._part if label < 0 else self._part[dataset.labels[self._part] == label]
            self._peers[label] = np.sort(part)
        return self._peers[label]
