"""Tables that name images, and the options and records that lead to them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.loading import _loader_fault, load_dataset
from cnn_registry.data.manifest import Manifest, load_manifest
from cnn_registry.data.table import MAX_LINE
from cnn_registry.errors import DataError, UsageError
from cnn_registry.text import natural_key

Table = Callable[..., Path]
FILES = ("a/1.png", "a/2.png", "b/3.png", "b/4.png", "b/5.png")


@pytest.fixture
def table(folder: Callable[..., Path]) -> Table:
    """``table("path,label", ...)``: a table of these lines beside five pictures."""
    root = folder(*FILES)

    def make(*lines: str, name: str = "photos.csv", encoding: str = "utf-8") -> Path:
        file = root / name
        file.write_bytes("\n".join([*lines, ""]).encode(encoding))
        return file

    return make


ROWS = ("a/1.png,ash", "a/2.png,ash", "b/3.png,beech", "b/4.png,beech", "b/5.png,beech")


def test_a_table_names_images_and_classes(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    found = load_dataset(None, table("path,label", *ROWS))
    assert found.class_names == ("ash", "beech")
    assert found.ids == FILES
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    assert found.name == "photos"
    assert found.groups is None
    assert found.weights is None
    assert found.default_split is None
    assert capsys.readouterr().err == ""


def test_classes_are_the_text_of_the_file_in_natural_order(table: Table) -> None:
    file = table("path,label", "a/1.png,10", "a/2.png,9", "b/3.png,007", 'b/4.png,"NA, or not"', "./b//5.png , 9 ")
    found = load_manifest(file)
    assert found.class_names == ("007", "9", "10", "NA, or not")
    assert [found.class_names[label] for label in found.labels] == ["10", "9", "007", "NA, or not", "9"]


@pytest.mark.parametrize(
    ("separator", "name", "encoding", "said"),
    [
        (";", "photos.csv", "utf-8", "are separated by semicolons."),
        ("\t", "photos.csv", "utf-8-sig", "are separated by tabs."),
        ("\t", "photos.tsv", "utf-8", ""),
        (",", "photos.CSV", "utf-8-sig", ""),
    ],
)
def test_separators_and_byte_order_marks(
    table: Table, capsys: pytest.CaptureFixture[str], separator: str, name: str, encoding: str, said: str
) -> None:
    lines = ["path,label,weight", *(f"{row},0.5" for row in ROWS)]
    lines = [line.replace(",", separator) for line in lines]
    if separator == ";":
        lines = [line.replace("0.5", "0,5") for line in lines]
    found = load_manifest(table(*lines, name=name, encoding=encoding))
    assert found.class_names == ("ash", "beech")
    assert found.weights is not None
    assert found.weights.tolist() == [0.5] * 5
    assert capsys.readouterr().err.strip().endswith(said)


def test_parquet_has_the_same_columns(table: Table) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = table("").with_name("photos.parquet")
    labels = arrow.array([1, 1, 0, 0, 0])
    columns = {"file": list(FILES), "species": labels, "group": ["x", None, "x", "y", "y"], "junk": [b"a"] * 5}
    parquet.write_table(arrow.table(columns), file)
    found = Manifest(file, path_column="file", label_column="species").load()
    assert found.class_names == ("0", "1")
    assert found.labels.tolist() == [1, 1, 0, 0, 0]
    assert found.groups is not None
    assert found.groups.tolist() == [0, 1, 0, 2, 2]
    with pytest.raises(DataError, match="the column 'junk' holds bytes, expected text or numbers"):
        load_manifest(file, path_column="file", label_column="junk")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"photos\.parquet is not a Parquet file that can be read"):
        load_manifest(file)


def test_splits_groups_and_weights(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    parts = ("training", "Train", "validation", "train", "TEST")
    rows = [f"{row},{part},g{n % 2},{n}" for n, (row, part) in enumerate(zip(ROWS, parts, strict=True))]
    rows[2] = rows[2].replace("beech", "ash")
    found = load_manifest(table("path,label,split,group,weight", *rows))
    assert found.default_split == "manifest"
    split = found.splits["manifest"]
    assert [part.tolist() for part in (split.train, split.val, split.test)] == [[0, 1, 3], [2], [4]]
    assert found.groups is not None
    assert found.groups.tolist() == [0, 1, 0, 1, 0]
    ignored = load_manifest(table("path,label,split,group,weight", *rows), split_column="", group_column="")
    assert ignored.default_split is None
    assert ignored.groups is None
    assert capsys.readouterr().err == ""


def test_columns_whose_names_differ_in_capitals_are_pointed_out(
    table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    file = table("Path,Group,Split,WEIGHT,notes", *(f"{row},train,2,x" for row in ROWS))
    said = f"The column 'Split' of {file} is not used. To use it: --split-column Split\n"
    found = load_manifest(file, path_column="Path", label_column="Group", weight_column="")
    assert (found.class_names, found.default_split) == (("ash", "beech"), None)
    assert capsys.readouterr().err == said
    load_manifest(file, path_column="Path", label_column="Group", weight_column="WEIGHT", split_column="Split")
    assert said not in capsys.readouterr().err


def test_rows_that_say_nothing_are_counted(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ("a/1.png,ash,", "a/2.png,,x", ",ash,x", "", "./a/1.png,ash,", "b/3.png,beech,x", ",,")
    file = table("path,label,group", *rows)
    assert load_manifest(file).ids == ("a/1.png", "b/3.png")
    assert capsys.readouterr().err.splitlines() == [
        f"2 rows of {file} without a path or a label left out.",
        f"1 row of {file} left out, as an earlier row says the same.",
        f"1 row of {file} without a group: each is a group of its own.",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", "a/1.png,ash"], r"has no column 'path'\. It has: 'file', 'label'\..*--path-column"),
        (["path,lable", "a/1.png,ash"], r"has no column 'label'\. Did you mean 'lable'\?"),
        (["path,label,label", "a/1.png,ash,ash"], "has several columns 'label'; rename all but one"),
        ([""], "has no header"),
        (["path,label"], "names no images"),
        (["path,label", "a/1.png,ash"], "Expected 2 or more classes in .*; it has only 'ash'"),
        (["path,label", "a/9.png,ash", "9,b"], "None of the 2 images of .* is there, for example '.*a/9.png'"),
        (
            ["path,label", *ROWS, "a/1.png,beech"],
            "of 'a/1.png': labels 'ash' in line 2 and 'beech' in line 7",
        ),
        (["path,label,split", "a/1.png,ash,trian"], "line 2: expected the split train, val or test; got 'trian'"),
        (["path,label,split", "a/1.png,ash,"], "line 2: expected the split train, val or test; got ''"),
        (["path,label,split", "a/1.png,ash,val"], "Expected 2 or more classes with training images"),
        (
            ["path,label,split", "a/1.png,ash,train", "a/2.png,elm,train", "b/3.png,beech,val"],
            "1 class for validation that it has no training images of: 'beech'",
        ),
        (["path,label,weight", "a/1.png,ash,-1"], "line 2: expected a weight from 0 to 3.4e.38; got '-1'"),
        (["path,label,weight", "a/1.png,ash,nan"], "got 'nan'"),
        (["path,label,weight", "a/1.png,ash,inf"], "got 'inf'"),
        (["path,label,weight", "a/1.png,ash,"], "got ''"),
        (["path,label,weight", *(f"{row},0" for row in ROWS)], "All training images of .* have the weight 0"),
        (
            ["path,label", "a/1.png"],
            "line 2: 1 cells where the header names 2 columns. A cell with a comma",
        ),
        (["path,label", "a/1.png,ash,green"], "line 2: 3 cells where the header names 2"),
        (["path,label", '"a/1.png,ash', *ROWS], "line 7: unexpected end of data"),
        (["path,label", "../a/1.png,ash"], r"line 2: '\.\./a/1\.png' leaves the folder of the table"),
        (["path,label", "a/../../x/1.png,ash"], "leaves the folder of the table"),
        (["path,label", "..\\a\\1.png,ash"], "leaves the folder of the table"),
        (["path,label", "a/\0.png,ash"], "line 2: a path with a null character"),
        (["path,label", "a/1.png," + "x" * MAX_LINE], f"line 2: more than {MAX_LINE:,} bytes"),
        (["path,label", "a/1.png," + "x" * 140_000], "line 2: field larger than field limit"),
        (["path,label,split", "a/1.png,ash," + "x" * 9_000], r"got 'x{90,110}…x{90,110}'\. To ignore it"),
        (["path,label", f"{'../' * 4_000}x.png,ash"], r"line 2: '\.\./.{90,110}….{90,110}' leaves the folder"),
        (["path,label,weight", "a/1.png,ash," + "9" * 9_000], r"got '9{90,110}…9{90,110}'"),
        (["path,label," + "z" * 9_000, "a/1.png,ash,1", "a/1.png,elm,1"], "says two things of 'a/1.png'"),
        (["path,label,group", f"a/1.png,ash,{'g' * 9_000}", "a/1.png,ash,h"], r"group 'g{90,110}…g{90,110}' in line 2"),
        (["way,label," + "z" * 9_000, "a/1.png,ash,1"], r"has no column 'path'\..*'z{90,110}…z{90,110}'"),
        ([f"path,one,{'z' * 9_000}", "a/1.png,1,0", "a/2.png,1,q"], r"the column 'z{90,110}…z{90,110}' of a class"),
        ([f"path,one,{'z' * 9_000}", "a/1.png,1,0", f"a/2.png,1,{'q' * 9_000}"], r"got 'q{90,110}…q{90,110}'"),
    ],
)
def test_what_is_wrong_is_one_line(table: Table, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_manifest(table(*lines))
    assert "\n" not in str(caught.value)


def test_other_encodings_are_named(table: Table) -> None:
    with pytest.raises(DataError, match=r"photos\.csv, line 2: not UTF-8 \(byte 0xe9\)\. Save it as UTF-8"):
        load_manifest(table("path,label", "a/1.png,érable", encoding="latin-1"))
    with pytest.raises(DataError, match="is UTF-16; save it as UTF-8"):
        load_manifest(table("path,label", encoding="utf-16"))


def test_what_is_not_a_table_is_refused(table: Table, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file .*none\.csv"):
        load_dataset(None, tmp_path / "none.csv")
    with pytest.raises(UsageError, match=r"is a folder; columns are those of a table \(\.csv, \.tsv, \.parquet\)"):
        load_dataset(None, Manifest(tmp_path, label_column="species"))
    with pytest.raises(UsageError, match="Columns are those of a table; the dataset 'digits' reads"):
        load_dataset("digits", Manifest(table(""), label_column="species"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
        with pytest.raises(DataError, match="is not a regular file; expected a table"):
            load_manifest(tmp_path / "pipe.csv")


def test_absolute_paths_are_used_with_a_note(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    root = table("").parent
    found = load_manifest(table("path,label", f"{root}/a/1.png,ash", "b\\3.png,beech"))
    assert found.ids == (f"{root}/a/1.png", "b/3.png")
    assert all(isinstance(image, Path) and image.is_file() for image in found.images)
    assert "1 absolute path in" in capsys.readouterr().err


def test_five_thousand_classes_are_cheap(table: Table) -> None:
    rows = [f"a/{n}.png,class {n % 5000},g{n // 3}" for n in range(50_000)]
    found = load_manifest(table("path,label,group", *rows))
    assert len(found.class_names) == 5000
    assert np.bincount(found.labels).tolist() == [10] * 5000


def test_loaders_of_plugins_may_bring_groups_and_weights(
    dataset: Callable[..., ImageDataset],
) -> None:
    made = dataset(2, 2)
    assert not _loader_fault(replace(made, groups=np.arange(4), weights=np.ones(4, np.float32)))
    assert "groups must have the shape (4,)" in _loader_fault(replace(made, groups=np.arange(3)))
    assert "weights must be from 0 to 3.4e+38" in _loader_fault(replace(made, weights=-np.ones(4, np.float32)))


def test_columns_that_are_not_read_do_not_count(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = table("", name="photos.parquet")
    columns = {"path": FILES, "label": list("ababa"), "label_vector": [[0.5] * 100] * 5}
    parquet.write_table(pyarrow.table(columns), file)
    monkeypatch.setattr("cnn_registry.data.table.MAX_VALUES", 10)
    assert load_manifest(file).class_names == ("a", "b")


@pytest.mark.parametrize("name", ["label", "labels"])
def test_a_text_that_parquet_stores_once_does_not_fill_the_memory(table: Table, name: str) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file, count = table("", name="photos.parquet"), 3_000
    texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * count, pyarrow.int32()), ["x" * 2**20])
    column = texts if name == "label" else pyarrow.ListArray.from_arrays(range(count + 1), texts)
    parquet.write_table(pyarrow.table({"path": [f"{n}.png" for n in range(count)], name: column}), file)
    assert file.stat().st_size < 2**18
    before = pyarrow.total_allocated_bytes()
    with pytest.raises(DataError, match=f"the column '{name}' has a cell of more than 65,536 bytes"):
        load_manifest(file)
    assert pyarrow.default_memory_pool().max_memory() - before < 2**28


def test_classes_times_images_have_a_bound(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn_registry.data.manifest.MAX_FLAGS", 5)
    with pytest.raises(DataError, match="has 3 images of 2 classes; where images show several, expected at most 5"):
        load_manifest(table("path,labels", "a/1.png,1|2", "a/2.png,2", "b/3.png,"))


def test_a_header_may_name_very_many_classes(table: Table) -> None:
    names = [f"class-{number}" for number in range(40_000)]
    flags = ["1"] * len(names)
    found = load_manifest(table(",".join(["path", *names]), *(",".join([file, *flags]) for file in FILES[:2])))
    assert found.labels.shape == (2, 40_000)


def test_a_name_may_have_more_digits_than_an_integer(table: Table) -> None:
    assert sorted(["1" * 5_000, "10", "2"], key=natural_key)[1:] == ["2", "10"]
    assert load_manifest(table("path,label", "a/1.png,9", "a/2.png," + "1" * 900)).class_names == ("9", "1" * 900)


def test_values_of_parquet_that_python_does_not_have_are_one_line(table: Table) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = table("", name="photos.parquet")
    words = pyarrow.array([b"\xff"] * len(FILES), pyarrow.binary())
    wrong = {
        "OverflowError": pyarrow.array([2**62] * len(FILES), pyarrow.timestamp("us")),
        "UnicodeDecodeError": pyarrow.Array.from_buffers(pyarrow.string(), len(FILES), words.buffers()),
        "holds bytes": words,
        "holds dict": pyarrow.array([{"ash": 1}] * len(FILES)),
        "holds Decimal": pyarrow.array([1] * len(FILES)).cast(pyarrow.decimal128(20)),
    }
    for reason, labels in wrong.items():
        parquet.write_table(pyarrow.table({"path": FILES, "label": labels}), file)
        with pytest.raises(DataError, match=rf"photos\.parquet.*{reason}"):
            load_manifest(file)


def test_an_empty_string_is_not_the_working_directory() -> None:
    with pytest.raises(UsageError, match="data must name a folder, a table or an archive; got an empty string"):
        load_dataset(None, "")
