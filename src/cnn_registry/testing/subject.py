"""A model under examination: its networks in several forms, each built once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnn_registry import backend
from cnn_registry.data.form import in_proportion
from cnn_registry.networks.build import build_graph, build_model
from cnn_registry.registry.catalogue import SESSION
from cnn_registry.registry.spec import ModelSpec

from .fresh_import import FreshImport, fresh_import
from .outcome import Causes, CheckFailed, failed
from .processes import Answer, ask

if TYPE_CHECKING:
    import keras

Floats = NDArray[np.float32]
Measured = TypeVar("Measured")

SEED = 0
SMALL_EDGES = 32, 64
"""Pixels at which networks are run. At the fewer, a stride of 16 leaves a map of two pixels; at the more, one of 32."""

SMALL_CLASSES = 4
IMAGES_PER_CLASS = 4

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class Subject:
    """A model under examination.

    Args:
        spec: the model's spec.

    Attributes:
        name: the name under which ``create_model`` builds exactly this model, whatever else has its name.
        causes: what keeps several checks from running.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.name = f"{spec.provider.distribution or SESSION}:{spec.name}"
        self.causes = Causes()
        self._graphs: dict[object, keras.Model] = {}
        self._answers: dict[str, Answer] = {}
        self._measured: dict[Callable[[Subject], Any], Any] = {}

    @cached_property
    def small_shape(self) -> tuple[int, int, int]:
        """The input shape at which networks are run: small, but accepted by the model, and no feature is one pixel."""
        height, width, channels = self.spec.input_shape
        smallest_map = min((feature.shape[0] for feature in self.spec.features.values()), default=0)
        few, more = SMALL_EDGES
        edge = few if smallest_map * few >= 2 * height else more
        least = min(max(self.spec.min_size, edge), height, width)
        return (*in_proportion(least, height, width), channels)

    def graph(
        self, input_shape: tuple[int, int, int] | None = None, num_classes: int = 1000, **options: Any
    ) -> keras.Model:
        """The network without the memory and the time that weights take.

        Raises:
            CheckFailed, CheckSkipped: it does not even build in its default form.
        """
        shape = input_shape or self.spec.input_shape
        key = (shape, num_classes, tuple((name, repr(value)) for name, value in options.items()))
        if key not in self._graphs:
            self._graphs[key] = self.new_graph(shape, num_classes, **options)
        return self._graphs[key]

    def new_graph(self, input_shape: tuple[int, int, int], num_classes: int, **options: Any) -> keras.Model:
        """The same as `graph`, built once more."""
        if isinstance(self._default, CheckFailed):
            raise self.causes.meet("it does not build", self._default)
        return self._new_graph(input_shape, num_classes, **options)

    @cached_property
    def _default(self) -> keras.Model | CheckFailed:
        """The graph in the default form, or why there is none."""
        try:
            return self._new_graph(self.spec.input_shape, 1000)
        except Exception as error:  # the plugin's code, in whatever way it fails
            came = str(error)
            return failed("that it builds in its default form", came, "The other checks need a network.")

    def _new_graph(self, input_shape: tuple[int, int, int], num_classes: int, **options: Any) -> keras.Model:
        return build_graph(self.spec, input_shape=input_shape, num_classes=num_classes, **options)

    def build(self, options: Mapping[str, Any] = NO_OPTIONS, seed: int = SEED) -> keras.Model:
        """The network at the small size, with weights from a fixed seed.

        Raises:
            CheckFailed, CheckSkipped: it does not even build in its default form.
        """
        self.graph()
        backend.keras().utils.set_random_seed(seed)
        return build_model(self.spec, input_shape=self.small_shape, num_classes=SMALL_CLASSES, **options)

    @cached_property
    def model(self) -> keras.Model:
        """What `build` returns in the default form, for checks that do not change its weights."""
        return self.build()

    @cached_property
    def labels(self) -> Floats:
        """One-hot, ``(images, classes)``, the same number for each class."""
        return np.eye(SMALL_CLASSES, dtype=np.float32).repeat(IMAGES_PER_CLASS, axis=0)

    @cached_property
    def images(self) -> Floats:
        """One image for each label, values from -1 to 1: a coarse pattern, half of it the class's, and some noise."""
        height, width, channels = self.small_shape
        random = np.random.default_rng(SEED)
        of_class = random.uniform(-0.9, 0.9, (SMALL_CLASSES, 4, 4, channels)).repeat(IMAGES_PER_CLASS, axis=0)
        coarse = (of_class + random.uniform(-0.9, 0.9, of_class.shape)) / 2
        rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
        patterns = coarse[:, rows][:, :, columns]
        return (patterns + random.uniform(-0.1, 0.1, patterns.shape)).astype(np.float32)

    @cached_property
    def outputs(self) -> Floats:
        """The outputs of `model` for `images` in inference."""
        return self.infer(self.model, self.images)

    @staticmethod
    def infer(model: keras.Model, images: Floats) -> Floats:
        """The one output for ``images`` in inference, as float32."""
        output_of(model)
        outputs = backend.keras().ops.convert_to_numpy(model(images, training=False))
        return np.asarray(outputs, np.float32)

    def once(self, measure: Callable[[Subject], Measured]) -> Measured:
        """What ``measure`` finds in this subject, measured at the first request."""
        if measure not in self._measured:
            self._measured[measure] = measure(self)
        found: Measured = self._measured[measure]
        return found

    def elsewhere(self, backend_name: str) -> Answer:
        """What another process computes from the saved `model`, with Keras on that backend.

        Another backend reads only the weights: nothing in a .keras file depends on the backend.
        """
        if backend_name not in self._answers:
            self._answers[backend_name] = ask(
                backend_name,
                self.model,
                self.images,
                keras_file=backend_name == backend.keras().backend.backend(),
                module=self.spec.build.__module__,
                name=self.name,
                input_shape=self.small_shape,
                num_classes=SMALL_CLASSES,
            )
        return self._answers[backend_name]

    @cached_property
    def imported(self) -> FreshImport:
        """What happens when a new process imports the declaring module."""
        return fresh_import(self.spec.build.__module__, ("cnn_registry.registry.models", "get_spec"), self.name)


def output_of(model: keras.Model) -> keras.KerasTensor:
    """The symbolic output of a model that has exactly one.

    Raises:
        CheckFailed: it has several, or does not know them.
    """
    output = getattr(model, "output", None)
    if output is None or isinstance(output, dict | list | tuple):
        came = "none" if output is None else f"a {type(output).__name__} of {len(output)}"
        raise failed(
            "a functional or sequential model with one output",
            came,
            "Return keras.Model(inputs, outputs) with a single tensor; auxiliary outputs are only for aux_heads=True.",
        )
    return output


def layers_of(model: Any) -> Iterator[Any]:
    """All layers except the inputs, also those of nested models."""
    for layer in model.layers:
        if not isinstance(layer, backend.keras().layers.InputLayer):
            yield layer
        if hasattr(layer, "layers"):
            yield from layers_of(layer)
