"""Record what is found out about images that are decoded whenever they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.strategy import Distribution
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.runs.contents import write_contents
from cnn_registry.runs.run import Run
from cnn_registry.system.progress import note
from cnn_registry.text import counted, enumerated

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()

NAMED = 5
"""Images that a line names."""


class RecordImages(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Names the images that were found to be unreadable, in a line an epoch and in the run, and keeps digests of all.

    Args:
        run: where they are recorded.
        images: the images, of which any form may find some.
        distribution: the processes, each of which reads others.
    """

    def __init__(self, run: Run, images: LoadedImages, distribution: Distribution) -> None:
        super().__init__()
        self.run, self.images, self._distribution = run, images, distribution
        self._named = set(images.unreadable.reasons)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        found = self.images.unreadable
        if self._distribution.kind == "multiworker":
            for others in self._distribution.all_gather(list(found.reasons.items())):
                found.add({int(position): str(reason) for position, reason in others})
        if new := sorted(found.reasons.keys() - self._named):
            self._named.update(new)
            ids = self.images.dataset.ids
            bad = enumerated((f"{ids[position]} ({found.reasons[position]})" for position in new), NAMED)
            note(f"{counted(len(new), 'image')} cannot be read, so others of the same class stand in: {bad}.")
            if self.run.writes:
                run = Run.open(self.run.path)  # of which others may have changed something else
                run.updated(data=run.record.data.model_copy(update={"replaced": found.by_id()}))
        self.keep()

    def keep(self) -> None:
        """Write what is known of the content of images that are read while they are trained on."""
        if self.images.is_of_names:
            self.images.remember()
            write_contents(self.run, self.images)
