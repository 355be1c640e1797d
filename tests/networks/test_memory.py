"""What a network needs is compared with the memory before it takes any."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from cnn_registry import backend, create_model, train
from cnn_registry.data.form import Form
from cnn_registry.errors import UsageError
from cnn_registry.inference.pictures import pictures_at_a_time
from cnn_registry.networks.memory import bytes_of, kept_bytes, memory_reported

MB = 10**6


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(backend, "computes_in_main_memory", lambda: True)
    return monkeypatch


def limit(memory: pytest.MonkeyPatch, count: int) -> None:
    memory.setattr(backend, "memory_limit", lambda: count)


@pytest.mark.parametrize("arguments", [{"input_shape": (8192, 8192, 3)}, {"num_classes": 10**9}])
def test_a_network_that_is_larger_than_the_memory_is_refused_before_it_takes_any(
    memory: pytest.MonkeyPatch, arguments: dict[str, object]
) -> None:
    limit(memory, 24_000 * MB)
    with pytest.raises(UsageError, match=r"^lenet5 for input_shape=\(.*\) needs at least [\d,.]+ GB .*use 24\.0 GB\."):
        create_model("lenet5", **arguments)  # type: ignore[arg-type]  # either of them


def test_what_just_fits_is_built(memory: pytest.MonkeyPatch) -> None:
    size = bytes_of(create_model("lenet5").weights)
    limit(memory, size)
    assert bytes_of(create_model("lenet5").weights) == size
    limit(memory, size - 1)
    with pytest.raises(UsageError, match="weights"):
        create_model("lenet5")


def test_a_part_is_measured_without_the_rest(memory: pytest.MonkeyPatch) -> None:
    limit(memory, 60 * MB)  # VGG-16 has 553 MB of weights, its features without the top 59
    assert create_model("vgg16", include_top=False, input_shape=(32, 32, 3)).count_params() == 14_714_688
    with pytest.raises(UsageError, match="vgg16"):
        create_model("vgg16", input_shape=(32, 32, 3))


def test_the_memory_of_a_gpu_is_not_judged_by_that_of_the_machine(memory: pytest.MonkeyPatch) -> None:
    memory.setattr(backend, "computes_in_main_memory", lambda: False)
    limit(memory, 1)
    assert bytes_of(create_model("lenet5").weights) > 1


def test_a_training_is_refused_before_a_directory_is_made(memory: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = bytes_of(create_model("lenet5", num_classes=10, input_shape=(32, 32, 3)).weights)
    settings = {"epochs": 1, "image_size": 32, "batch_size": 16, "ema": 1.0, "optimizer.name": "adam"}
    limit(memory, 3 * weights)  # the weights, their average, and two moments
    said = (
        r"^Training lenet5 for .* with batches of 16 needs at least .*weights .*average .*optimizer .*maps .*batch_size"
    )
    with pytest.raises(UsageError, match=said):
        train("lenet5", dataset="digits", settings=settings, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_gradients_need_what_goes_into_trainable_kernels() -> None:
    inputs = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(4, 3)(inputs)
    flat = keras.layers.Flatten()(keras.layers.ReLU()(maps))
    model = keras.Model(inputs, keras.layers.Dense(2)(flat))
    of_dense = 6 * 6 * 4 * 4
    assert kept_bytes(model, 10) == 10 * (8 * 8 * 3 * 4 + of_dense)
    model.layers[1].trainable = False
    assert kept_bytes(model, 10) == 10 * of_dense


@pytest.mark.parametrize(("edge", "count"), [(32, 32), (1182, 32), (2048, 10), (8192, 1), (30_000, 1)])
def test_large_pictures_go_through_a_network_a_few_at_a_time(edge: int, count: int) -> None:
    assert pictures_at_a_time(Form.of(edge)) == count


def test_memory_that_runs_out_is_reported_in_a_line() -> None:
    for error in (MemoryError(), backend.tensorflow().errors.ResourceExhaustedError(None, None, "OOM")):
        said = r"^This needs more memory; this process may use [\d.]+ GB\."
        with pytest.raises(UsageError, match=said), memory_reported("This", ()):
            raise error
