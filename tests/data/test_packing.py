from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_registry.data import packing as pack_module
from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.image import decode, decode_image
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.manifest import Manifest
from cnn_registry.data.packing import Packing, pack
from cnn_registry.data.records import PackedImage
from cnn_registry.data.sources.load import load_images
from cnn_registry.errors import BadImageError, DataError, UsageError
from cnn_registry.system.sealed import json_digest

pytest.importorskip("array_record")

Folder = Callable[..., Path]
PATHS = [f"{name}/{number}.png" for name in ("a", "b") for number in range(5)]


@pytest.fixture
def packed(folder: Folder, tmp_path: Path) -> Path:
    return pack(folder(*PATHS), tmp_path / "packed", shards=3).path


def record(dataset: ImageDataset, image_id: str) -> bytes:
    image = dataset.images[dataset.ids.index(image_id)]
    assert isinstance(image, PackedImage)
    return image.open().getvalue()


def test_packed_images_are_those_of_the_folder(folder: Folder, tmp_path: Path) -> None:
    root = folder(*PATHS)
    done = pack(root, tmp_path / "packed", shards=3)
    assert (done.images, done.encoded, done.bad) == (10, 0, {})
    files, found = load_dataset(None, root), load_dataset(None, done.path)
    assert (found.name, found.ids, found.class_names) == (files.name, files.ids, files.class_names)
    np.testing.assert_array_equal(found.labels, files.labels)
    assert [record(found, image_id) for image_id in found.ids] == [(root / path).read_bytes() for path in found.ids]
    one, other = load_images(files, 8), load_images(found, 8)
    assert (one.digest, one.hashes) == (other.digest, other.hashes)  # so a run on the folder resumes from the shards
    streamed = load_images(found, 8, memory_limit=0).source
    np.testing.assert_array_equal(streamed.read(np.array([9, 0, 4])), one.source.read(np.array([9, 0, 4])))


def test_a_table_keeps_its_splits_groups_and_weights(folder: Folder, tmp_path: Path) -> None:
    root = folder(*PATHS)
    rows = [f"{path},{path[0]},{'val' if path[2] == '4' else 'train'},g{path[2]},{path[2]}" for path in PATHS]
    (root / "t.csv").write_text("\n".join(["path,label,split,group,weight", *rows]), encoding="utf-8")
    (root / "a" / "0.png").write_bytes(b"")
    table, found = load_dataset(None, root / "t.csv"), load_dataset(None, pack(root / "t.csv", tmp_path / "p").path)
    kept = table.select(np.arange(10) > 0)
    assert (found.default_split, found.ids) == (kept.default_split, kept.ids)
    for part in ("train", "val", "test"):
        expected = getattr(kept.splits["manifest"], part)
        np.testing.assert_array_equal(getattr(found.splits["manifest"], part), expected)
    assert found.groups is not None
    assert found.weights is not None
    np.testing.assert_array_equal(found.groups, np.asarray(kept.groups))
    np.testing.assert_array_equal(found.weights, np.asarray(kept.weights))
    text = (root / "t.csv").read_text(encoding="utf-8")
    for change in (("val,g4", "train,g4"), ("g4,4", "g5,4"), ("g4,4", "g4,2")):
        (root / "t.csv").write_text(text.replace(*change, 1), encoding="utf-8")
        with pytest.raises(DataError, match="holds another packing"):
            pack(root / "t.csv", tmp_path / "p")


