from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_registry.data.folder import find_images, load_folder
from cnn_registry.data.formats import readable, suffixes
from cnn_registry.errors import DataError

Folder = Callable[..., Path]


def test_each_class_is_a_folder_and_everything_is_in_natural_order(folder: Folder) -> None:
    root = folder("class10/a.png", "class2/img10.png", "class2/img9.png", "class2/deep/er/img1.png")
    dataset = load_folder(root)
    assert dataset.class_names == ("class2", "class10")
    assert dataset.ids == ("class2/deep/er/img1.png", "class2/img9.png", "class2/img10.png", "class10/a.png")
    assert dataset.labels.tolist() == [0, 0, 0, 1]
    assert dataset.images == tuple(root / name for name in dataset.ids)
    assert (dataset.name, dataset.splits, dataset.default_split) == ("pictures", {}, None)


def test_all_formats_are_found_by_suffix_in_any_case(folder: Folder) -> None:
    names = ["a.jpg", "b.JPEG", "c.Png", "d.webp", "e.bmp", "f.GIF", "g.tif", "h.TIFF", "i.jfif", "j.JPE"]
    names += ["k.avif"] if ".avif" in suffixes() else []
    names += ["l.heic", "m.HEIF"] if ".heic" in suffixes() else []
    root = folder(*(f"x/{name}" for name in names), "y/a.png", "y/.hidden.png", "y/.thumbs/b.png", ".git/c.png")
    assert load_folder(root).ids == (*(f"x/{name}" for name in names), "y/a.png")


