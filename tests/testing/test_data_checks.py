"""The checks of datasets: a sound one passes all of them, and for each there is a broken one that fails it alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from cnn_registry import refresh
from cnn_registry.data import load_dataset
from cnn_registry.registry.discovery import DATASETS
from cnn_registry.testing import check_dataset
from cnn_registry.testing.checks import DATASET_CHECKS, dataset_checks

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

SOURCE = '''
from cnn_registry import register_dataset

loads = []


@register_dataset(summary="Noise", num_classes=2, num_images=6, image_size=8, embedded=True)
def NAME(source):
    """Noise of two kinds."""
    import numpy as np
    from cnn_registry.data.dataset import ImageDataset, Split

    loads.append(source)
    labels = np.array([0, 1, 0, 1, 0, 1])
    images = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3)).astype(np.uint8)
    split = Split(np.array([0, 1, 2]), np.array([3, 4]), np.array([5]))
    return ImageDataset(
        name="noise", class_names=("dark", "light"), ids=tuple(f"noise/{n}" for n in range(6)), labels=labels,
        images=images, splits={"given": split}, default_split="given", source="here", image_size=8,
    )
'''

BROKEN = {
    "light-import": ("loads = []", "loads = []\nimport tensorflow"),
    "spec": ('summary="Noise"', 'summary=""'),
    "docstring": ('    """Noise of two kinds."""\n', ""),
    "loads": ("    return ImageDataset(", "    return dict("),
    "counts": ("num_images=6", "num_images=7"),
    "class-names": ('("dark", "light")', '("dark", "dark")'),
    "labels": ("[0, 1, 0, 1, 0, 1]", "[0, 1, 0, 1, 0, 2]"),
    "order": ("labels=labels", "labels=labels[:: 1 if len(loads) % 2 else -1]"),
    "images": ("astype(np.uint8)", "astype(np.float32)"),
    "splits": ("np.array([3, 4])", "np.array([2, 4])"),
}

QUICK = [check.name for check in DATASET_CHECKS if check.name != "light-import"]
"""A new process imports the sound dataset and the one that imports too much; one for each takes too long."""

Install = Callable[..., str]


@pytest.fixture
def install(plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install the sound dataset with one place replaced; return its name."""

    def install(name: str, old: str = "", new: str = "") -> str:
        assert not old or SOURCE.count(old) == 1
        source = (SOURCE.replace(old, new) if old else SOURCE).replace("NAME", name)
        entry = plugins.install(f"kit-{name}", source=source, entries={})
        (entry / "entry_points.txt").write_text(f"[{DATASETS}]\n{name} = kit_{name}:{name}\n")
        return name

    return install


def test_a_sound_dataset_passes(install: Install) -> None:
    results = check_dataset(install("noise"))
    assert [(result.check, result.outcome) for result in results] == [
        (check.name, "passed") for check in DATASET_CHECKS
    ]


def test_images_of_several_labels_pass_and_a_class_without_image_does_not(install: Install) -> None:
    several = install("several", "[0, 1, 0, 1, 0, 1]", "[[0, 1], [1, 1], [1, 0]] * 2")
    assert {result.outcome for result in check_dataset(several)} == {"passed"}
    [failure] = [
        each
        for each in check_dataset(install("none", "[0, 1, 0, 1, 0, 1]", "[[1, 0]] * 6"), on_fail=None)
        if each.message
    ]
    assert (failure.check, "none of 'light'" in failure.message) == ("labels", True)


def test_a_loader_that_ends_the_process_fails_one_check(install: Install) -> None:
    results = check_dataset(install("ends", "    loads.append(source)", "    raise SystemExit(3)"), on_fail=None)
    assert [result.check for result in results if result.outcome == "failed"] == ["loads"]


@pytest.mark.parametrize("check", BROKEN)
def test_a_broken_dataset_fails_just_that_check(
    install: Install, quick_tensorflow: Callable[[], None], check: str
) -> None:
    name = install(f"noise_{check.replace('-', '_')}", *BROKEN[check])
    if check == "light-import":
        quick_tensorflow()
    only = [each.name for each in DATASET_CHECKS if each.name in (check, *QUICK)]
    results = [each.result() for each in dataset_checks(name, only=only)]
    found = {result.check: result.message for result in results if result.outcome == "failed"}
    assert found.keys() == {check}, found
    assert "\n" not in found[check]


def test_every_check_has_a_broken_dataset() -> None:
    assert list(BROKEN) == [check.name for check in DATASET_CHECKS]


def test_an_image_file_that_cannot_be_read(install: Install, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    name = install("files", "images=images", f"images=(__import__('pathlib').Path({str(bad)!r}),) * 6")
    found = [result for result in check_dataset(name, on_fail=None) if result.outcome == "failed"]
    assert [result.check for result in found] == ["images"]
    assert "bad.png" in found[0].message


def test_the_digits_pass() -> None:
    outcomes = {result.check: result.outcome for result in check_dataset("digits")}
    assert outcomes.pop("splits") == "skipped"
    assert set(outcomes.values()) == {"passed"}


PICTURES = '''
from pathlib import Path

import cnn_registry
from cnn_registry.data import load_folder


@cnn_registry.register_dataset(summary="Six pictures", num_classes=2, num_images=6, image_size=24)
def NAME(source):
    """The pictures beside this module, or those of the folder that --data names."""
    return load_folder(source or Path(__file__).parent / "pictures", name="NAME", image_size=24)
'''


def draw(root: Path, numbers: dict[str, int]) -> Path:
    for name, number in numbers.items():
        (root / name).mkdir(parents=True)
        for index in range(number):
            Image.new("RGB", (24, 24), (index, 0, len(name))).save(root / name / f"{index}.png")
    return root


def test_pictures_in_a_package_are_a_dataset_in_ten_lines(plugins: FakePlugins, cnnreg: Cnnreg, tmp_path: Path) -> None:
    entry = plugins.install("kit-packed", source=PICTURES.replace("NAME", "packed"), entries={})
    (entry / "entry_points.txt").write_text(f"[{DATASETS}]\npacked = kit_packed:packed\n")
    draw(entry.parent / "pictures", {"cat": 3, "horse": 3})
    refresh()
    ended = cnnreg("check", "--dataset", "packed")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "9 passed, 0 failed, 1 skipped")
    assert load_dataset("packed", None).name == "packed"
    more = draw(tmp_path / "more", {"cat": 4, "horse": 3})
    ended = cnnreg("check", "--dataset", "packed", "--data", more)
    assert ended.code == 1
    assert "packed: counts failed: expected {'num_classes': 2, 'num_images': 6" in ended.out
    assert load_dataset("packed", more).name == "packed"


@pytest.mark.parametrize("arguments", [(), ("--dataset", "digits", "--dataset", "digits")])
def test_data_goes_with_one_dataset(cnnreg: Cnnreg, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = cnnreg("check", "tiny", *arguments, "--data", tmp_path)
    assert ended.code == 2
    assert "--data goes with one --dataset." in ended.err


@pytest.mark.parametrize("cause", ["raise ValueError('nothing here')", "return 3"])
def test_data_that_does_not_load_is_one_failure(install: Install, cause: str) -> None:
    name = install("empty", "    loads.append(source)", f"    {cause}")
    results = check_dataset(name, on_fail=None)
    failed = [result for result in results if result.outcome == "failed"]
    assert [result.check for result in failed] == ["loads"]
    assert {result.message for result in results if result.outcome == "skipped"} == {
        "it does not load, as the check loads reports"
    }
    first = next(iter(dataset_checks(name, only=["labels"]))).result()
    assert first.outcome == "failed"
