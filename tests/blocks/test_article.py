"""The article's own code, taken from its text, builds what the blocks and the first plugins build.

The text has lost its indentation; only function bodies had any, and each ends with its one ``return``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn_registry
from cnn_registry import backend

keras = backend.keras()

ARTICLE = Path(__file__).parents[2].parent / "shared" / "reference" / "article.zh.txt"
CLASSES = 17
PARAMS = {"alexnet": 71_982_481, "vgg16": 134_330_193, "inception_v2": 10_307_697}

pytestmark = [
    pytest.mark.skipif(not ARTICLE.is_file(), reason=f"the article is not at {ARTICLE}"),
    pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning"),  # the article passes it
]


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    """Start the numbering of layer names again."""
    keras.utils.clear_session(free_memory=False)
    yield
    keras.utils.clear_session(free_memory=False)


def excerpt(heading: str, first: str, last: str) -> list[str]:
    """The article's lines after ``heading``, from the one that starts with ``first`` to before ``last``."""
    lines = ARTICLE.read_text(encoding="utf-8").splitlines()
    lines = lines[lines.index(heading) :]
    start = next(number for number, line in enumerate(lines) if line.startswith(first))
    end = next(number for number, line in enumerate(lines) if line.startswith(last) and number > start)
    return lines[start:end]


def without_functions(lines: list[str]) -> tuple[list[str], list[str]]:
    """The functions with their bodies indented again, and the rest."""
    functions, rest, inside = [], [], False
    for line in lines:
        if line.startswith("def "):
            inside = True
            functions.append(line)
        elif inside:
            functions.append(f"    {line}")
            inside = not line.startswith("return")
        else:
            rest.append(line)
    return functions, rest


def executed(lines: list[str]) -> Any:
    """The ``model`` that the code makes."""
    namespace: dict[str, Any] = {"keras": keras}
    exec("\n".join(lines), namespace)
    return namespace["model"]


def inception(helpers: list[str] | None = None) -> Any:
    """The article's Inception script with its own helper functions, or with ``helpers`` in their place."""
    functions, script = without_functions(excerpt("InceptionNet", "def Conv2D_BN(", "model.compile("))
    return executed((functions if helpers is None else helpers) + script)


def sequential(heading: str) -> Any:
    return executed(excerpt(heading, "model = keras.models.Sequential()", "model.compile("))


def structure(model: Any) -> list[tuple[str, dict[str, object]]]:
    """Every layer's type and configuration, without its name."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    return [(type(layer).__name__, {**layer.get_config(), "name": None}) for layer in layers]


def images() -> Any:
    return np.random.default_rng(0).uniform(size=(2, 224, 224, 3)).astype("float32")


@pytest.fixture(scope="module")
def theirs() -> Any:
    """The network of the article's Inception script."""
    return inception()


def test_inception_script_builds_the_same_network_with_our_blocks(theirs: Any) -> None:
    ours = inception(["from cnn_registry.blocks import *"])
    assert theirs.count_params() == ours.count_params() == PARAMS["inception_v2"]
    assert structure(ours) == structure(theirs)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_array_equal(ours(images()), theirs(images()))


def test_inception_v2_in_the_articles_variant_computes_the_same(theirs: Any) -> None:
    ours = cnn_registry.create_model("inception_v2", num_classes=CLASSES, variant="article")
    assert ours.count_params() == PARAMS["inception_v2"]
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(images()), theirs(images()), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("heading", "name"), [("AlexNet", "alexnet"), ("VGGNet", "vgg16")])
def test_plugin_builds_the_articles_network(heading: str, name: str) -> None:
    with keras.StatelessScope(initialize_variables=False):  # shapes without the memory of 100 million weights
        theirs = sequential(heading)
        ours = cnn_registry.create_model(name, num_classes=CLASSES, kernel_initializer="glorot_uniform")
    assert theirs.count_params() == ours.count_params() == PARAMS[name]
    assert structure(ours) == structure(theirs)
    assert ours.input_shape == theirs.input_shape
