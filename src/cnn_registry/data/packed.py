"""A folder of packed images: shards of encoded images, a table of each, and an index that is written last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cnn_registry.errors import DataError
from cnn_registry.system.files import is_own_file, read_regular
from cnn_registry.system.sealed import json_digest
from cnn_registry.text import LONGEST_NAME, counted, listing, quoted, shorten

from .dataset import MAX_FLAGS, MAX_WEIGHT, ImageDataset, Split
from .image import MAX_BYTES
from .records import PackedImage, Shard, need_array_record

INDEX = "packed.json"
"""The index, which marks a folder as packed images. It is written when everything else is there."""

BEGUN = "packing.json"
"""What a packing that has not ended does, so that it can be resumed."""

MAX_SHARDS = 100_000
MAX_INDEX = 2**30
"""Bytes of the index, or of one table."""


Number = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What an array of NumPy's can hold."""

Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT, allow_inf_nan=False)]


class _Stored(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class PackPlan(_Stored):
    """What is packed, and how; a packing is resumed only with the same plan.

    Attributes:
        source: where the images are.
        content: a digest of the images' ids, labels, sizes and times.
        max_edge: the longest edge in pixels.
        max_pixels: as for `cnn_registry.train`.
        shards: the number of shards.
    """

    source: str
    content: str
    max_edge: int
    max_pixels: int | None
    shards: int


class ShardTable(_Stored):
    """What one shard holds, in order.

    Attributes:
        ids: the images' names.
        labels: their classes; where images may show several, lists of them.
        bytes: the sizes of their records.
        sha256: digests of their records.
        bad: why images that would be here could not be packed, by their ids.
        encoded: how many records are not the bytes of the image's file.
        groups, weights: as in `ImageDataset`.
        size: bytes of the shard.
    """

    ids: list[str]
    labels: list[Number] | list[list[Number]]
    bytes: list[int]
    sha256: list[str]
    bad: dict[str, str]
    encoded: int
    groups: list[Number] | None
    weights: list[Weight] | None
    size: int


class PartPositions(_Stored):
    """A split: positions of images over all shards."""

    train: list[Number]
    val: list[Number]
    test: list[Number]


class Index(_Stored):
    """The whole of a packed dataset; the fields are those of `ImageDataset`.

    Attributes:
        multi_label: whether an image may show several classes.
        tables: SHA-256 digests of the shards' tables, in order.
    """

    format: Literal["cnn_registry packed images"] = "cnn_registry packed images"
    version: Literal[1] = 1
    name: str
    class_names: list[str]
    multi_label: bool
    image_size: int | tuple[int, int] | None
    default_split: str | None
    splits: dict[str, PartPositions]
    plan: PackPlan
    images: int
    tables: list[str]


def shard_path(folder: Path, number: int, count: int) -> Path:
    """A shard; its table is beside it, with the suffix ``.json``."""
    return folder / f"shard-{number:05}-of-{count:05}.array_record"


def is_packed(path: Path) -> bool:
    """Whether a folder holds packed images, or an unfinished packing."""
    return any(is_own_file(path / name) for name in (INDEX, BEGUN))


def load_packed(folder: Path, *, min_classes: int = 2) -> ImageDataset:
    """The images that `cnn_registry.data.pack` put into a folder. No image is read.

    Args:
        folder: the folder.
        min_classes: classes that must have images.

    Raises:
        DataError: the packing has not ended, a file is missing, damaged or not a regular file, or there are too few
            classes.
        MissingPackageError: array_record is not installed.
    """
    need_array_record("Reading packed images")
    if not is_own_file(folder / INDEX):
        raise DataError(f"The packing of {folder} has not ended; run the same 'cnnreg pack' again to resume it.")
    index = read_index(folder)
    if len(index.class_names) < min_classes:
        has = f"only {listing(index.class_names)}" if index.class_names else "none"
        raise DataError(f"Expected {min_classes} or more classes in {folder}; it has {has}.")
    images: list[PackedImage] = []
    labels, groups, weights = [], [], []
    for shard, table in _shards(folder, index):
        images += (
            PackedImage(image_id, shard, number, bytes.fromhex(digest))
            for number, (image_id, digest) in enumerate(zip(table.ids, table.sha256, strict=True))
        )
        labels.append(_labels(table, index, folder / INDEX))
        groups.append(table.groups)
        weights.append(table.weights)
    if len(images) != index.images:
        raise _damaged(folder / INDEX, f"it says {index.images:,} images, its tables {len(images):,}")
    return ImageDataset(
        name=index.name,
        class_names=tuple(index.class_names),
        ids=tuple(image.image_id for image in images),
        labels=np.concatenate(labels),
        images=tuple(images),
        splits={name: _split(parts) for name, parts in index.splits.items()},
        default_split=index.default_split,
        source=str(folder.resolve()),
        image_size=index.image_size,
        groups=_joined(groups, np.int64, folder / INDEX),
        weights=_joined(weights, np.float32, folder / INDEX),
    )


def read_index(folder: Path) -> Index:
    """The index of a folder.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    file = folder / INDEX
    try:
        body = json.loads(_content(file))
        seal = body.pop("sha256")
        found = json_digest(body)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise _damaged(file, "it is not an index of packed images") from error
    if body.get("version") not in (None, 1):
        raise DataError(f"{file} is of version {quoted(body['version'])}; this cnn_registry reads version 1.")
    if seal != found:
        raise _damaged(file, "its SHA-256 is not that of its content")
    index: Index = _parsed(Index, json.dumps(body), file)
    if len(index.tables) != index.plan.shards or not 0 < index.plan.shards <= MAX_SHARDS:
        raise _damaged(file, f"it names {counted(len(index.tables), 'table')} of {index.plan.shards:,} shards")
    return index


def read_table(file: Path, digest: str | None = None) -> ShardTable:
    """The table of a shard.

    Args:
        file: the table.
        digest: its SHA-256; default any.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    content = _content(file)
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise _damaged(file, f"its SHA-256 is not that in {INDEX}")
    table: ShardTable = _parsed(ShardTable, content, file)
    columns = (table.ids, table.labels, table.bytes, table.sha256, table.groups, table.weights)
    if len({len(column) for column in columns if column is not None}) != 1:
        raise _damaged(file, "its columns have different lengths")
    if any(not 0 <= length <= MAX_BYTES for length in table.bytes) or sum(table.bytes) > table.size:
        raise _damaged(file, "its images are larger than its shard")
    if any(len(digest) != 64 or set(digest) - set("0123456789abcdef") for digest in table.sha256):
        raise _damaged(file, "its digests are not SHA-256")
    return table


def _shards(folder: Path, index: Index) -> Iterator[tuple[Shard, ShardTable]]:
    for number, digest in enumerate(index.tables):
        path = shard_path(folder, number, index.plan.shards)
        table = read_table(path.with_suffix(".json"), digest)
        shard = Shard(path, len(table.ids), table.size)
        if fault := shard.fault():
            raise DataError(f"{path} {fault}. Restore it, or pack the images again.")
        yield shard, table


def _labels(table: ShardTable, index: Index, file: Path) -> NDArray[np.integer[Any]]:
    """The labels of one table, as `ImageDataset` has them."""
    several = [label for label in table.labels if isinstance(label, list)]
    if len(several) != (len(table.labels) if index.multi_label else 0):
        raise _damaged(file, "some images have one label, others a list of them")
    if not index.multi_label:
        return np.array(table.labels, np.int64)
    classes = len(index.class_names)
    if len(several) * classes > MAX_FLAGS:
        raise _damaged(file, f"it names {classes:,} classes for images with several labels")
    flags = np.zeros((len(several), classes), np.uint8)
    for row, shown in zip(flags, several, strict=True):
        if not all(0 <= label < classes for label in shown):
            raise _damaged(file, f"its labels must be integers from 0 to {classes - 1}")
        row[shown] = 1
    return flags


def _split(parts: PartPositions) -> Split:
    return Split(*(np.array(part, np.int64) for part in (parts.train, parts.val, parts.test)))


def _joined(columns: list[list[Any] | None], kind: type, file: Path) -> Any:
    """A column over all shards; ``None`` where none has it."""
    found = [column for column in columns if column is not None]
    if found and len(found) < len(columns):
        raise _damaged(file, "some of its tables have groups or weights, others have none")
    return np.concatenate([np.array(column, kind) for column in found]) if found else None


def _content(file: Path) -> bytes:
    if not is_own_file(file):
        raise DataError(f"{file} is missing, or is not a regular file of its own. Pack the images again.")
    try:
        return read_regular(file, MAX_INDEX)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error


def _parsed(kind: type[Any], content: str | bytes, file: Path) -> Any:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"]))
        reason = f"{place}: {fault['msg']}" if place else fault["msg"]
        raise _damaged(file, shorten(reason, LONGEST_NAME)) from error


def _damaged(file: Path, why: str) -> DataError:
    return DataError(f"{file} is damaged: {why}. Restore it, or pack the images again.")
