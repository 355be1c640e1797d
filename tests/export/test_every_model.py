"""Every model in this repository in every format, with random weights: `make test-exports`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry import backend, create_model, get_spec, list_models
from cnn_registry.backend import forget, standard_settings
from cnn_registry.blocks import LocalResponseNormalization
from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.form import Form
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.data.sources.memory import ArrayImages
from cnn_registry.export import FORMATS, FormatName
from cnn_registry.export.check import Sample
from cnn_registry.export.facts import describe
from cnn_registry.export.workflow import export_model

SIZE = 96
"""No model in this repository needs larger images."""

CLASSES = ("a", "b", "c", "d", "e")
OWN = "own"
"""A small network with whatever formats treat differently."""

EVERY_DAY = {*((OWN, name) for name in FORMATS), ("lenet5", "keras")}
"""What the everyday suite exports; ``test_workflow.py`` exports a trained network to every format."""
CASES = [(network, name) for network in (OWN, *list_models()) for name in FORMATS]


def noise(count: int) -> Sample:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
    dataset = ImageDataset(
        name="noise",
        class_names=CLASSES,
        ids=tuple(map(str, range(count))),
        labels=random.integers(0, len(CLASSES), count),
        images=pixels,
        splits={},
        default_split=None,
        source="memory",
        image_size=SIZE,
    )
    return Sample(LoadedImages(dataset, ArrayImages(pixels), bad=(), digest=""), np.arange(count), "random images")


def own() -> Any:
    """Grouped, unbiased and normalised convolutions, a layer of this library, branches and a shortcut."""
    layers = backend.keras().layers
    images = layers.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 5, strides=4, padding="same", use_bias=False)(images)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = LocalResponseNormalization()(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    branches = [
        layers.Conv2D(4, (1, 3), padding="same", activation="relu")(x),
        layers.AveragePooling2D(3, 1, "same")(x),
    ]
    x = layers.Concatenate()(branches)
    x = layers.Add()([x, layers.Conv2D(12, 3, groups=2, padding="same")(x)])
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    return backend.keras().Model(images, layers.Dense(len(CLASSES), activation="softmax")(x), name=OWN)


@pytest.fixture(scope="module")
def network(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """A model with random weights, built once for all formats."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(Path(__file__).parents[2])
        from benchmarks.exports import settle
    with standard_settings():
        shape = (SIZE, SIZE, 3)
        model = (
            own() if request.param == OWN else create_model(request.param, num_classes=len(CLASSES), input_shape=shape)
        )
        settle(model, noise(8).images.source.read(np.arange(8)) / np.float32(255))
    yield request.param, model
    forget(model.variables)


@pytest.mark.parametrize(
    ("network", "format_name"),
    [pytest.param(*case, marks=[] if case in EVERY_DAY else pytest.mark.exports) for case in CASES],
    indirect=["network"],
)
def test_it_predicts_the_same(network: tuple[str, Any], format_name: FormatName, tmp_path: Path) -> None:
    name, model = network
    kind, distribution = FORMATS[format_name], None if name == OWN else get_spec(name).provider.distribution
    facts = describe(kind, "float32", labels=CLASSES, form=Form.of(SIZE), model=name, distribution=distribution)
    assert facts["licence"] == ("Apache-2.0" if distribution else "unknown")
    with standard_settings():
        made = export_model(
            model,
            tmp_path / "out",
            kind=kind,
            facts=facts,
            pixels="signed",
            sample=noise(4),
            calibration=np.empty(0, np.uint8),
            size=0,
        )
    assert made.exported.agreement == 1
    assert made.exported.largest_difference <= 2e-5  # of probabilities; 1.3e-5 with vgg19_bn
