"""Grad-CAM on a network whose answer is known by construction."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from cnn_registry import backend, load_run
from cnn_registry.errors import BadImageError, UsageError
from cnn_registry.explain import GradCam, explain_images, overlay
from cnn_registry.inference.pictures import Picture
from tests.conftest import TINY

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

SIZE = 16


def detector(last: str = "dense", size: int = SIZE) -> Any:
    """A network that sees class c where the image has the colour c.

    The channels of its maps are the colours, averaged over 4x4 pixels; the score of a class is ten times the mean of
    its channel.
    """
    keras = backend.keras()
    inputs = keras.Input((size, size, 3))
    maps = keras.layers.AveragePooling2D(4, name="maps")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(maps)
    head = keras.layers.Dense(3, activation="softmax" if last == "dense" else None, use_bias=False, name="head")
    x = head(x)
    if last == "activation":
        x = keras.layers.Activation("softmax")(x)
    elif last == "layer":
        x = keras.layers.Softmax()(x)
    elif last == "function":
        x = keras.ops.softmax(x)
    head.set_weights([10 * np.eye(3, dtype=np.float32)])
    return keras.Model(inputs, x, name="detector")


def corners(red: int, green: int) -> np.ndarray:
    """A black image with a red corner at the top left and a green one at the bottom right, of so many pixels."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:red, :red, 0] = 255
    image[SIZE - green :, SIZE - green :, 1] = 255
    return image


@pytest.mark.parametrize("last", ["dense", "activation", "layer", "function"])
def test_the_map_is_where_the_class_is(last: str) -> None:
    cam = GradCam(detector(last), "maps", "unit")
    images = np.stack([corners(8, 4), corners(4, 8)])
    found = cam(images)
    assert found.classes.tolist() == [0, 1]
    assert found.maps.dtype == np.float32
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    where = np.zeros((2, 4, 4), bool)
    where[0, :2, :2] = where[1, 2:, 2:] = True
    np.testing.assert_array_equal(found.maps > 1e-6, where)
    if last != "function":  # the weight of a channel is the gradient of the score: 10 / 16 at each of 16 positions
        np.testing.assert_allclose(found.maps[where], 10 / 16, rtol=1e-5)
    second = cam(images, rank=1)
    assert second.classes.tolist() == [1, 0]
    np.testing.assert_array_equal(second.maps[0] > 1e-6, where[1] & (np.arange(4) == 3) & (np.arange(4) == 3)[:, None])
    chosen = cam(images, [1, 1])
    assert chosen.classes.tolist() == [1, 1]
    assert not cam(images, [2, 2]).maps.any()  # nothing is blue


def test_the_map_does_not_vanish_where_the_network_is_sure() -> None:
    network = detector()
    network.get_layer("head").set_weights([2000 * np.eye(3, dtype=np.float32)])
    found = GradCam(network, "maps", "unit")(corners(8, 4)[None])
    assert found.probabilities[0, 0] == 1
    assert found.maps[0, 0, 0] == pytest.approx(2000 / 16)


def test_many_images_are_explained_in_batches() -> None:
    cam = GradCam(detector(), "maps", "unit")
    images = np.stack([corners(4 + number % 8, 4) for number in range(40)])
    found = cam(images)
    assert found.maps.shape == (40, 4, 4)
    np.testing.assert_allclose(found.maps[39], cam(images[39:]).maps[0], rtol=1e-6)


def test_what_cannot_be_explained_is_refused_in_one_line() -> None:
    import keras

    with pytest.raises(UsageError, match="3 classes"):
        GradCam(detector(), "maps", "unit")(corners(8, 4)[None], rank=3)

    class Subclassed(keras.Model):  # type: ignore[misc]  # Keras has no types
        def call(self, images: Any) -> Any:
            return images

    with pytest.raises(UsageError, match="subclassed"):
        GradCam(Subclassed(), "maps", "unit")


def test_a_feature_that_can_be_bypassed_is_explained_by_what_leads_through_it() -> None:
    keras = backend.keras()
    inputs = keras.Input((SIZE, SIZE, 3))
    pooled = keras.layers.AveragePooling2D(4)(inputs)
    side = keras.layers.ReLU(name="side")(pooled)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([pooled, side]))
    found = GradCam(keras.Model(inputs, keras.layers.Softmax()(x)), "side", "unit")(corners(8, 4)[None])
    where = np.zeros((4, 4), bool)
    where[:2, :2] = True
    np.testing.assert_allclose(found.maps[0], where / 16, rtol=1e-5)


def test_the_overlay_is_red_where_the_map_is_largest() -> None:
    picture = np.full((60, 90, 3), 100, np.uint8)
    weights = np.zeros((2, 3), np.float32)
    weights[0, 0] = 7
    drawn = overlay(picture, weights).astype(int)
    assert drawn.shape == picture.shape
    assert drawn[0, 0, 0] > drawn[0, 0, 2] + 40
    assert drawn[-1, -1, 2] > drawn[-1, -1, 0]
    assert np.ptp(overlay(picture, np.zeros((2, 3), np.float32)), axis=(0, 1)).tolist() == [0, 0, 0]


