"""Pack a dataset: a few large files with random access, where millions of small ones are slow to find and read."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnn_registry.errors import BadImageError, DataError, UsageError
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.files import is_own_file, is_temporary, whole_file, write_file
from cnn_registry.system.progress import note, progress, working
from cnn_registry.system.sealed import json_digest
from cnn_registry.text import counted, one_line, quoted

from .dataset import Bytes, EncodedImage, ImageDataset
from .fitting import as_image, fitted
from .image import check_file, decode_image
from .loading import load_dataset
from .manifest import Manifest, as_source
from .packed import (
    BEGUN,
    INDEX,
    MAX_SHARDS,
    Index,
    PackPlan,
    PartPositions,
    ShardTable,
    read_index,
    read_table,
    shard_path,
)
from .records import Shard, need_array_record
from .sources.loaded import BadImage, refuse_empty_classes, report_bad
from .sources.unreadable import OnBadImage, refused
from .threads import in_threads

QUALITY = 95
"""The quality of the JPEG files that larger pictures become; colours keep their full resolution (4:4:4)."""

PER_SHARD = 5_000
"""Images in a shard, unless the number of shards is given."""

LAYOUT = "group_size:1,uncompressed"
"""How ArrayRecord files are written: each record by itself, as it is, since images are compressed already."""

_KEPT = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
"""How files begin that are kept as they are: JPEG and PNG."""

_PER_PIXEL, _EXTRA = 8, 1 << 16
"""Bytes that a file may have for each pixel and besides, to be kept as it is: more are metadata, or padding."""


@dataclass(frozen=True)
class Packing:
    """What was packed.

    Attributes:
        path: the folder.
        images: the number of images.
        encoded: how many of them are not the bytes of their files.
        bad: why images were left out, by their ids.
        bytes: the size of all shards.
    """

    path: Path
    images: int
    encoded: int
    bad: dict[str, str]
    bytes: int


@checked_arguments
@working("Packing")
def pack(
    source: str | Path | Manifest | ImageDataset,
    out: str | Path,
    *,
    max_edge: int = 512,
    shards: int | None = None,
    on_bad_image: OnBadImage = "skip",
    max_pixels: int | None = None,
) -> Packing:
    """Pack the images of a dataset into ArrayRecord files, which ``data`` takes wherever it takes a folder.

    A JPEG or PNG file is kept byte for byte if neither edge is longer than ``max_edge`` and the file has at most 8
    bytes for each pixel, besides 64 KiB. All others are decoded and turned upright, as for training. Where an edge is
    longer, the image is shrunk with a Lanczos filter, keeps its aspect ratio, and becomes a JPEG of quality 95 without
    subsampled colours; a transparent one becomes a PNG. Otherwise it becomes a PNG with the same pixels. Order, labels,
    splits, groups and weights stay.

    A shard appears when it is whole, and the index, which makes the folder a dataset, when all are there. After a kill
    the same call continues with the first missing shard.

    Args:
        source: a folder of class folders, a table that names images, a `Manifest`, or what a loader returned.
        out: a new or empty folder, or one in which the same packing was stopped.
        max_edge: the longest edge in pixels.
        shards: the number of files; default one per 5,000 images.
        on_bad_image: ``"skip"`` to leave unreadable images out and record why, ``"error"`` to stop.
        max_pixels: as for `cnn_registry.train`.

    Returns:
        What was written, and which images were left out.

    Raises:
        UsageError: ``max_edge`` or ``shards`` is out of range.
        DataError: as `load_dataset`; ``out`` holds something else; or an image cannot be read and ``on_bad_image`` is
            ``"error"``, or a class has no image that can, in which case nothing is left in ``out``.
        RunError: the folder cannot be written.
        MissingPackageError: array_record is not installed.
    """
    need_array_record("Packing images")
    if max_edge < 1:
        raise UsageError(f"max_edge must be 1 or more pixels; got {max_edge}.")
    dataset = source if isinstance(source, ImageDataset) else load_dataset(None, as_source(source))
    count = -(-len(dataset) // PER_SHARD) if shards is None else shards
    if not 1 <= count <= min(len(dataset), MAX_SHARDS):
        raise UsageError(f"Expected 1 to {min(len(dataset), MAX_SHARDS):,} shards of these images; got {count:,}.")
    plan = PackPlan(
        source=dataset.source, content=_content(dataset), max_edge=max_edge, max_pixels=max_pixels, shards=count
    )
    folder = Path(out)
    with _begun(folder, plan):
        if is_own_file(folder / INDEX):
            note(f"{folder} is packed already.")
            tables = [read_table(_table(folder, number, count)) for number in range(count)]
        else:
            tables = _write(dataset, folder, plan, on_bad_image)
            _finish(dataset, folder, plan, tables)
    bad = {image_id: reason for table in tables for image_id, reason in table.bad.items()}
    if bad:
        report_bad([BadImage(*item) for item in bad.items()], len(dataset), on_bad_image)
    images, encoded, size = (
        sum(values) for values in zip(*((len(t.ids), t.encoded, t.size) for t in tables), strict=True)
    )
    return Packing(folder, images, encoded, bad, size)


def _content(dataset: ImageDataset) -> str:
    """A digest of what is packed, splits, groups and weights included; of files, their sizes and times."""
    digest = hashlib.sha256()
    splits = {
        name: [part.tolist() for part in (split.train, split.val, split.test)] for name, split in dataset.splits.items()
    }
    columns = [None if column is None else column.tolist() for column in (dataset.groups, dataset.weights)]
    facts = [dataset.class_names, dataset.ids, dataset.labels.tolist(), splits, dataset.default_split, *columns]
    digest.update(json.dumps(facts).encode())
    if isinstance(dataset.images, np.ndarray):
        digest.update(np.ascontiguousarray(dataset.images).data)
        return digest.hexdigest()
    for file in dataset.images:
        if isinstance(file, Path):
            try:
                found = file.stat()
                digest.update(f"{found.st_size} {found.st_mtime_ns}\n".encode())
            except OSError:
                digest.update(b"missing\n")
        else:
            digest.update(file.digest)
    return digest.hexdigest()


@contextmanager
def _begun(folder: Path, plan: PackPlan) -> Iterator[None]:
    """The folder for this packing alone, with its plan in it."""
    from filelock import FileLock, Timeout

    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; expected a new folder for the packed images.")
    _check_inside(folder, plan)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise DataError(f"Another process is packing into {folder}; wait for its end, or stop it.") from None
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}.") from error
    try:
        _check_plan(folder, plan)
        for item in folder.iterdir():
            if is_temporary(item) and is_own_file(item):
                item.unlink()
        if not is_own_file(folder / INDEX) and not is_own_file(folder / BEGUN):
            write_file(folder / BEGUN, plan.model_dump_json())
        yield
    finally:
        lock.release()


def _check_inside(folder: Path, plan: PackPlan) -> None:
    """Refuse a folder that holds anything but this packing."""
    if not folder.is_dir():
        return
    begun = any(is_own_file(folder / name) for name in (INDEX, BEGUN))
    shards = [shard_path(folder, number, plan.shards) for number in range(plan.shards)]
    own = {INDEX, BEGUN, ".lock", *(path.name for path in shards), *(path.with_suffix(".json").name for path in shards)}
    for item in sorted(folder.iterdir()):
        known = is_temporary(item) or item.name == ".lock" or (begun and item.name in own)
        if not known and not (begun and item.name.startswith("shard-")):
            raise DataError(f"{folder} holds other files, for example {quoted(item.name)}; pack into a new folder.")
        if not is_own_file(item):
            raise DataError(f"{item} is not a regular file of its own; remove it, or pack into a new folder.")


def _check_plan(folder: Path, plan: PackPlan) -> None:
    """Refuse to resume the packing of something else."""
    if is_own_file(folder / INDEX):
        before = read_index(folder).plan
    elif is_own_file(folder / BEGUN):
        try:
            before = PackPlan.model_validate_json((folder / BEGUN).read_bytes())
        except (ValueError, OSError) as error:
            raise DataError(f"{folder / BEGUN} is damaged; remove the folder and pack again.") from error
    else:
        return
    old, new = before.model_dump(), plan.model_dump()
    for key in ("source", "max_edge", "max_pixels", "shards", "content"):
        if old[key] != new[key]:
            what = "the images have changed" if key == "content" else f"{key} was {old[key]}, is {new[key]}"
            raise DataError(f"{folder} holds another packing: {what}. Pack into a new folder, or remove this one.")


def _write(dataset: ImageDataset, folder: Path, plan: PackPlan, on_bad_image: OnBadImage) -> list[ShardTable]:
    """The shards that are not there yet, and the tables of all."""
    bounds = np.linspace(0, len(dataset), plan.shards + 1).round().astype(int)
    tables = []
    with progress(f"Packing {counted(len(dataset), 'image')}", len(dataset)) as advance:
        for number, (start, stop) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
            path = shard_path(folder, number, plan.shards)
            table = _present(path)
            if table is None:
                table = _write_shard(dataset, range(start, stop), path, plan, on_bad_image, advance)
                write_file(path.with_suffix(".json"), table.model_dump_json())
            else:
                advance(stop - start)
                if table.bad and on_bad_image == "error":
                    raise refused(*next(iter(table.bad.items())))
            tables.append(table)
    return tables


def _present(path: Path) -> ShardTable | None:
    """The table of a shard that was written before and is whole."""
    if not is_own_file(path.with_suffix(".json")):
        return None
    try:
        table = read_table(path.with_suffix(".json"))
    except DataError:
        return None
    return None if Shard(path, len(table.ids), table.size).fault() else table


def _write_shard(
    dataset: ImageDataset, positions: range, path: Path, plan: PackPlan, on_bad_image: OnBadImage, advance: Any
) -> ShardTable:
    from array_record.python.array_record_module import ArrayRecordWriter

    bad: dict[str, str] = {}
    kept: list[int] = []
    lengths, digests, encoded = [], [], 0
    with whole_file(path) as temporary:
        try:
            writer = ArrayRecordWriter(str(temporary), LAYOUT)
            try:
                images = (dataset.images[position] for position in positions)
                for position, record in zip(positions, _records(images, plan), strict=True):
                    advance(1)
                    if isinstance(record, str):
                        if on_bad_image == "error":
                            raise refused(dataset.ids[position], record)
                        bad[dataset.ids[position]] = record
                        continue
                    content, is_encoded = record
                    writer.write(content)
                    kept.append(position)
                    lengths.append(len(content))
                    digests.append(hashlib.sha256(content).hexdigest())
                    encoded += is_encoded
            finally:
                writer.close()
        except RuntimeError as error:
            raise DataError(f"{path} cannot be written: {one_line(error)}.") from error
        size = temporary.stat().st_size
    return ShardTable(
        ids=[dataset.ids[position] for position in kept],
        labels=[np.flatnonzero(row).tolist() for row in dataset.labels[kept]]
        if dataset.multi_label
        else dataset.labels[kept].tolist(),
        bytes=lengths,
        sha256=digests,
        bad=bad,
        encoded=encoded,
        groups=None if dataset.groups is None else dataset.groups[kept].tolist(),
        weights=None if dataset.weights is None else dataset.weights[kept].tolist(),
        size=size,
    )


def _records(images: Iterable[EncodedImage | Bytes], plan: PackPlan) -> Iterator[tuple[bytes, bool] | str]:
    """The record of each image and whether it is encoded for it, or why the image cannot be read."""
    return in_threads(partial(_record, plan=plan), images)


def _record(image: EncodedImage | Bytes, plan: PackPlan) -> tuple[bytes, bool] | str:
    try:
        if isinstance(image, np.ndarray):
            return _encoded(as_image(image), plan.max_edge), True
        content = _bytes_of(image)
        whole = decode_image(io.BytesIO(content), alpha=True, max_pixels=plan.max_pixels)
    except BadImageError as error:
        return error.reason
    except OSError as error:
        return (error.strerror or str(error)).lower()
    is_small = max(whole.size) <= plan.max_edge and len(content) <= _PER_PIXEL * math.prod(whole.size) + _EXTRA
    if is_small and content.startswith(_KEPT):
        return content, False
    return _encoded(_opaque(whole), plan.max_edge), True


def _bytes_of(image: EncodedImage) -> bytes:
    if isinstance(image, Path):
        check_file(image)
        return image.read_bytes()
    with image.open() as record:
        return record.getvalue()


def _opaque(image: Image.Image) -> Image.Image:
    """An image without the channel for alpha if all of it is opaque."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    return image


