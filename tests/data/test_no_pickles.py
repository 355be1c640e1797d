"""Data that could run code when it is read: none of it is read."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cnn_registry
from cnn_registry.data.folder import load_folder
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.sources.load import load_images

CODE_IN_DATA = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "_pickle", "yaml"}
UNSAFE = {("allow_pickle", True), ("safe_mode", False), ("weights_only", False)}


class Touch:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.victim,)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[bytes]:
    """A pickle that nobody may read; that it would run code is shown first."""
    victim = tmp_path / "victim"
    content = pickle.dumps(Touch(victim))
    pickle.loads(content)
    assert victim.exists()
    victim.unlink()
    yield content
    assert not victim.exists()


def test_the_pickle_that_tflearn_leaves_is_not_read(hostile: bytes, tmp_path: Path) -> None:
    root = tmp_path / "17flowers"
    for number in (1, 2, 81, 82):
        file = root / "jpg" / str((number - 1) // 80) / f"image_{number:04}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)
    for name in ("17flowers.pkl", "jpg/17flowers.pkl", "datasplits.mat", "jpg/datasplits.mat", "jpg/0/image_0003.jpg"):
        (root / name).write_bytes(hostile)
    dataset = load_dataset("oxflower17", root)
    assert (len(dataset), dict(dataset.splits)) == (5, {})


def test_a_pickle_in_the_cache_is_not_read(
    hostile: bytes, folder: Callable[..., Path], cache_folder: Path, tmp_path: Path
) -> None:
    dataset = load_folder(folder("a/1.png", "b/1.png"))
    pixels = load_images(dataset, 8).source.read(np.arange(2))
    [entry] = (cache_folder / "decoded").iterdir()
    np.save(entry / "images.npy", np.array([Touch(tmp_path / "victim")]))
    np.testing.assert_array_equal(load_images(dataset, 8).source.read(np.arange(2)), pixels)
    for name in ("images.npy", "bad.json"):
        (entry / name).write_bytes(hostile)
        np.testing.assert_array_equal(load_images(dataset, 8).source.read(np.arange(2)), pixels)


def test_nothing_here_reads_what_could_run_code() -> None:
    files = list(Path(cnn_registry.__file__).parent.rglob("*.py"))
    assert len(files) > 50
    assert [f"{file}:{fault}" for file in files for fault in faults(ast.parse(file.read_text(encoding="utf-8")))] == []


def faults(tree: ast.AST) -> Iterator[str]:
    """What in a module could read code out of data, by its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            yield from (f"{node.lineno} {name}" for name in names if name.partition(".")[0] in CODE_IN_DATA)
        if isinstance(node, ast.Call):
            given = {(word.arg, getattr(word.value, "value", None)) for word in node.keywords}
            yield from (f"{node.lineno} {name}={value}" for name, value in given & UNSAFE)
            if isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
                yield f"{node.lineno} {node.func.id}"
            if ast.unparse(node.func) == "torch.load" and ("weights_only", True) not in given:
                yield f"{node.lineno} torch.load without weights_only=True"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "f(allow_pickle=True)",
        "m(safe_mode=False)",
        "torch.load(x)",
        "eval(x)",
    ],
)
def test_the_search_finds_each_kind(source: str) -> None:
    assert list(faults(ast.parse(source)))
