"""What is known of the content of a run's images until its training has ended.

Images that are decoded whenever they are read have no digest before they are read. A training that is resumed has
those of the images that it had read, so that it continues with the same.
"""

from __future__ import annotations

import numpy as np

from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.system.sealed import read_sealed, write_sealed

from .layout import CONTENTS
from .run import Run


def write_contents(run: Run, images: LoadedImages) -> None:
    """Write the digests of the images of a run, as far as they are known.

    Raises:
        RunError: they cannot be written.
    """
    if run.writes and images.is_of_names and images.files is not None:
        digests = np.where(images.files.known[:, None], images.files.digests, np.uint8(0))
        write_sealed(run.path / CONTENTS, digests.tobytes())


def changed_contents(run: Run, images: LoadedImages) -> list[str]:
    """The ids of images that have another content than in the run; the others are expected to have the same.

    What the run does not know, or is damaged, counts as not known.
    """
    content = read_sealed(run.path / CONTENTS)
    if images.files is None or not content or len(content) != images.files.digests.nbytes:
        return []
    digests = np.frombuffer(content, np.uint8).reshape(-1, 32)
    known = np.flatnonzero(digests.any(1))
    return [images.dataset.ids[position] for position in images.files.expect(known, digests[known])]


def remove_contents(run: Run) -> None:
    """Remove what `write_contents` wrote: the record of a training that has ended has the digest of all images."""
    if run.writes:
        (run.path / CONTENTS).unlink(missing_ok=True)
