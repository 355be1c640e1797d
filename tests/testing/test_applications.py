"""The kit judges popular networks rightly: the classifiers of ``keras.applications`` pass, with random weights.

All checks of all of them take an hour on two cores. So those of few layers run the checks of their numbers, and the
others, most of which repeat the same blocks more often or wider, run those of one graph. One network of each kind is a
test of ``make test``; ``make test-applications`` runs them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cnn_registry import backend
from cnn_registry.testing import check_model

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

SOURCE = '''
import cnn_registry

@cnn_registry.register_model(
    family="applications", summary="A network of keras.applications", input_shape=(96, 96, 3), min_size={min_size},
    paper=cnn_registry.Paper(title="Networks", authors="Doe", year=2020, url="https://example.org"),
    trainable_params=1,
)
def {name}(input_shape, num_classes):
    """The network of that name, with random weights."""
    import keras

    network = keras.applications.{constructor}(
        weights=None, input_shape=input_shape, classes=num_classes, **{options!r}
    )
    return keras.Model(network.input, network.output, name="{name}")
'''


class Application(NamedTuple):
    """A constructor of ``keras.applications``.

    Attributes:
        constructor: its name.
        min_size: the edge length of the smallest images that it accepts.
        options: its further arguments.
        is_named: whether each of its layers with weights has a name of its own.
    """

    constructor: str
    min_size: int = 32
    options: dict[str, Any] = {}  # noqa: RUF012  (nobody changes it)
    is_named: bool = True

    def failures(self, plugins: FakePlugins, *checks: str) -> dict[str, str]:
        """Install it as a plugin and run checks; the messages of those that fail."""
        name = self.constructor.lower()
        source, module = SOURCE.format(name=name, **self._asdict()), f"kit_{name}"
        plugins.install(f"kit-{name}", source=source, entries={name: f"{module}:{name}"})
        results = check_model(name, on_fail=None, only=checks)
        assert {result.outcome for result in results} <= {"passed", "failed"}
        return {result.check: result.message for result in results if result.outcome == "failed"}


NOT_RESCALED = {"include_preprocessing": False}
"""The rescaling in these networks accepts only images with three channels."""

FEW_LAYERS = [
    Application("EfficientNetB0", is_named=False),
    Application("EfficientNetV2B0", options=NOT_RESCALED),
    Application("InceptionV3", 75, is_named=False),
    Application("MobileNet"),
    Application("MobileNetV2"),
    Application("MobileNetV3Small", options=NOT_RESCALED),
    Application("ResNet50"),
    Application("ResNet50V2"),
    Application("Xception", 71, is_named=False),
]
OWN_BLOCKS = ("EfficientNetB0", "MobileNetV2")
"""The networks whose blocks, rescaling, activations or normalizations the kit does not meet in the others."""

OTHERS = [
    *(Application(f"ConvNeXt{size}", options=NOT_RESCALED) for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
    *(Application(f"DenseNet{depth}") for depth in (121, 169, 201)),
    *(Application(f"EfficientNetB{number}") for number in range(1, 8)),
    *(Application(f"EfficientNetV2{size}", options=NOT_RESCALED) for size in ("B1", "B2", "B3", "S", "M", "L")),
    Application("InceptionResNetV2", 75),
    Application("MobileNetV3Large", options=NOT_RESCALED),
    *(Application(f"NASNet{size}") for size in ("Mobile", "Large")),
    *(Application(f"ResNet{depth}{version}") for depth in (101, 152) for version in ("", "V2")),
    *(Application(f"VGG{depth}") for depth in (16, 19)),
]
OWN_GRAPHS = ("ConvNeXtTiny", "DenseNet121", "NASNetMobile")
"""The smallest network of each kind that has blocks of its own."""


def chosen(applications: list[Application], constructors: tuple[str, ...]) -> list[Any]:
    """A parameter for each; those that are not of ``constructors`` are left to ``make test-applications``."""
    return [
        pytest.param(
            application,
            id=application.constructor,
            marks=() if application.constructor in constructors else pytest.mark.applications,
        )
        for application in applications
    ]


def test_every_classifier_is_in_the_table() -> None:
    applications = backend.keras().applications
    names = {name for name in dir(applications) if name[0].isupper() and callable(getattr(applications, name))}
    assert {application.constructor for application in FEW_LAYERS + OTHERS} == names


@pytest.mark.slow
@pytest.mark.parametrize("application", chosen(FEW_LAYERS, OWN_BLOCKS))
def test_networks_of_few_layers_pass_the_checks_of_their_numbers(
    plugins: FakePlugins, application: Application
) -> None:
    """MobileNetV2 is one whose signal shrinks before training."""
    numbers = ("probabilities", "rows", "gradients", "gradient-norm")
    failures = application.failures(plugins, "builds", "smallest", "names", *numbers)
    # Its author has to name these layers; Keras' own network leaves that to the order in which networks are built.
    assert list(failures) == ([] if application.is_named else ["names"])


@pytest.mark.slow
@pytest.mark.parametrize("application", chosen(OTHERS, OWN_GRAPHS))
def test_the_others_pass_the_checks_of_a_graph(plugins: FakePlugins, application: Application) -> None:
    assert application.failures(plugins, "builds", "no-lambda", "no-tensorflow") == {}


@pytest.mark.applications
def test_a_popular_network_learns(plugins: FakePlugins) -> None:
    assert Application("MobileNetV2").failures(plugins, "learns") == {}


SQUEEZENET = '''
import cnn_registry

@cnn_registry.register_model(
    family="squeezenet", summary="SqueezeNet 1.0 as published: a ReLU also after the last convolution",
    input_shape=(96, 96, 3), min_size=21, trainable_params=1_248_424,
    paper=cnn_registry.Paper(title="SqueezeNet", authors="Iandola", year=2016, url="https://arxiv.org/abs/1602.07360"),
    features={"stride16": cnn_registry.Feature("fire9", (6, 6, 512))},
)
def squeezenet(input_shape, num_classes, *, dropout=0.5):
    """Fire modules between convolutions, average pooling, and no dense layer."""
    import keras
    from keras import layers

    def convolution(x, filters, size, name, **options):
        return layers.Conv2D(filters, size, activation="relu", name=name, **options)(x)

    def fire(x, number, squeeze, expand):
        name = f"fire{number}"
        x = convolution(x, squeeze, 1, f"{name}_squeeze")
        small = convolution(x, expand, 1, f"{name}_expand1")
        large = convolution(x, expand, 3, f"{name}_expand3", padding="same")
        return layers.Concatenate(name=name)([small, large])

    inputs = keras.Input(input_shape)
    x = convolution(inputs, 96, 7, "conv1", strides=2)
    for number, squeeze in enumerate([16, 16, 32, 32, 48, 48, 64, 64], 2):
        if number in (2, 5, 9):
            x = layers.MaxPooling2D(3, 2, padding="same", name=f"pool{number}")(x)
        x = fire(x, number, squeeze, 4 * squeeze)
    x = layers.Dropout(dropout, name="dropout")(x)
    small = keras.initializers.RandomNormal(0, 0.01)
    x = convolution(x, num_classes, 1, "conv10", kernel_initializer=small)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return keras.Model(inputs, layers.Softmax(name="softmax")(x), name="squeezenet")
'''


@pytest.mark.slow
def test_a_network_whose_classes_can_die_at_the_start_passes(plugins: FakePlugins) -> None:
    plugins.install("kit-squeezenet", source=SQUEEZENET, entries={"squeezenet": "kit_squeezenet:squeezenet"})
    results = check_model("squeezenet", on_fail=None, only=["rows", "gradients", "learns"])
    assert [(result.outcome, result.message) for result in results] == [("passed", "")] * 3
