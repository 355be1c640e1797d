"""Weights of every kind reach the layers that they belong to, all of them or none."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from cnn_registry import backend, create_model
from cnn_registry.errors import DownloadError, MissingPackageError, UsageError, WeightsError
from tests.conftest import RunPython
from tests.networks.weights.conftest import variables

keras = backend.keras()

State = dict[str, np.ndarray]


@pytest.fixture
def safetensors(state: State, tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    return path


def save(state: State, path: Path) -> Path:
    save_file(state, path)
    return path


def as_torch_computes(state: State, images: np.ndarray) -> np.ndarray:
    """The probabilities of the network whose weights ``state`` is, computed from the definition of its layers."""
    batch, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    maps = np.zeros((batch, 4, height, width))
    for row in range(3):
        for column in range(3):
            kernel = state["features.0.weight"][:, :, row, column]
            maps += np.einsum("bhwi,oi->bohw", padded[:, row : row + height, column : column + width], kernel)
    of_channel = {name: state[f"features.1.{name}"][:, None, None] for name in ("weight", "bias")}
    mean, var = (state[f"features.1.running_{name}"][:, None, None] for name in ("mean", "var"))
    maps = maps + state["features.0.bias"][:, None, None]
    maps = (maps - mean) / np.sqrt(var + 1e-3) * of_channel["weight"] + of_channel["bias"]
    hidden = np.maximum(maps.reshape(batch, -1) @ state["classifier.1.weight"].T + state["classifier.1.bias"], 0)
    logits = hidden @ state["fc.weight"].T + state["fc.bias"]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def test_a_state_dict_gives_what_its_network_computes(foreign: str, state: State, safetensors: Path) -> None:
    state["classifier.1.weight"] -= 0.5  # else the softmax is saturated
    state["fc.weight"] -= 0.5
    save(state, safetensors)
    model = create_model(foreign, num_classes=10, weights=safetensors)
    images = np.random.default_rng(1).normal(size=(3, 6, 8, 3)).astype("float32") / 5
    expected = as_torch_computes(state, images)
    assert expected.std(axis=0).max() > 1e-2
    np.testing.assert_allclose(model(images, training=False), expected, rtol=1e-4, atol=1e-5)


def test_heads_are_filled_where_the_model_has_them(foreign: str, state: State, safetensors: Path) -> None:
    model = create_model(foreign, num_classes=10, weights=safetensors, aux_heads=True)
    np.testing.assert_array_equal(model.get_layer("aux").kernel, state["AuxLogits.fc.weight"].T)


def test_a_classifier_of_other_classes_keeps_its_initialization_with_a_note(
    foreign: str, state: State, safetensors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = create_model(foreign, num_classes=3, weights=safetensors, aux_heads=True)
    assert model.output["predictions"].shape == (None, 3)
    np.testing.assert_array_equal(model.get_layer("stem").bias, state["features.0.bias"])
    assert capsys.readouterr().err == (
        f"{safetensors} does not match all layers; these keep their random initialization: aux, predictions.\n"
    )


def without(name: str) -> Callable[[State], State]:
    return lambda state: {key: array for key, array in state.items() if key != name}


def with_shape(name: str, *shape: int) -> Callable[[State], State]:
    return lambda state: state | {name: np.zeros(shape, "float32")}


@pytest.mark.parametrize(
    ("change", "mismatch"),
    [
        (without("features.0.bias"), "stem/bias: expected (4,), got none"),
        (without("features.1.running_var"), "stem_bn/moving_variance: expected (4,), got none"),
        (with_shape("features.0.weight", 4, 1, 3, 3), "stem/kernel: expected (3, 3, 3, 4), got (3, 3, 1, 4)"),
        (with_shape("classifier.1.weight", 5, 100), "hidden/kernel: expected (192, 5), got (100, 5)"),
        (with_shape("fc.weight", 10, 6), "predictions/kernel: expected (5, 10), got (6, 10)"),
        (without("fc.bias"), "predictions/bias: expected (10,), got none"),
        (with_shape("layer9.weight", 4, 4), "layer9: the model has no such layer"),
        (with_shape("features.0.scale", 4), "stem/scale: expected none, got (4,)"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused(
    foreign: str, state: State, tmp_path: Path, change: Callable[[State], State], mismatch: str
) -> None:
    path = save(change(state), tmp_path / "wrong.safetensors")
    with pytest.raises(WeightsError) as caught:
        create_model(foreign, num_classes=10, weights=path)
    assert str(caught.value).startswith(f"{path} does not fit foreign, 1 mismatch: {mismatch}. ")


def test_a_foreign_file_lists_the_first_mismatches(foreign: str, tmp_path: Path) -> None:
    path = save({"conv.weight": np.zeros((1, 1, 1, 1), "float32")}, tmp_path / "foreign.safetensors")
    with pytest.raises(
        WeightsError, match=r"does not fit foreign, 11 mismatches: stem/kernel: .*; stem/bias: .*; \.\.\."
    ):
        create_model(foreign, num_classes=10, weights=path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 100, b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5"])
def test_a_damaged_file_is_refused_in_one_line(foreign: str, tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        create_model(foreign, weights=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(foreign: str, safetensors: Path) -> None:
    safetensors.write_bytes(safetensors.read_bytes()[:-10])
    with pytest.raises(WeightsError, match=r"cannot be read as safetensors: .* Is it complete"):
        create_model(foreign, weights=safetensors)


def test_torch_files_say_what_reads_them(foreign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.pth").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        MissingPackageError, match=r"^Reading weights\.pth needs torch, .* Install with: pip install torch$"
    ):
        create_model(foreign, weights=tmp_path / "weights.pth")


def test_a_keras_model_of_another_session_is_read_by_its_own_numbers(foreign: str) -> None:
    from cnn_registry.networks.weights.foreign import of_keras_model

    def numbered() -> Any:
        layers = [keras.layers.Conv2D(2, 1), keras.layers.BatchNormalization(), keras.layers.Conv2D(3, 1)]
        return keras.Sequential([keras.Input((4, 4, 3)), *layers, keras.layers.Dense(2, name="top")])

    first, second = of_keras_model(numbered()), of_keras_model(numbered())
    assert list(second.arrays) == ["conv2d", "batch_normalization", "conv2d_1", "top"] == list(first.arrays)
    assert second.arrays["conv2d_1"]["kernel"].shape == (1, 1, 2, 3)


def test_published_keras_weights_are_loaded(foreign: str) -> None:
    model = create_model(foreign, num_classes=10, input_shape=(8, 8, 3), weights="keras:imagenet")
    np.testing.assert_array_equal(model.get_layer("stem_bn").gamma, [0.5, 1.0, 1.5, 2.0])
    other = create_model(foreign, num_classes=4, input_shape=(8, 8, 3), weights="keras:imagenet")
    np.testing.assert_array_equal(other.get_layer("stem").kernel, model.get_layer("stem").kernel)


def test_a_failing_download_by_keras_is_reported(foreign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFLINE", "1")
    with pytest.raises(
        DownloadError, match=r"^The weights of cnnreg_foreign:trained could not be downloaded: .* failure"
    ):
        create_model(foreign, weights="keras:imagenet")


def test_no_network_is_reported(foreign: str) -> None:
    with pytest.raises(
        DownloadError, match=r"foreign-0123abcd\.safetensors could not be downloaded \(.*: no connection\)"
    ):
        create_model(foreign, weights="torchvision:IMAGENET1K_V1")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which it is served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_published_state_dicts_are_checked_by_the_hash_in_their_name(
    install: Callable[..., str], served: tuple[Path, str], own_cache: Path
) -> None:
    folder, address = served
    (folder / "foreign-0123abcd.safetensors").write_bytes(b"something else")
    name = install(f"{address}/foreign-0123abcd.safetensors")
    came = sha256(b"something else").hexdigest()
    with pytest.raises(DownloadError, match=f"expected sha256 0123abcd, got sha256 {came}"):
        create_model(name, weights="torchvision:IMAGENET1K_V1")
    assert list((own_cache / "weights").iterdir()) == []


def test_published_state_dicts_are_fetched_once(
    install: Callable[..., str], served: tuple[Path, str], own_cache: Path, state: State
) -> None:
    folder, address = served
    file = save(state, folder / "file.safetensors")
    digest = sha256(file.read_bytes()).hexdigest()[:8]
    file = file.rename(folder / f"foreign-{digest}.safetensors")
    name = install(f"{address}/{file.name}")
    for _ in range(2):
        model = create_model(name, num_classes=10, weights="torchvision:IMAGENET1K_V1")
        np.testing.assert_array_equal(model.get_layer("stem").bias, state["features.0.bias"])
        file.unlink(missing_ok=True)
    assert [path.name for path in (own_cache / "weights").iterdir()] == [file.name]


def test_what_reads_a_file_is_asked_for_before_it_is_fetched(
    install: Callable[..., str], served: tuple[Path, str], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    (folder / "foreign-0123abcd.pth").write_bytes(b"much")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        MissingPackageError, match=r"^Reading foreign-0123abcd\.pth needs torch, which is not installed"
    ):
        create_model(install(f"{address}/foreign-0123abcd.pth"), weights="torchvision:IMAGENET1K_V1")
    assert not (own_cache / "weights").exists()


SAVE = """
import sys
from pathlib import Path

