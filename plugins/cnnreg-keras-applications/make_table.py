"""Write ``_table.py`` and the entry points from the networks that the installed Keras builds.

    python plugins/cnnreg-keras-applications/make_table.py

Run it after an upgrade of Keras that brings other networks, and add a new one to ``_families.py`` first.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cnn_registry.blocks  # noqa: F401  (prepares TensorFlow before Keras imports it)
from cnn_registry import get_spec, register_model
from cnn_registry.testing import check_model

FOLDER = Path(__file__).parent / "src" / "cnnreg_keras_applications"
STRIDES = (2, 4, 8, 16, 32)

HEAD = '''"""What the networks of ``keras.applications`` consist of. Written by make_table.py; do not edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """One network with 1000 classes at its default size.

    Attributes:
        edge: the default height and width in pixels.
        trainable_params: number of trainable parameters.
        non_trainable_params: number of the others.
        macs: multiply-accumulate operations per image.
        features: layers through which everything passes, and their shapes, by their stride.
    """

    edge: int
    trainable_params: int
    non_trainable_params: int
    macs: int
    features: Mapping[int, tuple[str, tuple[int, int, int]]]


TABLE: Mapping[str, Row] = {
'''


def main() -> None:
    """Write the table, format it, and put the entry points into ``pyproject.toml``."""
    if not (FOLDER / "_table.py").exists():  # the package imports it
        (FOLDER / "_table.py").write_text(f"{HEAD}}}\n", encoding="utf-8")
    from cnnreg_keras_applications import model_name
    from cnnreg_keras_applications._families import FAMILIES

    rows = "".join(f"    {name!r}: {row(name)},\n" for name in FAMILIES)
    (FOLDER / "_table.py").write_text(f"{HEAD}{rows}}}\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", FOLDER / "_table.py"], check=True)
    project = FOLDER.parents[1] / "pyproject.toml"
    names = sorted(map(model_name, FAMILIES))
    entries = "".join(f'{name} = "cnnreg_keras_applications:{name}"\n' for name in names)
    text = re.sub(
        r'(\[project\.entry-points\."cnn_registry\.models"\]\n)(?:\w.*\n)*', rf"\1{entries}", project.read_text()
    )
    project.write_text(text, encoding="utf-8")


def row(constructor: str) -> str:
    """The source of a network's row."""
    import keras
    from cnnreg_keras_applications._families import FAMILIES
    from cnnreg_keras_applications._network import build

    family = FAMILIES[constructor]
    edge = default_edge(constructor)

    def described(input_shape: tuple[int, int, int], num_classes: int) -> Any:
        return build(constructor, input_shape, num_classes, classifier_activation="softmax", name="described")

    register_model(
        family=family.name,
        summary="a network that is counted",
        paper=family.paper,
        trainable_params=1,
        input_shape=(edge, edge, 3),
        replace=True,
    )(described)
    declare: dict[str, int] = {}
    for result in check_model(get_spec("described"), on_fail=None, only=["parameters", "macs"]):
        declare |= result.declare
    with keras.StatelessScope(initialize_variables=False):
        network, larger = (described((size, size, 3), 1000) for size in (edge, edge + 64))
    found: dict[int, tuple[str, tuple[int, ...]]] = {}
    for layer in passages(network):
        grown = larger.get_layer(layer.name).output.shape[1] - layer.output.shape[1]
        if grown and 64 % grown == 0 and 64 // grown in STRIDES:
            found[64 // grown] = layer.name, tuple(layer.output.shape[1:])
    keras.utils.clear_session(free_memory=False)
    print(constructor, edge, declare, found, flush=True)
    trainable, others = declare["trainable_params"], declare.get("non_trainable_params", 0)
    return f"Row({edge}, {trainable:_}, {others:_}, {declare['macs']:_}, {found!r})"


def default_edge(constructor: str) -> int:
    """The size for which Keras builds the network by default; 224 pixels for one that takes any."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        network = getattr(keras.applications, constructor)(weights=None)
    return int(network.input_shape[1] or 224)


def passages(network: Any) -> Iterator[Any]:
    """The layers with maps whose output is all that the layers behind them get, in the order of the network.

    Paddings and dropout only pass a map on, so they are left out.
    """
    import keras

    # `layer.input` of a model in a model is inside that one, and only the node says where it stands.
    nodes = [operation._inbound_nodes[-1] for operation in network.operations]
    position = {id(tensor): number for number, node in enumerate(nodes) for tensor in node.outputs}
    reaches: dict[int, int] = {}
    for number, node in enumerate(nodes):
        for tensor in node.input_tensors:
            reaches[position[id(tensor)]] = number
    furthest = 0
    for number, layer in enumerate(network.operations):
        is_passage = furthest <= number
        furthest = max(furthest, reaches.get(number, number))
        shape = nodes[number].outputs[0].shape
        passes_on = isinstance(layer, keras.layers.InputLayer | keras.layers.ZeroPadding2D | keras.layers.Dropout)
        is_map = (
            isinstance(layer, keras.layers.Layer) and len(shape) == 4 and shape[1] > 1 and not hasattr(layer, "layers")
        )
        if is_passage and is_map and not passes_on:
            yield layer


if __name__ == "__main__":
    main()
