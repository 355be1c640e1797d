import math
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from cnn_registry import create_model, get_spec, list_models
from cnn_registry.errors import UsageError

# Trainable parameters with 1000 classes.
TORCHVISION = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}
# All parameters with 1000 classes, moving statistics included.
KERAS_APPLICATIONS = {
    "resnet50": 25_636_712,
    "resnet50_v2": 25_613_800,
    "resnet101_v2": 44_675_560,
    "resnet152_v2": 60_380_648,
}
V1 = tuple(TORCHVISION)
V2 = ("resnet50_v2", "resnet101_v2", "resnet152_v2")


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=False)  # a garbage collection each time would take longer than the tests


@cache
def described(name: str, **arguments: Any) -> Any:
    """The model with the shapes of its weights but without their memory, built once for all tests: do not change it."""
    with keras.StatelessScope(initialize_variables=False):
        return create_model(name, **arguments)


def trainable(model: Any) -> int:
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def test_all_are_listed() -> None:
    assert {*V1, *V2} <= set(list_models("resnet*"))


@pytest.mark.parametrize(("name", "total"), TORCHVISION.items())
def test_trainable_parameters_are_torchvisions(name: str, total: int) -> None:
    assert trainable(described(name)) == total


@pytest.mark.parametrize(("name", "total"), KERAS_APPLICATIONS.items())
def test_all_parameters_are_those_of_keras_applications(name: str, total: int) -> None:
    options: dict[str, Any] = {} if name in V2 else {"use_bias": True}
    assert described(name, **options).count_params() == total


def macs(model: Any) -> int:
    """Multiplications with addition for one image: each kernel is applied at every place of its output."""
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    return sum(math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1]) for layer in kernels)


def test_multiplications_of_resnet50_by_the_place_of_its_stride() -> None:
    # 4.1 G is what is published for torchvision's, 3.8 G in table 1 of the paper.
    assert macs(described("resnet50")) == pytest.approx(4.11e9, rel=0.01)
    assert macs(described("resnet50", stride_in="1x1")) == pytest.approx(3.8e9, rel=0.02)


@pytest.mark.parametrize("name", [*V1, *V2])
def test_depth_is_the_number_of_layers_with_weights(name: str) -> None:
    convs = [layer.name for layer in described(name).layers if hasattr(layer, "kernel")]
    depth = int(name.removesuffix("_v2").removeprefix("resnet"))
    assert len([conv for conv in convs if not conv.endswith("_shortcut")]) == depth


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet50_v2"])  # each kind of unit
def test_any_size_can_be_built(name: str) -> None:
    model = described(name, input_shape=(1, 33, 1))
    last = list(get_spec(name).features.values())[-1].layer
    assert model.get_layer(last).output.shape[1:3] == (1, 2)


def test_layers_of_a_unit() -> None:
    names = [layer.name for layer in described("resnet50", input_shape=(64, 64, 3)).layers]
    unit = {name.removeprefix("stage2_block1_") for name in names if name.startswith("stage2_block1_")}
    assert unit == {
        *("conv1", "conv1_bn", "conv1_relu"),
        *("conv2_pad", "conv2", "conv2_bn", "conv2_relu"),
        *("conv3", "conv3_bn", "shortcut", "shortcut_bn", "add", "out"),
    }
    assert names[1:7] == ["conv1_pad", "conv1", "conv1_bn", "conv1_relu", "pool1_pad", "pool1"]
    assert names[-2:] == ["avg_pool", "predictions"]


def test_projections_only_where_the_shape_changes() -> None:
    def projections(name: str) -> list[str]:
        names = [layer.name for layer in described(name, input_shape=(64, 64, 3)).layers]
        return [name for name in names if name.endswith("_shortcut")]

    assert projections("resnet18") == [f"stage{stage}_block1_shortcut" for stage in (2, 3, 4)]
    assert projections("resnet50") == [f"stage{stage}_block1_shortcut" for stage in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("stride_unit", "strided"),
    [
        ("last", ["stage1_block3", "stage2_block4", "stage3_block6"]),
        ("first", ["stage2_block1", "stage3_block1", "stage4_block1"]),
    ],
)
def test_units_of_v2_that_bear_the_stride(stride_unit: str, strided: list[str]) -> None:
    model = described("resnet50_v2", stride_unit=stride_unit)
    convs = [layer for layer in model.layers if layer.name.endswith("conv2")]
    assert [conv.name.removesuffix("_conv2") for conv in convs if conv.strides == (2, 2)] == strided
    # The features keep their strides in both forms.
    for part in get_spec("resnet50_v2").features.values():
        assert model.get_layer(part.layer).output.shape[1:] == part.shape


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("resnet50", {"stride_in": "2x2"}, r"^stride_in must be '3x3' or '1x1'; got '2x2'\.$"),
        ("resnet50_v2", {"stride_unit": "middle"}, r"^stride_unit must be 'last' or 'first'; got 'middle'\.$"),
    ],
)
def test_unknown_variants(name: str, option: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        described(name, **option)


def zero_gammas(model: Any) -> set[str]:
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return {norm.name for norm in norms if is_zero(norm.gamma_initializer)}


def is_zero(initializer: Any) -> bool:
    return not np.any(initializer((4,)))


def test_zero_init_is_of_the_last_scale_of_each_branch() -> None:
    units = [f"stage{stage}_block{block}" for stage in (1, 2, 3, 4) for block in (1, 2)]
    zero = described("resnet18")
    assert zero_gammas(zero) == {f"{unit}_conv2_bn" for unit in units}
    one = described("resnet18", zero_init_residual=False)
    assert zero_gammas(one) == set()


@pytest.mark.parametrize("zero_init", [True, False])
def test_zero_init_of_v2_is_of_the_last_kernel_of_each_branch(zero_init: bool) -> None:
    model = described("resnet50_v2", zero_init_residual=zero_init)
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    zero = {conv.name for conv in convs if is_zero(conv.kernel_initializer)}
    assert zero == ({conv.name for conv in convs if conv.name.endswith("_conv3")} if zero_init else set())


def test_other_options_reach_the_layers() -> None:
    model = described("resnet34", use_bias=True, classifier_activation=None)
    assert model.get_layer("predictions").activation is keras.activations.linear
    assert model.get_layer("conv1").use_bias
    assert (model.get_layer("conv1_bn").momentum, model.get_layer("conv1_bn").epsilon) == (0.9, 1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet50_v2"])
def test_builders_bear_their_names_and_docstrings(name: str) -> None:
    build = get_spec(name).build
    assert build.__name__ == name
    assert (build.__doc__ or "").startswith("Build")


def test_declaring_does_not_import_keras() -> None:
    code = "import sys, cnnreg_resnet; print({'keras', 'tensorflow'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
