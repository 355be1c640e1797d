"""The checks of data sets: a sound one passes all of them, and for each there is a broken one that fails it alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry.registry.discovery import DATASETS
from cnn_registry.testing import check_dataset
from cnn_registry.testing.run import DATASET_CHECKS

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

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
    "light-import": ("loads = []", "loads = []\nimport keras"),
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

Install = Callable[..., str]


@pytest.fixture
def install(plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install the sound data set with one place replaced; return its name."""

    def install(name: str, old: str = "", new: str = "") -> str:
        assert not old or SOURCE.count(old) == 1
        source = (SOURCE.replace(old, new) if old else SOURCE).replace("NAME", name)
        entry = plugins.install(f"kit-{name}", source=source, entries={})
        (entry / "entry_points.txt").write_text(f"[{DATASETS}]\n{name} = kit_{name}:{name}\n")
        return name

    return install


def test_a_sound_data_set_passes(install: Install) -> None:
    results = check_dataset(install("noise"))
    assert [(result.check, result.outcome) for result in results] == [
        (check.name, "passed") for check in DATASET_CHECKS
    ]


@pytest.mark.parametrize("check", BROKEN)
def test_a_broken_data_set_fails_just_that_check(install: Install, check: str) -> None:
    results = check_dataset(install(f"noise_{check.replace('-', '_')}", *BROKEN[check]), on_fail=None)
    found = {result.check: result.message for result in results if result.outcome == "failed"}
    assert found.keys() == {check}, found
    assert "\n" not in found[check]


def test_every_check_has_a_broken_data_set() -> None:
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
