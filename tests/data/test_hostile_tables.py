"""Tables and packed images that are damaged, or made to mislead."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_registry.data.loading import _loader_fault, load_dataset
from cnn_registry.data.packed import INDEX, shard_path
from cnn_registry.data.packing import pack
from cnn_registry.errors import DataError
from cnn_registry.system.sealed import json_digest
from cnn_registry.text import listing

FILES = [f"{name}/{number}.png" for name in ("ash", "beech") for number in range(3)]
LABELS = [file.partition("/")[0] for file in FILES]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for file in FILES:
        (root / file).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(root / file)
    return root


@pytest.fixture(scope="module")
def packed(pictures: Path) -> Path:
    return pack(pictures, pictures.parent / "packed", shards=2).path


def _table(pictures: Path, *lines: str, ends: str = "\n") -> Path:
    file = pictures / "table.csv"
    file.write_bytes(ends.join([*lines, ""]).encode())
    return file


@pytest.mark.parametrize("weight", ["1e39", "1e400", "nan", "-0.1"])
def test_a_weight_is_one_that_a_float32_holds(pictures: Path, weight: str) -> None:
    rows = [f"{file},{label},1" for file, label in zip(FILES, LABELS, strict=True)]
    file = _table(pictures, "path,label,weight", *rows[:-1], f"{FILES[-1]},beech,{weight}")
    with pytest.raises(DataError, match=r"line 7: expected a weight from 0 to 3\.4e\+38; got"):
        load_dataset(None, file)


def test_a_carriage_return_is_explained_in_words(pictures: Path) -> None:
    file = _table(pictures, "path,label", *map(",".join, zip(FILES, LABELS, strict=True)), ends="\r")
    with pytest.raises(DataError, match=r"line 1: a carriage return within a line\. Save it with the line ends of"):
        load_dataset(None, file)


def test_text_of_a_parquet_file_that_is_not_utf8_is_one_line(pictures: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    text = arrow.array([b"ash/\xff.png", *(name.encode() for name in FILES[1:])]).view(arrow.string())
    file = pictures / "table.parquet"
    parquet.write_table(arrow.table({"path": text, "label": LABELS}), file)
    with pytest.raises(DataError, match=r"table\.parquet is damaged: UnicodeDecodeError: .*[^.]\.$"):
        load_dataset(None, file)


def test_no_flipped_bit_of_a_parquet_file_escapes(pictures: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = pictures / "flipped.parquet"
    parquet.write_table(arrow.table({"path": FILES, "label": LABELS}), file)
    content, rng = file.read_bytes(), np.random.default_rng(0)
    reasons: list[str] = []
    for _ in range(100):
        flipped = bytearray(content)
        flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
        file.write_bytes(flipped)
        try:
            found = load_dataset(None, file)
        except DataError as error:
            reasons.append(str(error))
        else:
            assert len(found.ids) == len(FILES), "a flip in what is not read"
    assert len(reasons) > 20
    assert not any("\n" in reason for reason in reasons)


def _rewritten(packed: Path, folder: Path, *, index: dict[str, Any], table: dict[str, Any]) -> Path:
    """A copy with other values in its index and its first table, all digests being right."""
    shutil.copytree(packed, folder)
    file = shard_path(folder, 0, 2).with_suffix(".json")
    file.write_text(json.dumps(json.loads(file.read_text()) | table))
    body = json.loads((folder / INDEX).read_text()) | index
    body.pop("sha256")
    body["tables"][0] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / INDEX).write_text(json.dumps({"sha256": json_digest(body), **body}))
    return folder


@pytest.mark.parametrize(
    ("index", "table", "said"),
    [
        ({}, {"weights": [1.0] * 3}, "some of its tables have groups or weights, others have none"),
        ({}, {"groups": [7] * 3}, "some of its tables have groups or weights, others have none"),
        ({}, {"weights": [1e39] * 3}, "weights.0: "),
        ({}, {"weights": [-1.0] * 3}, "weights.0: "),
        ({}, {"weights": [float("nan")] * 3}, "weights.0: "),
        ({}, {"groups": [2**70] * 3}, "groups.0: "),
        ({}, {"labels": [2**70] * 3}, "labels."),
        ({"splits": {"s": {"train": [2**70], "val": [], "test": []}}}, {}, "splits.s.train.0: "),
        ({"class_names": ["ash", "ash"]}, {}, "two of its classes have the same name"),
        ({"class_names": ["ash", ""]}, {}, "its class names must be texts that are not empty"),
        ({"class_names": []}, {}, "it has none."),
        ({"image_size": 0}, {}, "its image_size must be above 0, not 0"),
        ({"image_size": [-3, 4]}, {}, r"its image_size must be above 0, not \(-3, 4\)"),
    ],
)
def test_an_index_with_right_digests_is_not_believed(
    packed: Path, tmp_path: Path, index: dict[str, Any], table: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        load_dataset(None, _rewritten(packed, tmp_path / "copy", index=index, table=table))


@pytest.mark.parametrize("other", [0, 1])
def test_shards_that_change_places_are_not_read(packed: Path, tmp_path: Path, other: int) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(packed, folder)
    shutil.copy(shard_path(packed, 1 - other, 2), shard_path(folder, other, 2))
    found = load_dataset(None, folder)
    with pytest.raises(OSError, match="it is not what was packed"), found.images[3 * other].open():
        pass


def test_the_names_of_a_loader_are_checked(packed: Path) -> None:
    found = load_dataset(None, packed)
    assert _loader_fault(found) == ""
    names: Any = (1, 2)
    assert _loader_fault(replace(found, class_names=names)) == "its class names must be texts that are not empty"
    assert _loader_fault(replace(found, weights=np.full(6, 1e39))) == "its weights must be from 0 to 3.4e+38"


def test_long_names_in_a_list_are_shortened() -> None:
    assert listing(["a" * 5000, "b"]) == f"'{'a' * 99}\u2026{'a' * 98}', 'b'"
