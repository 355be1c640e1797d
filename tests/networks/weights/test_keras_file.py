"""Keras' own files: nothing missing or left over goes unnoticed, and their classes decide about the classifier."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_registry import backend, create_model
from cnn_registry.errors import UsageError, WeightsError
from cnn_registry.networks.build import build_model
from cnn_registry.networks.weights import keras_file
from cnn_registry.networks.weights.keras_file import load_exactly, stored_class_names
from cnn_registry.registry.models import get_spec
from cnn_registry.runs.weights_file import save_weights
from tests.networks.weights.conftest import variables

if TYPE_CHECKING:
    import keras
    from keras import layers
else:
    keras = backend.keras()
    layers = keras.layers

ABC = ("apple", "banana", "cherry")


@pytest.fixture
def saved(foreign: str, tmp_path: Path) -> Path:
    """Weights for `ABC`, as a run keeps them."""
    path = tmp_path / "abc.weights.h5"
    keras.utils.set_random_seed(1)
    save_weights(create_model(foreign, num_classes=3), path, ABC)
    return path


def built(name: str, path: Path, class_names: Sequence[str], **options: Any) -> keras.Model:
    keras.utils.set_random_seed(2)
    spec = get_spec(name)
    return build_model(spec, num_classes=len(class_names), weights=path, class_names=class_names, **options)


def test_the_classes_are_in_the_file_wherever_it_is(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert stored_class_names(saved.rename(tmp_path / "elsewhere" / "mine.weights.h5")) == ABC


def test_names_of_classes_of_any_length_and_alphabet(foreign: str, tmp_path: Path) -> None:
    names = ("\N{SNOWMAN}" * 40_000, "a\nb", "")
    save_weights(create_model(foreign, num_classes=3), tmp_path / "x.weights.h5", names)
    assert stored_class_names(tmp_path / "x.weights.h5") == names


def test_the_same_classes_are_loaded_exactly(foreign: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded, expected = (
        variables(built(foreign, saved, ABC)),
        variables(create_model(foreign, num_classes=3, weights=saved)),
    )
    assert all(np.array_equal(loaded[path], expected[path]) for path in expected)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("aux_heads", [False, True])
def test_classes_in_another_order_are_reordered_by_name(
    foreign: str, saved: Path, aux_heads: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = create_model(foreign, num_classes=3, weights=saved)
    after = built(foreign, saved, ("cherry", "apple", "banana"), aux_heads=aux_heads)
    images = np.random.default_rng(0).normal(size=(4, 6, 8, 3)).astype("float32")
    outputs = after(images, training=False)
    outputs = outputs["predictions"] if aux_heads else outputs
    np.testing.assert_allclose(outputs, np.asarray(before(images, training=False))[:, [2, 0, 1]], atol=1e-6)
    note = f"{saved} has the same classes in another order; the outputs of predictions are reordered by name.\n"
    assert note in capsys.readouterr().err


@pytest.mark.parametrize(
    ("classes", "shared"), [(("apple", "pear", "plum"), 1), (("x", "y", "z"), 0), (("apple", "banana"), 2)]
)
@pytest.mark.parametrize("aux_heads", [False, True])
def test_a_classifier_of_other_classes_keeps_its_initialization(
    foreign: str,
    saved: Path,
    classes: tuple[str, ...],
    shared: int,
    aux_heads: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = variables(create_model(foreign, num_classes=3, weights=saved))
    model = built(foreign, saved, classes, aux_heads=aux_heads)
    keras.utils.set_random_seed(2)
    fresh = variables(create_model(foreign, num_classes=len(classes), aux_heads=aux_heads))
    for path, array in variables(model).items():
        is_head = path.startswith(("predictions", "aux"))
        np.testing.assert_array_equal(array, (fresh if is_head else stored)[path])
    names = "aux, predictions" if aux_heads else "predictions"
    assert capsys.readouterr().err == (
        f"{saved} was trained on other classes (it has {shared} of these {len(classes)}); "
        f"these keep their random initialization: {names}.\n"
    )


def test_a_file_that_names_no_classes_keeps_its_classifier_with_a_note(
    foreign: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, path = create_model(foreign, num_classes=3), tmp_path / "plain.weights.h5"
    saved.save_weights(path)
    np.testing.assert_array_equal(
        variables(built(foreign, path, ABC))["predictions/kernel"], variables(saved)["predictions/kernel"]
    )
    note = f"{path} does not name its classes; it has 3 as well, so its weights of predictions are kept.\n"
    assert capsys.readouterr().err == note


def test_published_weights_of_as_many_classes_keep_their_classifier_with_a_note(
    foreign: str, capsys: pytest.CaptureFixture[str]
) -> None:
    built(foreign, Path("keras:imagenet"), [f"class {i}" for i in range(10)], input_shape=(8, 8, 3))
    assert "keras:imagenet does not name its classes; it has 10 as well" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [None, "[" * 100_000, '{"data": 3}', "\0"])
def test_a_run_made_before_files_named_their_classes_names_them_in_its_record(
    foreign: str, tmp_path: Path, damage: str | None
) -> None:
    path = tmp_path / "best.weights.h5"
    create_model(foreign, num_classes=3).save_weights(path)
    (tmp_path / "run.json").write_text(damage or json.dumps({"data": {"class_names": ABC}}))
    assert stored_class_names(path) == (None if damage else ABC)


def test_a_run_directory_stands_for_its_best_weights(foreign: str, saved: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(UsageError):
        create_model(foreign, num_classes=3, weights=run)
    saved.rename(run / "best.weights.h5")
    expected = variables(create_model(foreign, num_classes=3, weights=run / "best.weights.h5"))
    loaded = variables(create_model(foreign, num_classes=3, weights=run))
    assert all(np.array_equal(loaded[path], expected[path]) for path in expected)


def test_a_run_whose_weights_name_other_classes_is_noticed(
    foreign: str, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = create_model(foreign, num_classes=3)
    load_exactly(model, saved, ABC)
    assert capsys.readouterr().err == ""
    load_exactly(model, saved, ("x", "y", "z"))
    assert capsys.readouterr().err == f"{saved} was trained on classes of other names: apple, banana, cherry.\n"
    with pytest.raises(WeightsError, match="has the classes in another order: apple, banana, cherry"):
        load_exactly(model, saved, ABC[::-1])


@pytest.mark.parametrize("text", ["5", "null", "nope", "[" * 100_000, "[1, 2]", '{"a": 1}'])
def test_names_of_classes_in_another_form_are_refused(foreign: str, saved: Path, text: str) -> None:
    import h5py

    with h5py.File(saved, "r+") as file:
        group = file[keras_file.GROUP]
        del group[keras_file.CLASSES], group.attrs[keras_file.DIGEST]
        group[keras_file.CLASSES] = np.frombuffer(text.encode(), np.uint8)
    with pytest.raises(WeightsError, match="the names of its classes cannot be read"):
        create_model(foreign, num_classes=3, weights=saved)
    with pytest.raises(WeightsError, match="the names of its classes cannot be read"):
        load_exactly(create_model(foreign, num_classes=3), saved, ABC)


# --- without the top -----------------------------------------------------------------------------------------------


PARTS: list[dict[str, Any]] = [
    {"include_top": False},
    {"include_top": False, "pooling": "avg"},
    {"features": ("stride2",)},
    {"features": ("stride2", "stride4")},
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("whole", [False, True])
def test_weights_of_a_part_and_of_the_whole_load_into_the_part(
    two: str, tmp_path: Path, part: dict[str, Any], whole: bool
) -> None:
    path = tmp_path / "saved.weights.h5"
    saved = create_model(two, num_classes=5, **({} if whole else part))
    saved.save_weights(path)
    loaded = variables(create_model(two, num_classes=3, weights=path, **part))
    assert loaded
    for name, array in loaded.items():
        np.testing.assert_array_equal(array, variables(saved)[name])


def test_weights_of_another_part_are_refused(two: str, tmp_path: Path) -> None:
    path = tmp_path / "part.weights.h5"
    create_model(two, features=("stride2",)).save_weights(path)
    with pytest.raises(WeightsError, match=r"does not fit two"):
        create_model(two, weights=path, include_top=False)


# --- nothing missing, nothing left over ----------------------------------------------------------------------------


class Branches(layers.Layer):  # type: ignore[misc]  # Keras ships no type information
    """Layers in lists of lists, which Keras skips without an error where a file does not have them."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.branches = [[layers.Dense(4) for _ in range(depth)]] if depth else []
        self.counter = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.switch = self.add_weight(shape=(), dtype="bool", initializer="zeros", trainable=False)

    def call(self, inputs: Any) -> Any:
        for branch in self.branches:
            for layer in branch:
                inputs = layer(inputs)
        return inputs


