"""Decode and resize images once, keep the pixels on disk, and map them at the next start.

An entry of the cache is named after the content of the files, the form of the pixels, and the decoder. The content of
files that have not changed is known from the last time that they were read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from cnn_registry.data.dataset import Bytes
from cnn_registry.data.form import Form
from cnn_registry.data.image import decoder, lasts
from cnn_registry.data.threads import in_threads
from cnn_registry.errors import BadImageError, DataError
from cnn_registry.system.paths import decoded_dir
from cnn_registry.system.progress import progress
from cnn_registry.text import counted, listing

from .entry import Content, read_entry, write_entry
from .files import ChangedImageError, Files
from .index import forget_digests

FORMAT = 2
"""Grows when the same files would give other pixels or another layout of the cache."""


def entry_key(hashes: Sequence[bytes], form: Form, max_pixels: int | None) -> str:
    """The name of the entry of files with these hashes."""
    made_by = f"{FORMAT} {form.key} {decoder(max_pixels)}".encode()
    return hashlib.sha256(b"\0".join([made_by, *hashes])).hexdigest()[:32]


def cached(
    files: Files, keys: Mapping[Form, str], source: str, max_pixels: int | None, *, keep: bool
) -> tuple[dict[Form, Bytes], dict[int, str]]:
    """The pixels of all readable ``files`` by form, and why others are not readable.

    Raises:
        DataError: files have changed between being hashed and being decoded.
    """
    entries = {form: decoded_dir() / key for form, key in keys.items()}
    found = {form: read_entry(entry, len(files), form.shape) for form, entry in entries.items()}
    if missing := [form for form in entries if found[form] is None]:
        decoded, reasons, lasting = _decode_all(files, missing, source, max_pixels)
        for form in missing:
            if keep and lasting and write_entry(entries[form], decoded[form], reasons):
                found[form] = read_entry(entries[form], len(files), form.shape)
            found[form] = found[form] or Content(decoded[form], reasons)
    every = {form: content for form, content in found.items() if content is not None}
    reasons = next(iter(every.values())).reasons
    for index in [index for index in reasons if not files.digest(index)]:  # which may be for another reason now
        result = files.attempt(index, forms=keys, max_pixels=max_pixels)
        reasons[index] = result.reason if isinstance(result, BadImageError) else reasons[index]
    return {form: content.pixels for form, content in every.items()}, reasons


def _decode_all(
    files: Files, forms: Sequence[Form], source: str, max_pixels: int | None
) -> tuple[dict[Form, Bytes], dict[int, str], bool]:
    """The pixels by form, why files cannot be read, and whether that will be the same another time."""
    kept = {form: np.empty((len(files), *form.shape), np.uint8) for form in forms}
    reasons: dict[int, str] = {}
    changed: list[str] = []
    done, lasting = 0, True
    with progress(f"Decoding {counted(len(files), 'image')}", len(files)) as advance:
        results = in_threads(partial(files.attempt, forms=forms, max_pixels=max_pixels), range(len(files)))
        for index, result in enumerate(results):
            if isinstance(result, ChangedImageError):
                changed.append(str(files.images[index]))
            elif isinstance(result, BadImageError):
                reasons[index] = result.reason
                # The entry is of the files' digests: one that cannot be opened has none, and has one when it can be.
                lasting = lasting and (lasts(result) or not files.digest(index))
            else:
                for own, image in zip(kept.values(), result, strict=True):
                    own[done] = image
                done += 1
            advance(1)
    if changed:
        forget_digests(source)  # which may have named another content of them
        raise DataError(
            f"{counted(len(changed), 'image')} changed while they were read: {listing(changed, 3)}. Start again when "
            f"nothing writes there any more."
        )
    return {form: kept[form][:done] for form in forms}, reasons, lasting