def _encoded(image: Image.Image, max_edge: int) -> bytes:
    """A JPEG of an image that is made smaller, a PNG of one that is not, or that is transparent somewhere."""
    stream = io.BytesIO()
    small = fitted(image, max_edge) if max(image.size) > max_edge else image
    if small is not image and small.mode != "RGBA":
        small.save(stream, "JPEG", quality=QUALITY, subsampling="4:4:4")
    else:
        small.save(stream, "PNG")
    return stream.getvalue()


def _finish(dataset: ImageDataset, folder: Path, plan: PackPlan, tables: list[ShardTable]) -> None:
    """Write the index of shards that are all there."""
    bad = {image_id for table in tables for image_id in table.bad}
    kept = dataset.select(np.array([image_id not in bad for image_id in dataset.ids], bool)) if bad else dataset
    try:
        refuse_empty_classes(kept)
    except DataError:  # these files will not do, and others are another packing
        for number in range(plan.shards):
            for file in (shard_path(folder, number, plan.shards), _table(folder, number, plan.shards)):
                file.unlink(missing_ok=True)
        (folder / BEGUN).unlink(missing_ok=True)
        raise
    index = Index(
        name=dataset.name,
        class_names=list(dataset.class_names),
        multi_label=dataset.multi_label,
        image_size=dataset.image_size,
        default_split=dataset.default_split,
        splits={
            name: PartPositions(train=split.train.tolist(), val=split.val.tolist(), test=split.test.tolist())
            for name, split in kept.splits.items()
        },
        plan=plan,
        images=len(kept),
        tables=[
            hashlib.sha256(_table(folder, number, plan.shards).read_bytes()).hexdigest()
            for number in range(plan.shards)
        ],
    )
    body = index.model_dump()
    write_file(folder / INDEX, json.dumps({"sha256": json_digest(body), **body}))
    (folder / BEGUN).unlink(missing_ok=True)


def _table(folder: Path, number: int, count: int) -> Path:
    return shard_path(folder, number, count).with_suffix(".json")