def nested(depth: int) -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(3)(layers.Dropout(0.5)(Branches(depth)(inputs))), name="nested")


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_weights_of_every_type_are_known_to_come_from_the_file(tmp_path: Path, value: float) -> None:
    saved, path = nested(2), tmp_path / "nested.weights.h5"
    saved.set_weights([np.full(w.shape, value if "float" in w.dtype else 1, w.dtype) for w in saved.weights])
    saved.save_weights(path)
    model = nested(2)
    load_exactly(model, path)
    for loaded, expected in zip(model.weights, saved.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(loaded), np.asarray(expected))


@pytest.mark.parametrize(("of_file", "of_model", "message"), [(0, 2, "it has no weights for "), (2, 1, "has no place")])
def test_weights_that_are_missing_or_left_over_are_refused(
    tmp_path: Path, of_file: int, of_model: int, message: str
) -> None:
    nested(of_file).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(WeightsError, match=f"does not fit nested with these classes and options: .*{message}"):
        load_exactly(nested(of_model), tmp_path / "other.weights.h5")


def test_a_last_layer_that_is_left_over_is_noticed(tmp_path: Path) -> None:
    """Keras reads the layers of a class in their order, so a network with fewer of them would take what it finds."""

    def convolutions(number: int) -> keras.Model:
        return keras.Sequential([keras.Input((8, 8, 4)), *[layers.Conv2D(4, 1) for _ in range(number)]], name="row")

    convolutions(3).save_weights(tmp_path / "three.weights.h5")
    with pytest.raises(WeightsError, match=r"row has no place for layers/conv2d_2/vars/0"):
        load_exactly(convolutions(2), tmp_path / "three.weights.h5")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
    path = tmp_path_factory.mktemp("sealed") / "small.weights.h5"
    save_weights(model, path, ABC)
    return model, path


