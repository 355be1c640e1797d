"""A new package's folder is written as a whole or not at all."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry.errors import CnnRegistryError, UsageError
from cnn_registry.scaffold.new import new_package
from cnn_registry.scaffold.write import write

if TYPE_CHECKING:
    from tests.conftest import FakePlugins


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_package_is_written_where_it_is_asked_for(plugins: FakePlugins, tmp_path: Path) -> None:
    out = tmp_path / "some" / "where"
    assert new_package("mynet", out=out) == out / "cnnreg-mynet"
    assert [path.name for path in out.iterdir()] == ["cnnreg-mynet"]
    assert "pyproject.toml" in tree(out / "cnnreg-mynet")


def test_the_author_is_the_packages_by_default(plugins: FakePlugins, tmp_path: Path) -> None:
    folder = new_package("mynet", out=tmp_path)
    assert "The cnnreg-mynet authors" in (folder / "LICENSE").read_text()
    assert 'authors = [{ name = "The cnnreg-mynet authors" }]' in (folder / "pyproject.toml").read_text()


def test_the_same_arguments_write_the_same_package(plugins: FakePlugins, tmp_path: Path) -> None:
    one, two = (tree(new_package("mynet", out=tmp_path / out)) for out in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("kind", ["empty", "full", "file", "link"])
def test_what_exists_is_never_written_into(plugins: FakePlugins, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "cnnreg-mynet"
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        target.mkdir()
        if kind == "full":
            (target / "README.md").write_text("mine")
    before = (sorted(tmp_path.iterdir()), tree(tmp_path))
    with pytest.raises(UsageError, match=r"cnnreg-mynet exists already; nothing was written\. Choose"):
        new_package("mynet", out=tmp_path)
    assert (sorted(tmp_path.iterdir()), tree(tmp_path)) == before


def test_a_bad_author_is_refused_before_anything_is_written(plugins: FakePlugins, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="author"):
        new_package("mynet", author="A\nB", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_half_written_remains(tmp_path: Path) -> None:
    files = {"a.txt": "a", "b": "b", "b/c.txt": "a file cannot be a folder, too"}
    with pytest.raises(CnnRegistryError, match=r"package could not be written: \w+"):
        write(files, tmp_path / "package")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_folder_has_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    write({"a.txt": "a"}, tmp_path / "package")
    usual, package = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "package"))
    assert package == usual


def test_lines_end_alike_on_every_system(tmp_path: Path) -> None:
    write({"a.txt": "one\ntwo\n"}, tmp_path / "package")
    assert (tmp_path / "package" / "a.txt").read_bytes() == b"one\ntwo\n"