def test_a_run_explains_files(trained: Path, colours: Path, tmp_path: Path) -> None:
    run = load_run(trained)
    Image.fromarray(np.zeros((900, 300, 3), np.uint8)).save(tmp_path / "tall.png")
    [red, tall] = run.explain([colours / "red" / "0.png", tmp_path / "tall.png"])
    assert (red.class_name, red.predicted) == ("red", "red")
    assert red.picture.shape == red.overlay().shape == (18, 22, 3)
    assert red.weights.shape == (14, 14)
    assert tall.overlay().shape == (640, 213, 3)
    [second] = run.explain(colours / "red" / "0.png", runner_up=True)
    assert second.class_name != "red"
    assert second.probability < red.probability
    [array, again] = run.explain([np.asarray(Image.open(colours / "red" / "0.png")), colours / "red" / "0.png"])
    assert (array.image, again.image) == (None, colours / "red" / "0.png")
    np.testing.assert_allclose(array.weights, again.weights, atol=1e-6)
    [blue] = explain_images(trained, str(colours / "red" / "0.png"), target="blue")
    assert (blue.class_name, blue.predicted) == ("blue", "red")


def test_of_many_pictures_one_at_a_time_is_held_at_its_own_size(
    trained: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, most = Picture.whole, 0
    made: list[weakref.ref[Image.Image]] = []

    def counted(picture: Picture, *arguments: Any, **options: Any) -> Image.Image:
        nonlocal most
        image = whole(picture, *arguments, **options)
        made.append(weakref.ref(image))
        most = max(most, sum(held() is not None for held in made))
        return image

    monkeypatch.setattr(Picture, "whole", counted)
    assert len(load_run(trained).explain(colours / "red")) == 20
    assert most == 1


def test_a_run_explains_as_it_predicts(trained: Path, colours: Path, plugins: FakePlugins, tmp_path: Path) -> None:
    """``max_pixels`` is that of `Run.predict`; the model is looked up once, so a deprecated one warns once."""
    old = TINY.replace('family="tiny"', 'family="tiny", deprecated="mini"')
    (tmp_path / "plugins" / "site" / "cnnreg_tiny.py").write_text(old)
    run, picture = load_run(trained), colours / "red" / "0.png"
    with pytest.warns(FutureWarning, match="deprecated") as seen:
        assert run.explain(picture, force=True)[0].predicted == "red"
    assert [warning.filename for warning in seen] == [__file__]
    with pytest.warns(FutureWarning), pytest.raises(BadImageError, match=r"0\.png"):
        run.explain(picture, max_pixels=10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "rad"}, "no class 'rad'. Did you mean 'red'?"),
        ({"target": "red", "runner_up": True}, "leave one of the two out"),
        ({"feature": "conv3d"}, "no feature or layer 'conv3d' with maps. Did you mean 'conv2d"),
    ],
)
def test_a_wrong_request_is_answered(trained: Path, colours: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_run(trained).explain(colours / "red" / "0.png", **options)
    assert message in str(raised.value)


def test_a_file_that_is_not_a_picture_is_named(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(BadImageError, match=r"cut\.jpg"):
        load_run(trained).explain(tmp_path / "cut.jpg")


def test_the_last_feature_of_the_spec_is_explained(plugins: FakePlugins, two: str) -> None:
    from cnn_registry import create_model, get_spec
    from cnn_registry.explain.grad_cam import layer_of

    network, features = create_model(two, num_classes=3), get_spec(two).features
    assert [layer_of(network, features, name) for name in (None, "stride2", "c2")] == ["c2", "c1", "c2"]
    assert layer_of(network, {}, None) == "c2"


def test_the_command_writes_overlays_and_raw_maps(cnnreg: Cnnreg, trained: Path, colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    images = [colours / "red" / "0.png", colours / "blue" / "0.png", tmp_path / "cut.jpg"]
    ended = cnnreg("explain", trained, *images, "-o", out)
    assert ended.code == 0, ended.err
    assert f"cannot be read: {tmp_path / 'cut.jpg'}" in ended.err
    assert {file.name for file in out.iterdir()} == {"0-cam.png", "0-cam.npy", "0-cam-2.png", "0-cam-2.npy"}
    with Image.open(out / "0-cam.png") as drawn:
        assert drawn.size == (22, 18)
    assert np.load(out / "0-cam.npy", allow_pickle=False).shape == (14, 14)
    again = cnnreg("explain", trained, *images, "-o", out)
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "0-cam.png already exists" in again.err
    assert cnnreg("explain", trained, tmp_path / "cut.jpg", "-o", tmp_path / "other").code == 1