@settings(max_examples=40)
@given(places=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 7)), min_size=1, max_size=3))
def test_a_file_with_flipped_bits_is_refused_or_holds_the_same_weights(
    small: tuple[keras.Model, Path], tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]]
) -> None:
    model, path = small
    before = keras.models.clone_model(model)
    load_exactly(before, path, ABC)
    content = bytearray(path.read_bytes())
    for place, bit in places:
        content[place % len(content)] ^= 1 << bit
    # HDF5 remembers a file that it failed to read, so each has a name of its own.
    damaged = tmp_path_factory.mktemp("flipped") / "small.weights.h5"
    damaged.write_bytes(content)
    try:
        load_exactly(model, damaged, ABC)
    except WeightsError:
        return
    for loaded, expected in zip(model.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, expected)


def test_every_flipped_bit_of_an_array_is_noticed(small: tuple[keras.Model, Path], tmp_path: Path) -> None:
    import h5py

    model, path = small
    with h5py.File(path) as file:
        array = file["layers/dense/vars/0"]
        start, size = array.id.get_offset(), array.nbytes
    content = path.read_bytes()
    for number, place in enumerate(np.linspace(start, start + size - 1, 12).astype(int)):
        damaged = tmp_path / f"{number}.weights.h5"
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(WeightsError, match=r"it is not what was written: its SHA-256 does not match\.$"):
            load_exactly(model, damaged)
