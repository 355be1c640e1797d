"""How a callback ends a training before its last epoch."""

from __future__ import annotations


class Diverged(Exception):  # noqa: N818  (what happened; the loop makes an error of it)
    """The loss or a weight is not finite.

    Args:
        from_the_start: whether it is the loss of the first step, for which no weight has changed.
    """

    def __init__(self, *, from_the_start: bool = False) -> None:
        super().__init__()
        self.from_the_start = from_the_start


class EndedEarly(Exception):  # noqa: N818  (as above)
    """A pass over the images ended before its last step: Keras takes a callback's StopIteration for their end.

    Args:
        what: ``"epoch"`` or ``"validation"``.
        done: steps that were done.
        of: steps that there are.
    """

    def __init__(self, what: str, done: int, of: int) -> None:
        super().__init__(what, done, of)
        self.what, self.done, self.of = what, done, of


class Stopped(Exception):  # noqa: N818  (no error)
    """The training was asked to stop, and everything that it needs to resume is written."""