def test_only_what_is_too_large_or_of_another_format_is_encoded_again(tmp_path: Path, picture: Any) -> None:
    root = tmp_path / "pictures"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
    smooth = Image.linear_gradient("L").resize((100, 60)).convert("RGB")
    smooth.save(root / "a" / "large.jpg", quality=95)
    smooth.save(root / "a" / "large.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(64, 40).save(root / "a" / "turned.jpg", exif=turned)
    picture(64, 64).save(root / "b" / "exact.png")
    picture(30, 20).save(root / "b" / "small.bmp")
    (root / "b" / "padded.png").write_bytes((root / "b" / "exact.png").read_bytes() + bytes(1 << 17))
    done = pack(root, tmp_path / "packed", max_edge=64)
    assert (done.images, done.encoded) == (6, 4)
    found = load_dataset(None, done.path)
    for kept in ("a/turned.jpg", "b/exact.png"):
        assert record(found, kept) == (root / kept).read_bytes()
    for shrunk in ("a/large.jpg", "a/large.png"):
        with Image.open(io.BytesIO(record(found, shrunk))) as image:
            assert (image.format, image.size) == ("JPEG", (64, 38))
            expected = np.asarray(smooth.resize((64, 38), Image.Resampling.LANCZOS), int)
            assert np.abs(np.asarray(image.convert("RGB"), int) - expected).max() <= 8
    for exact in ("b/small.bmp", "b/padded.png"):
        again = decode_image(io.BytesIO(record(found, exact)))
        np.testing.assert_array_equal(np.asarray(again), np.asarray(decode_image(root / exact)))


def test_a_dataset_in_memory_keeps_its_pixels(dataset: Callable[..., ImageDataset], tmp_path: Path) -> None:
    made = dataset(3, 4)
    assert isinstance(made.images, np.ndarray)
    found = load_dataset(None, pack(made, tmp_path / "packed").path)
    assert found.image_size == made.image_size
    pixels = [decode_image(io.BytesIO(record(found, image_id))) for image_id in found.ids]
    np.testing.assert_array_equal(np.stack([np.asarray(image) for image in pixels]), made.images)


def test_transparent_images_and_several_labels_stay(folder: Folder, tmp_path: Path) -> None:
    root = folder(*PATHS)
    shade = Image.linear_gradient("L").resize((80, 60))
    Image.merge("RGBA", [shade] * 4).save(root / "a" / "0.png")
    rows = [f"{path},{'a|b' if path[2] == '0' else path[0]}" for path in PATHS]
    (root / "t.csv").write_text("\n".join(["path,labels", *rows]), encoding="utf-8")
    found = load_dataset(None, pack(root / "t.csv", tmp_path / "packed", max_edge=40, shards=2).path)
    np.testing.assert_array_equal(found.labels, load_dataset(None, root / "t.csv").labels)
    with Image.open(io.BytesIO(record(found, "a/0.png"))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (40, 30))


def test_unreadable_images_are_left_out_or_stop_the_packing(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(*PATHS)
    (root / "a" / "2.png").write_bytes((root / "a" / "2.png").read_bytes()[:80])
    with pytest.raises(DataError, match=r"^a/2\.png cannot be read: truncated\. Fix or remove it"):
        pack(root, tmp_path / "strict", on_bad_image="error")
    done = pack(root, tmp_path / "packed")
    assert done.bad == {"a/2.png": "truncated"}
    assert "1 of 10 images cannot be read and are left out: a/2.png (truncated)." in capsys.readouterr().err
    assert "a/2.png" not in load_dataset(None, done.path).ids
    with pytest.raises(DataError, match="1 of 10 images cannot be read"):
        pack(root, tmp_path / "packed", on_bad_image="error")


def test_nothing_is_left_of_a_packing_without_a_readable_image(folder: Folder, tmp_path: Path) -> None:
    root, out = folder(*PATHS), tmp_path / "packed"
    before = {path: (root / path).read_bytes() for path in PATHS}
    for path in PATHS:
        (root / path).write_bytes(b"")
    with pytest.raises(DataError, match="has no readable image of 'a', 'b'"):
        pack(root, out, shards=2)
    assert {path.name for path in out.iterdir()} <= {".lock"}
    for path, content in before.items():
        (root / path).write_bytes(content)
    assert pack(root, out, shards=3).images == 10


def test_a_packing_that_was_killed_continues_with_the_first_missing_shard(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = folder(*PATHS), tmp_path / "packed"
    code = (
        "import os, sys; from cnn_registry.data import packing as p; write = p.write_file\n"
        "def kill(path, text):\n"
        "    if path.name.startswith('shard-00001'): os.kill(os.getpid(), 9)\n"
        "    write(path, text)\n"
        "p.write_file = kill; p.pack(sys.argv[1], sys.argv[2], shards=3)"
    )
    killed = subprocess.run([sys.executable, "-c", code, root, out], capture_output=True, check=False)
    assert killed.returncode == -9
    (out / ".writing-1-shard").write_bytes(b"left behind")
    with pytest.raises(DataError, match="has not ended; run the same 'cnnreg pack' again"):
        load_dataset(None, out)
    with pytest.raises(DataError, match="holds another packing: max_edge was 512, is 256"):
        pack(root, out, shards=3, max_edge=256)
    first = (out / "shard-00000-of-00003.array_record").stat().st_mtime_ns
    done = pack(root, out, shards=3)
    assert (out / "shard-00000-of-00003.array_record").stat().st_mtime_ns == first
    assert not list(out.glob(".writing*"))
    undisturbed = pack(root, tmp_path / "other", shards=3)
    assert {path.name: path.read_bytes() for path in done.path.iterdir()} == {
        path.name: path.read_bytes() for path in undisturbed.path.iterdir()
    }
    monkeypatch.setattr(pack_module, "_write_shard", None)  # which a second packing does not call
    assert pack(root, out, shards=3) == done


def test_a_folder_of_something_else_is_not_written_to(folder: Folder, tmp_path: Path) -> None:
    root = folder(*PATHS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(DataError, match=r"holds other files, for example 'notes\.txt'; pack into a new folder"):
        pack(root, tmp_path / "mine")
    with pytest.raises(UsageError, match="Expected 1 to 10 shards of these images; got 11"):
        pack(root, tmp_path / "new", shards=11)
    assert not (tmp_path / "new").exists()


def test_a_flipped_bit_is_reported_with_the_name_of_its_image(packed: Path) -> None:
    shard = packed / "shard-00001-of-00003.array_record"
    content = bytearray(shard.read_bytes())
    found = load_dataset(None, packed)
    at = bytes(content).index(record(found, "a/4.png")[100:160])
    content[at] ^= 4
    shard.write_bytes(content)
    damaged = load_dataset(None, packed)
    fault = r"a/4\.png \(damaged: it is not what was packed\)"
    with pytest.raises(DataError, match=rf"^1 of 10 images cannot be read: {fault}\. Fix or remove them"):
        load_images(damaged, 8, on_bad_image="error")
    with pytest.raises(DataError, match=r"^a/4\.png in .*shard-00001.* cannot be read as an image: damaged"):
        decode(damaged.images[4], 8)
    content[at] ^= 4
    shard.write_bytes(content)
    assert not load_images(load_dataset(None, packed), 8).bad


def rewritten(packed: Path, file: str, **changes: Any) -> None:
    """Forge a table or the index, with digests that fit."""
    path = packed / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")
    index = json.loads((packed / "packed.json").read_text())
    index.pop("sha256")
    tables = sorted(packed.glob("shard-*.json"))
    index["tables"] = [hashlib.sha256(table.read_bytes()).hexdigest() for table in tables]
    (packed / "packed.json").write_text(json.dumps({"sha256": json_digest(index), **index}), encoding="utf-8")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


TABLE, SHARD = "shard-00001-of-00003.json", "shard-00001-of-00003.array_record"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: (p / "packed.json").write_bytes(b"{" * 10**5), r"packed\.json is damaged: it is not an index"),
        (lambda p: (p / "packed.json").write_text("[1]"), r"packed\.json is damaged: it is not an index"),
        (lambda p: os.truncate(p / "packed.json", 300), r"packed\.json is damaged: it is not an index"),
        (lambda p: os.truncate(p / TABLE, 30), rf"{TABLE} is damaged: its SHA-256 is not that in packed"),
        (lambda p: os.truncate(p / SHARD, 1000), rf"{SHARD} has 1,000 bytes, not [\d,]+: it was cut off"),
        (lambda p: pipe(p / SHARD), rf"{SHARD} is missing, or is not a regular file"),
        (lambda p: ((p / SHARD).rename(p.parent / "s"), (p / SHARD).symlink_to(p.parent / "s")), "not a regular file"),
        (lambda p: pipe(p / TABLE), rf"{TABLE} is missing, or is not a regular file"),
        (lambda p: rewritten(p, TABLE, bytes=[1 << 40] * 4), r"its images are larger than its shard"),
        (lambda p: rewritten(p, TABLE, bytes=[1]), r"its columns have different lengths"),
        (lambda p: rewritten(p, TABLE, sha256=["x" * 64] * 4), r"its digests are not SHA-256"),
        (lambda p: rewritten(p, TABLE, labels=[7] * 4), r"tables of .* are damaged: its labels must be integers"),
        (lambda p: rewritten(p, TABLE, ids=["a/0.png"] * 4), r"are damaged: two of its images have the same id"),
        (lambda p: rewritten(p, TABLE, labels=["x"] * 4), rf"{TABLE} is damaged: labels\.[^:]*0: Input should be"),
        (lambda p: rewritten(p, "packed.json", images=10**9), r"it says 1,000,000,000 images, its tables 10"),
        (lambda p: rewritten(p, "packed.json", version=2), r"is of version 2; this cnn_registry reads version 1"),
        (lambda p: rewritten(p, "packed.json", default_split="x"), r"default split 'x' is not among its splits"),
        (lambda p: (p / "packed.json").write_text(f'{{"sha256": "", "images": 1{"0" * 5000}}}'), "is not an index"),
        (lambda p: (p / "packed.json").write_text(f'{{"sha256": "", "a": {"[" * 900}{"]" * 900}}}'), "is damaged: "),
        (lambda p: rewritten(p, TABLE, **{"z" * 10**5: 1}), r"is damaged: z{50,150}…[^…]{50,150}inputs"),
        (lambda p: rewritten(p, "packed.json", version="9" * 10**5), r"is of version '9{90,110}…9{90,110}'"),
    ],
)
def test_damaged_and_forged_folders_are_refused_in_one_line(
    packed: Path, change: Callable[[Path], object], message: str
) -> None:
    count = len(json.loads((packed / TABLE).read_text())["ids"])
    assert count == 4
    change(packed)
    with pytest.raises(DataError, match=message) as raised:
        load_dataset(None, packed)
    assert "\n" not in str(raised.value)


def test_a_shard_with_other_records_than_its_table_is_damaged(packed: Path) -> None:
    other = (packed / "shard-00002-of-00003.array_record").read_bytes()
    (packed / SHARD).write_bytes(other)
    rewritten(packed, TABLE, size=len(other))
    with pytest.raises(BadImageError, match="damaged: it is not what was packed"):
        decode(load_dataset(None, packed).images[4], 8)


def test_columns_are_not_those_of_packed_images(packed: Path) -> None:
    with pytest.raises(UsageError, match="columns are those of a table"):
        load_dataset(None, Manifest(packed, label_column="species"))


def test_packed_images_are_not_classes_of_the_folder_around_them(folder: Folder) -> None:
    root = folder(*PATHS)
    done: Packing = pack(root, root / "packed")
    assert load_dataset(None, root).class_names == load_dataset(None, done.path).class_names == ("a", "b")