def test_what_is_passed_over_is_counted_by_suffix(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder("a/1.png", "b/1.png", "loose.png", "a/.hidden.png")
    for name in ("a/1.PSD", "a/2.psd", "b/deep/3.psd", "b/notes.txt", "labels.csv", "b/README", "b/x.very long suffix"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("not an image")
    for name in ("Thumbs.db", ".DS_Store", "a/desktop.ini"):
        (root / name).touch()
    assert load_folder(root).ids == ("a/1.png", "b/1.png")
    assert capsys.readouterr().err == (
        f"8 files passed over in {root}: 3 .psd, 1 .csv, 1 .png outside of class folders, 1 .txt, 1 without a suffix, "
        f"1 with a long suffix.\n"
    )


def test_of_many_kinds_the_commonest_are_named(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder("a/1.png", "b/1.png")
    for number in range(9):
        for copy in range(9 - number):
            (root / "a" / f"{copy}.x{number}").touch()
    load_folder(root)
    assert capsys.readouterr().err == (
        f"45 files passed over in {root}: 9 .x0, 8 .x1, 7 .x2, 6 .x3, 5 .x4, 4 .x5, 6 of other kinds.\n"
    )


def test_formats_that_cannot_be_decoded_here_are_passed_over(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder("a/1.png", "b/1.png", "b/2.tiff")
    (root / "a" / "2.heic").touch()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(
        Image, "OPEN", {name: entry for name, entry in Image.OPEN.items() if name not in ("HEIF", "TIFF")}
    )
    readable.cache_clear()
    try:
        assert load_folder(root).ids == ("a/1.png", "b/1.png")
    finally:
        readable.cache_clear()
    assert capsys.readouterr().err == (
        f"2 files passed over in {root}: 1 .heic, 1 .tiff. To read HEIC and HEIF: pip install pillow-heif.\n"
    )


def test_loose_images_in_parts_are_counted(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [f"{part}/{name}/1.png" for part in ("train", "val", "test") for name in "ab"]
    root = folder(*parts, "test/1.png", "test/2.png", "val/3.png", "4.png")
    assert len(load_folder(root)) == 6
    assert capsys.readouterr().err == f"4 files passed over in {root}: 4 .png outside of class folders.\n"


def test_links_are_followed_but_not_in_circles(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder("a/1.png", "b/1.png")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / "a" / "1.png").rename(elsewhere / "1.png")
    (root / "a" / "linked").symlink_to(elsewhere)
    (root / "a" / "here").symlink_to(root / "a")
    (root / "b" / "up").symlink_to(root)
    assert load_folder(root).ids == ("a/linked/1.png", "b/1.png")
    assert capsys.readouterr().err == f"Left out of {root}: 2 repeated folders ('a/here', 'b/up').\n"


def test_a_link_to_nowhere_counts_as_an_image(folder: Folder) -> None:
    root = folder("a/1.png", "b/1.png")
    (root / "a" / "2.png").symlink_to(root / "gone.png")
    assert "a/2.png" in load_folder(root).ids


def test_train_and_val_make_the_default_split(folder: Folder) -> None:
    root = folder("train/a/1.png", "train/a/2.png", "train/b/1.png", "val/b/3.png", "val/a/3.png", "test/b/4.png")
    dataset = load_folder(root)
    assert dataset.default_split is not None
    split = dataset.splits[dataset.default_split]
    assert [dataset.ids[i] for i in split.train] == ["train/a/1.png", "train/a/2.png", "train/b/1.png"]
    assert [dataset.ids[i] for i in split.val] == ["val/a/3.png", "val/b/3.png"]
    assert [dataset.ids[i] for i in split.test] == ["test/b/4.png"]
    assert dataset.labels.tolist() == [0, 0, 1, 0, 1, 1]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_validation_has_several_names_and_test_may_be_absent(folder: Folder, name: str) -> None:
    dataset = load_folder(folder("train/a/1.png", "train/b/1.png", f"{name}/a/2.png", f"{name}/b/2.png"))
    split = dataset.splits["folders"]
    assert (len(split.train), len(split.val)) == (2, 2)
    assert split.test.shape == (0,)
    assert split.test.dtype == np.int64


def test_a_class_may_be_called_train(folder: Folder) -> None:
    assert load_folder(folder("bus/1.png", "train/1.png")).class_names == ("bus", "train")


def test_empty_classes_are_counted_and_named(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder("a/1.png", "b/1.png")
    (root / "c").mkdir()
    (root / "d").mkdir()
    assert load_folder(root).class_names == ("a", "b")
    assert capsys.readouterr().err == f"2 class folders without an image in {root}, left out: 'c', 'd'.\n"


PARTED = [
    ["train", "test"],
    ["training_set", "test_set"],
    ["Training", "Testing"],
    ["seg_train", "seg_test", "seg_pred"],
    ["train", "test", "sample"],
    ["Train Images", "TEST-IMAGES"],
    ["trainset", "testset"],
    ["TrainData", "ValData", "ValidationData"],
    ["images_train", "images_test"],
    ["train2017", "test2017"],
    ["flowers-train-128", "flowers-test-128"],
    ["cats_train", "cats_val", "dogs_train", "dogs_val"],
    ["validation", "test"],
    ["trainA", "trainB", "testA", "testB"],
    ["Training", "PublicTest", "PrivateTest"],
    ["train (1)", "test (1)"],
]


@pytest.mark.parametrize("names", PARTED, ids="+".join)
@pytest.mark.parametrize("above", ["", "archive/"])
def test_folders_that_look_like_parts_are_never_classes(folder: Folder, names: list[str], above: str) -> None:
    root = folder(*(f"{above}{name}/{kind}/1.png" for name in names for kind in ("cat", "dog")))
    with pytest.raises(DataError, match=r"look like parts|has two folders") as caught:
        load_folder(root)
    assert str(root / above) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hint_is_the_path_that_can_be_trained_on(folder: Folder) -> None:
    parts = ("seg_train", "seg_test")
    root = folder(*(f"archive/{part}/{part}/{kind}/1.png" for part in parts for kind in ("sea", "forest")))
    with pytest.raises(DataError) as caught:
        load_folder(root)
    path = str(caught.value).rpartition(": ")[2]
    assert path == f"{root}/archive/seg_train/seg_train"
    assert load_folder(Path(path)).class_names == ("forest", "sea")


def test_parts_beside_other_folders_are_not_classes(folder: Folder) -> None:
    root = folder("archive/Training/a/1.png", "archive/Testing/a/1.png", "docs/1.png", "more/1.png")
    with pytest.raises(DataError, match="archive holds 'Training', 'Testing', which look like parts of a dataset"):
        load_folder(root)


def test_parts_inside_of_classes_are_refused(folder: Folder) -> None:
    root = folder(*(f"{kind}/{part}/1.png" for kind in ("cat", "dog") for part in ("train", "val", "test")))
    with pytest.raises(DataError, match=r"put them below the parts, as in .*/train/cat\.$"):
        load_folder(root)


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "Validation", "Testing"),
        ("training_set", "validation_set", "test_set"),
        ("seg_train", "seg_val", "seg_test"),
        ("TRAIN", "dev", "test"),
    ],
)
def test_parts_by_other_names_are_used_and_named(
    folder: Folder, names: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(*(f"{name}/{kind}/1.png" for name in names for kind in ("cat", "dog")), "sample/1.png")
    dataset = load_folder(root)
    split = dataset.splits["folders"]
    assert dataset.class_names == ("cat", "dog")
    assert [dataset.ids[index] for part in (split.train, split.val, split.test) for index in part[:1]] == [
        f"{name}/cat/1.png" for name in names
    ]
    assert capsys.readouterr().err == (
        f"Parts of {root}: {names[0]!r} is train, {names[1]!r} is val, {names[2]!r} is test.\n"
        f"1 folder of {root} beside its parts, left out: 'sample'.\n"
    )


@pytest.mark.parametrize(
    "names",
    [
        ("bullet_train", "test_tube"),
        ("test", "control"),
        ("train_station", "train"),
        ("valid", "invalid"),
        ("set", "data"),
    ],
)
def test_classes_may_sound_like_parts(
    folder: Folder, names: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(load_folder(folder(*(f"{name}/1.png" for name in names))).class_names) == set(names)
    assert capsys.readouterr().err == ""


def test_folders_that_may_be_parts_are_pointed_out(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    load_folder(folder("train/a/1.png", "train/b/1.png", "other/1.png"))
    assert "'train' in" in (said := capsys.readouterr().err)
    assert "is taken for a class. If it is a part of a dataset, give its path." in said


def test_folders_that_systems_and_other_programs_make_are_not_classes(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(
        *("cat/1.png", "dog/1.png", "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "$RECYCLE.BIN/2.png"),
        *("cv/confusion.png", "runs/detect/labels.jpg"),
    )
    for marker in ("cv/folds.json", "runs/detect/args.yaml"):
        (root / marker).write_text("")
    dataset = load_folder(root)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.ids == ("cat/1.png", "dog/1.png")
    left_out = f"Left out of {root}: 1 cross-validation ('cv'), 1 run directory ('runs/detect').\n"
    assert capsys.readouterr().err == left_out


def test_some_folders_that_hold_the_same_folders_are_pointed_out(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    load_folder(folder("seen/cat/1.png", "seen/dog/1.png", "new/cat/1.png", "new/dog/1.png", "more/1.png"))
    assert "2 of 3 class folders" in capsys.readouterr().err


def test_folders_that_hold_the_same_folders_are_pointed_out(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    load_folder(folder(*(f"fold{number}/{kind}/1.png" for number in (1, 2, 3) for kind in ("cat", "dog"))))
    assert "All 3 class folders of" in (said := capsys.readouterr().err)
    assert "hold the same folders: 'cat', 'dog'. If these are the classes, give the path" in said


@pytest.mark.parametrize("place", ["runs/first", "runs/deep/first", "first", "a/first"])
def test_run_directories_and_environments_are_left_out(
    folder: Folder, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder("a/1.png", "b/1.png", f"{place}/curves.png", f"{place}/confusion.png", "venv/lib/logo.png")
    (root / place / "run.json").write_text("{}")
    (root / "venv" / "pyvenv.cfg").touch()
    dataset = load_folder(root)
    assert (dataset.class_names, dataset.ids) == (("a", "b"), ("a/1.png", "b/1.png"))
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Left out of {root}: 1 ")
    assert f"1 run directory ({place!r})" in line
    assert "1 virtual environment ('venv')" in line


def test_runs_do_not_change_the_data_that_they_lie_in(folder: Folder) -> None:
    root = folder("a/1.png", "b/1.png")
    (root / "runs").mkdir()
    before = load_folder(root)
    for name in ("one", "two"):
        (root / "runs" / name).mkdir()
        (root / "runs" / name / "run.json").write_text("{}")
        (root / "runs" / name / "curves.png").write_bytes((root / "a" / "1.png").read_bytes())
    after = load_folder(root)
    assert (after.ids, after.class_names) == (before.ids, before.class_names)


def test_a_run_directory_and_a_folder_of_them_are_refused(folder: Folder) -> None:
    root = folder("one/curves.png", "two/curves.png")
    for name in ("one", "two"):
        (root / name / "run.json").write_text("{}")
    with pytest.raises(DataError, match=r"it has none\. Left out of .*: 2 run directories \('one', 'two'\)\.$"):
        load_folder(root)
    with pytest.raises(DataError, match="one is a run directory; expected a folder of class folders"):
        load_folder(root / "one")


COMPOSED, DECOMPOSED = "Caf\u00e9", "Cafe\u0301"


def test_names_that_are_composed_differently_are_one_class(folder: Folder) -> None:
    root = folder(f"{COMPOSED}/1.png", f"{DECOMPOSED}/1.png", "tea/1.png")
    dataset = load_folder(root)
    assert dataset.class_names == (COMPOSED, "tea")
    assert set(dataset.ids) == {f"{COMPOSED}/1.png", f"{DECOMPOSED}/1.png", "tea/1.png"}
    assert dataset.labels.tolist() == [0, 0, 1]
    parted = (
        folder(f"p/train/{COMPOSED}/1.png", "p/train/tea/1.png", f"p/val/{DECOMPOSED}/1.png", "p/val/tea/1.png") / "p"
    )
    assert load_folder(parted).class_names == (COMPOSED, "tea")


def test_names_that_look_alike_are_noted(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_folder(
        folder("fish/1.png", "fish /1.png", "\ufb01sh/1.png", "fi\u200bsh/1.png", "dog/1.png")
    ).class_names
    assert capsys.readouterr().err.count("look alike") == 3


def test_names_that_differ_in_case_and_composition_are_noted(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(f"{COMPOSED}/1.png", f"{DECOMPOSED.lower()}/1.png")
    assert len(load_folder(root).class_names) == 2
    assert "whose names look alike are kept apart" in capsys.readouterr().err


def test_unknown_classes_of_the_test_part_are_left_out(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [f"{part}/{name}/1.png" for part in ("train", "val", "test") for name in "ab"]
    root = folder(*paths, "test/unknown/1.png", "test/unknown/2.png")
    dataset = load_folder(root)
    assert (dataset.class_names, len(dataset)) == (("a", "b"), 6)
    assert capsys.readouterr().err == (
        f"1 class folder of {root}/test that {root}/train has no images of, left out with 2 images: 'unknown'.\n"
    )


def test_one_class_is_enough_where_that_is_asked_for(folder: Folder) -> None:
    root = folder("a/1.png", "a/2.png")
    assert load_folder(root, min_classes=1).class_names == ("a",)
    with pytest.raises(DataError, match="Expected 2 or more class folders"):
        load_folder(root)


def test_images_are_found_at_any_depth(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder("b/10.png", "b/9.png", "a.png", ".hidden/1.png")
    (root / "notes.txt").touch()
    assert find_images(root) == [root / "a.png", root / "b" / "9.png", root / "b" / "10.png"]
    assert capsys.readouterr().err == f"1 file passed over in {root}: 1 .txt.\n"
    with pytest.raises(DataError, match=r"hidden holds no pictures; expected JPEG, .* files\."):
        find_images(folder("hidden/.1.png") / "hidden")


def test_a_class_without_validation_images_is_named(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder("train/a/1.png", "train/b/1.png", "train/c/1.png", "val/a/1.png", "val/c/1.png")
    assert load_folder(root).class_names == ("a", "b", "c")
    assert capsys.readouterr().err == f"1 class of {root / 'train'} without an image in {root / 'val'}: 'b'.\n"


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            ["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/c/1.png"],
            "val has 1 class folder that .*train has no",
        ),
        (["a/1.png"], r"2 or more class folders with .* images in .*; there is only 'a'\.$"),
        (["x/a/1.png", "x/b/1.png"], "there is only 'x'. If its folders are the classes, give its path: .*/x$"),
        (
            ["train/a/1.png", "train/b/1.png", "val/1.png"],
            "1 or more class folders .*/val; it has none.*: 1 .png outside",
        ),
        (["1.png", "2.png"], "it has none. 2 files passed over in .*: 2 .png outside of class folders"),
    ],
)
def test_what_cannot_be_trained_on_is_one_clear_line(folder: Folder, paths: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_folder(folder(*paths))
    assert "\n" not in str(caught.value)


def test_an_empty_folder_a_missing_one_and_a_file_have_their_own_messages(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"in {re.escape(str(tmp_path))}; it has none"):
        load_folder(tmp_path)
    with pytest.raises(DataError, match=r"There is no folder .*nowhere"):
        load_folder(tmp_path / "nowhere")
    (tmp_path / "file.zip").touch()
    with pytest.raises(DataError, match=r"file\.zip is a file; expected a folder"):
        load_folder(tmp_path / "file.zip")
