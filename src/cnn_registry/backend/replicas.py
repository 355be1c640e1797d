"""The parts of a batch that are computed at the same time."""

from __future__ import annotations

from typing import NamedTuple


class Replicas(NamedTuple):
    """Those replicas of the network that one process computes.

    Attributes:
        first: the first of them.
        here: their number.
        of: the number of all replicas.
    """

    first: int = 0
    here: int = 1
    of: int = 1


ALL = Replicas()
"""One network computes whole batches."""