import numpy as np
import torch

class Runs:
    def __reduce__(self):
        return Path.touch, (Path({victim!r}),)

state = {{name: torch.from_numpy(array) for name, array in np.load({arrays!r}).items()}}
torch.save({state}, {path!r})
"""
"""Writes a file of PyTorch's, in a process of its own as in the library: TensorFlow may be in this one."""

WriteTorch = Callable[..., Path]


@pytest.fixture
def write_torch(run_python: RunPython, tmp_path: Path, state: State) -> WriteTorch:
    """Write a file with PyTorch: `state`, or another expression of Python."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch")

    def write(name: str, expression: str = "state") -> Path:
        np.savez(tmp_path / "state.npz", **state)  # type: ignore[arg-type]  # NumPy types keywords as its own options
        paths = {"victim": tmp_path / "victim", "arrays": tmp_path / "state.npz", "path": tmp_path / name}
        done = run_python("-c", SAVE.format(state=expression, **{key: str(path) for key, path in paths.items()}))
        assert done.returncode == 0, done.stderr
        return paths["path"]

    return write


@pytest.mark.torch
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_state_dict_of_torch_is_read_and_a_damaged_one_refused(
    foreign: str, state: State, write_torch: WriteTorch, suffix: str
) -> None:
    path = write_torch(f"weights{suffix}")
    model = create_model(foreign, num_classes=10, weights=path)
    np.testing.assert_array_equal(model.get_layer("stem").bias, state["features.0.bias"])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"cannot be read as a PyTorch state dict: .* Is it complete"):
        create_model(foreign, num_classes=10, weights=path)


@pytest.mark.torch
def test_no_code_in_a_file_of_torch_is_run(foreign: str, write_torch: WriteTorch, tmp_path: Path) -> None:
    path = write_torch("hostile.pth", "{'features.0.weight': Runs()}")
    with pytest.raises(WeightsError, match="cannot be read as a PyTorch state dict"):
        create_model(foreign, weights=path)
    assert not (tmp_path / "victim").exists()


@pytest.mark.torch
def test_torch_is_not_imported_into_the_process(foreign: str, write_torch: WriteTorch) -> None:
    create_model(foreign, num_classes=10, weights=write_torch("weights.pth"))
    assert "torch" not in sys.modules


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "raise ImportError('no Triton')",
            r"needs torch, which cannot be imported \(ImportError: no Triton\)\.",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            r"the process that reads it ended with exit code -11",
        ),
        (
            "def load(*_, **__): raise ValueError('no zip')",
            r"cannot be read as a PyTorch state dict: ValueError: no zip",
        ),
    ],
)
def test_a_torch_that_fails_is_one_line(
    foreign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "torch.py").write_text(content)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "library"), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(tmp_path / "library"))
    (tmp_path / "weights.pth").write_bytes(b"any")
    with pytest.raises((MissingPackageError, WeightsError), match=message) as caught:
        create_model(foreign, weights=tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)


def test_a_keras_file_is_loaded_whole(foreign: str, tmp_path: Path) -> None:
    saved = create_model(foreign, num_classes=10)
    saved.save_weights(tmp_path / "own.weights.h5")
    loaded = create_model(foreign, num_classes=10, weights=tmp_path / "own.weights.h5")
    for path, array in variables(saved).items():
        np.testing.assert_array_equal(variables(loaded)[path], array)


def test_a_keras_file_of_other_classes_leaves_the_classifier(
    foreign: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = create_model(foreign, num_classes=10)
    saved.save_weights(tmp_path / "own.weights.h5")
    loaded = create_model(foreign, num_classes=3, weights=tmp_path / "own.weights.h5")
    for path, array in variables(saved).items():
        if not path.startswith("predictions"):
            np.testing.assert_array_equal(variables(loaded)[path], array)
    assert not np.isnan(variables(loaded)["predictions/kernel"]).any()
    assert capsys.readouterr().err.endswith(
        " does not match all layers; these keep their random initialization: predictions.\n"
    )


def test_auxiliary_heads_keep_their_initialization_where_the_weights_have_none(
    foreign: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = create_model(foreign, num_classes=10, input_shape=(8, 8, 3), weights="keras:imagenet")
    saved.save_weights(tmp_path / "own.weights.h5")
    for weights in ("keras:imagenet", tmp_path / "own.weights.h5"):
        loaded = create_model(foreign, num_classes=10, input_shape=(8, 8, 3), weights=weights, aux_heads=True)
        for path, array in variables(saved).items():
            np.testing.assert_array_equal(variables(loaded)[path], array)
        assert np.isfinite(variables(loaded)["aux/kernel"]).all()
        assert capsys.readouterr().err == (
            f"{weights} does not match all layers; these keep their random initialization: aux.\n"
        )


def test_a_keras_file_of_another_network_is_refused(foreign: str, tmp_path: Path) -> None:
    create_model(foreign, bias=False).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(WeightsError, match=r"does not fit foreign .* First layers that do not fit: stem"):
        create_model(foreign, weights=tmp_path / "other.weights.h5")


def test_weights_go_with_features_and_without_the_top(foreign: str, safetensors: Path, state: State) -> None:
    for form in ({"features": ("stride1",)}, {"include_top": False, "pooling": "avg"}):
        model = create_model(foreign, num_classes=10, weights=safetensors, **form)
        np.testing.assert_array_equal(model.get_layer("stem").bias, state["features.0.bias"])


def test_options_that_the_weights_need_are_set_or_defended(foreign: str, safetensors: Path) -> None:
    with pytest.raises(UsageError, match=r"belong to the network with bias=True; got False\. Leave bias out"):
        create_model(foreign, num_classes=10, weights=safetensors, bias=False)
