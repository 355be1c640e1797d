from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from cnn_registry.backend import memory_limit
from cnn_registry.system import cgroups

if TYPE_CHECKING:
    from tests.conftest import RunPython

MIB = 2**20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups of the test's own, with no limit."""
    (tmp_path / "cgroup").touch()
    (tmp_path / "fs").mkdir()
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "CGROUPS", tmp_path / "fs")
    return tmp_path


def limit(groups: Path, name: str, value: object) -> None:
    (groups / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
    (groups / "fs" / name).write_text(f"{value}\n")


def test_without_limits_it_is_the_machines_memory(groups: Path) -> None:
    assert memory_limit() == psutil.virtual_memory().total
    (groups / "cgroup").unlink()
    assert memory_limit() == psutil.virtual_memory().total


def test_the_smallest_limit_on_the_way_up_counts(groups: Path) -> None:
    (groups / "cgroup").write_text("0::/user.slice/job/step\n")
    limit(groups, "user.slice/job/step/memory.max", "max")
    assert memory_limit() == psutil.virtual_memory().total
    limit(groups, "user.slice/memory.max", 800 * MIB)
    limit(groups, "user.slice/job/memory.max", 600 * MIB)
    assert memory_limit() == 600 * MIB
    limit(groups, "memory.max", 500 * MIB)
    assert memory_limit() == 500 * MIB


def test_version_one_counts_as_well(groups: Path) -> None:
    (groups / "cgroup").write_text("5:cpu,cpuacct:/other\n4:memory,hugetlb:/docker/abc\n")
    limit(groups, "memory/docker/abc/memory.limit_in_bytes", 9223372036854771712)
    assert memory_limit() == psutil.virtual_memory().total
    limit(groups, "memory/docker/abc/memory.limit_in_bytes", 700 * MIB)
    assert memory_limit() == 700 * MIB


@pytest.mark.parametrize("path", ["/docker/abc", "/../../docker/abc", "/"])
def test_a_container_that_sees_its_group_as_the_root_is_found(groups: Path, path: str) -> None:
    (groups / "cgroup").write_text(f"0::{path}\n1:memory:{path}\n")
    limit(groups, "memory.max", 900 * MIB)
    limit(groups, "memory/memory.limit_in_bytes", 800 * MIB)
    assert memory_limit() == 800 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce these limits")
@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_resource_limits_count_less_what_is_used(run_python: RunPython, kind: str) -> None:
    code = f"""
import resource
from cnn_registry.backend import memory_limit
soft = 2**31
resource.setrlimit(resource.{kind}, (soft, soft))
before = memory_limit()
held = bytearray(300 * 2**20)
print(0 < before < soft and 290 * 2**20 < before - memory_limit() < 400 * 2**20, before)
"""
    finished = run_python("-c", code)
    assert finished.stdout.startswith("True"), (finished.stdout, finished.stderr)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce these limits")
@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_images_that_do_not_fit_below_a_limit_are_streamed(
    run_python: RunPython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    code = f"""
import resource, sys
from pathlib import Path
import numpy as np
import psutil
from PIL import Image
from cnn_registry.data.folder import load_folder
from cnn_registry.data.sources.load import load_images
root = Path({str(tmp_path)!r}) / "data"
for name in "ab":
    (root / name).mkdir(parents=True)
    for number in range(60):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(root / name / f"{{number}}.png")
dataset = load_folder(root)
load_images(dataset, 4)  # imports what decoding needs
used = psutil.Process().memory_info()
held = used.vms if {kind!r} == "RLIMIT_AS" else used.data
soft = held + 400 * 2**20
resource.setrlimit(resource.{kind}, (soft, soft))
loaded = load_images(dataset, 1024)  # 120 * 3 MiB
print(type(loaded.source).__name__, loaded.source.read(np.arange(3)).shape, loaded.bad)
"""
    finished = run_python("-c", code, CNNREG_CACHE=str(tmp_path / "cache"))
    assert finished.stdout == "StreamedImages (3, 1024, 1024, 3) ()\n", finished.stderr
