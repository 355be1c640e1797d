"""Make the images of a dataset readable: decoded and in memory, or decoded whenever they are read.

A dataset that is larger than memory is not read before it is trained on. What its files hold is known when they have
been decoded: until then a digest of their names and labels stands for that of their content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from cnn_registry.backend import memory_limit as usable_memory
from cnn_registry.data.dataset import Bytes, ImageDataset
from cnn_registry.data.fitting import as_image, pixels
from cnn_registry.data.form import Form
from cnn_registry.data.threads import in_flight
from cnn_registry.errors import DataError
from cnn_registry.system.cache import cache_limit
from cnn_registry.system.progress import note
from cnn_registry.text import counted

from .cache import cached, entry_key
from .files import Files, Hashes, StreamedImages
from .index import recall, remember
from .loaded import BadImage, LoadedImages, digest_of, digest_of_names, image_hashes, refuse_empty_classes, report_bad
from .memory import ArrayImages, ResizedImages
from .source import ImageSource
from .unreadable import OnBadImage, Unreadable


def load_images(
    dataset: ImageDataset,
    form: int | Form,
    *,
    on_bad_image: OnBadImage = "skip",
    memory_limit: int | None = None,
    max_pixels: int | None = None,
) -> LoadedImages:
    """`load_forms` in one form; an integer stands for RGB squares with this edge length in pixels."""
    wanted = Form.of(form)
    loaded = load_forms(dataset, (wanted,), on_bad_image=on_bad_image, memory_limit=memory_limit, max_pixels=max_pixels)
    return loaded[wanted]


def load_forms(
    dataset: ImageDataset,
    forms: Iterable[Form],
    *,
    on_bad_image: OnBadImage = "skip",
    memory_limit: int | None = None,
    max_pixels: int | None = None,
    keep: bool = True,
    streamed: bool = False,
) -> dict[Form, LoadedImages]:
    """Make the images of a dataset readable in some forms. Each file is read and decoded once for all of them.

    Args:
        dataset: what a loader returned.
        forms: the forms. Images that are held in memory are decoded exactly in any case.
        on_bad_image: ``"skip"`` leaves unreadable images out, with a note; ``"error"`` raises.
        memory_limit: bytes of pixels that are held in memory; more are decoded whenever they are read. Default half of
            the memory that this process may use.
        max_pixels: the largest image that is decoded, width times height; default Pillow's limit.
        keep: whether decoded images are written to the cache.
        streamed: decode files whenever they are read, even if all images fit into memory.

    Raises:
        DataError: an image is unreadable and ``on_bad_image`` is ``"error"``, a class has no readable image, or a few
            images in one of the forms are larger than the memory.
    """
    if keep:
        cache_limit()  # a value that is wrong is refused before hours of decoding
    wanted = list(dict.fromkeys(forms))
    limit = usable_memory() // 2 if memory_limit is None else memory_limit
    needed = sum(form.values for form in {form.exact for form in wanted})
    _check_room(wanted, needed)
    fits = len(dataset) * needed <= limit
    in_memory = fits and not streamed
    if isinstance(dataset.images, np.ndarray):
        hashes = image_hashes(dataset)
        digest = digest_of(dataset, hashes)
        sources = {form: _array_source(dataset.images, form, in_memory) for form in wanted}
        return {form: LoadedImages(dataset, sources[form], (), digest, tuple(hashes)) for form in wanted}
    files = Files(dataset.images)
    files.look()
    recall(files, dataset.source)
    if not in_memory:
        return _streamed(dataset, files, wanted, on_bad_image, max_pixels, fits=fits)
    files.hash_unknown()
    hashes = [files.digest(index) for index in range(len(files))]
    keys = {form: entry_key(hashes, form, max_pixels) for form in dict.fromkeys(form.exact for form in wanted)}
    decoded, reasons = cached(files, keys, dataset.source, max_pixels, keep=keep)
    if keep:
        remember(files, dataset.source)
    bad = tuple(BadImage(dataset.ids[index], reason) for index, reason in reasons.items())
    readable = np.ones(len(dataset), bool)
    readable[list(reasons)] = False
    if bad:
        report_bad(bad, len(dataset), on_bad_image)
        dataset, files = dataset.select(readable), files.select(np.flatnonzero(readable))
    refuse_empty_classes(dataset)
    hashes = [files.digest(index) for index in range(len(files))]
    digest = digest_of(dataset, hashes)
    return {
        form: LoadedImages(dataset, ArrayImages(decoded[form.exact], form), bad, digest, tuple(hashes), files=files)
        for form in wanted
    }


def _streamed(
    dataset: ImageDataset,
    files: Files,
    forms: Sequence[Form],
    on_bad_image: OnBadImage,
    max_pixels: int | None,
    *,
    fits: bool,
) -> dict[Form, LoadedImages]:
    """The images of a dataset, decoded whenever they are read."""
    refuse_empty_classes(dataset)
    packed = bool(files.known.all()) and not files.states.any()
    hashes = Hashes(files)
    if not files.known.all():
        why = "as when the run began" if fits else "because they do not fit into memory"
        note(
            f"{counted(len(dataset), 'image')} are decoded whenever they are read, {why}. Unreadable and duplicate "
            f"ones are found then."
        )
    digest = digest_of(dataset, hashes) if packed else digest_of_names(dataset)
    unreadable = Unreadable(dataset.ids, on_bad_image)
    return {
        form: LoadedImages(
            dataset, StreamedImages(files, form, max_pixels), (), digest, hashes, unreadable=unreadable, files=files
        )
        for form in forms
    }


def _check_room(forms: Sequence[Form], needed: int) -> None:
    """Refuse forms in which the images that are in work at one time would fill the memory."""
    available, taken, largest = usable_memory(), in_flight() * needed, max(forms, key=lambda form: form.values)
    if taken > available:
        raise DataError(
            f"Images of {largest} pixels are too large: {in_flight()} are decoded at a time and take "
            f"{taken / 1e9:,.1f} GB; this process may use {available / 1e9:,.1f} GB. Choose a smaller image_size."
        )


def _array_source(images: Bytes, form: Form, in_memory: bool) -> ImageSource:
    if not in_memory:
        return ResizedImages(images, form)
    return ArrayImages(np.stack([pixels(as_image(image), form.exact) for image in images]), form)
