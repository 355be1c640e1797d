"""A trained network with everything that its pictures need: their form, their scaling, and the names of its classes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cnn_registry import backend
from cnn_registry.data.dataset import Bytes
from cnn_registry.data.form import IN_WORDS, Form
from cnn_registry.data.pipeline.batches import scale
from cnn_registry.data.sources.unreadable import OnBadImage
from cnn_registry.errors import BadImageError, DownloadError, RunError, UsageError, WeightsError
from cnn_registry.networks.build import build_model
from cnn_registry.networks.folding import fold_batch_norm
from cnn_registry.networks.graph import main_network
from cnn_registry.networks.mirrored import with_mirrored
from cnn_registry.networks.weights.foreign import named_function
from cnn_registry.networks.weights.source import find_source
from cnn_registry.registry.models import get_spec
from cnn_registry.registry.spec import Pixels, Pretrained
from cnn_registry.runs.run import Run
from cnn_registry.system.isolation import isolated
from cnn_registry.system.progress import working
from cnn_registry.text import one_line

from .model import Weights, load_model, refuse_not_finite
from .pictures import Picture, decoded_batches

if TYPE_CHECKING:
    import keras


Runtime = Literal["keras", "onnx"]
"""What computes the outputs: Keras, or ONNX Runtime, to which the networks are converted when they are loaded."""


class Predictor:
    """Gives the probabilities of pictures. Its networks are loaded when they are first used; several are averaged.

    Args:
        form: the form of its pictures; an integer stands for RGB squares.
        pixels: the form in which its networks take them.
        load: returns the networks, which take pictures in that form and have the same outputs.
        names: returns the classes in the order of the outputs.
        tta: average the probabilities of each picture and its mirror image.
        thresholds: see below.
        runtime: what computes the outputs.

    Attributes:
        form: the form of its pictures.
        pixels: the form in which its networks take them.
        thresholds: the probability from which each class counts as shown, where a picture may show several; else
            ``None``.
    """

    def __init__(
        self,
        form: int | Form,
        pixels: Pixels,
        load: Callable[[], Sequence[keras.Model]],
        names: Callable[[], Sequence[str]],
        *,
        tta: bool = False,
        thresholds: Sequence[float] | None = None,
        runtime: Runtime = "keras",
    ) -> None:
        self.form = Form.of(form)
        self.pixels = pixels
        self.thresholds = thresholds
        self._load, self._names, self._tta, self._runtime = load, names, tta, runtime
        self._lock = threading.Lock()

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the outputs."""
        return tuple(self._names())

    @cached_property
    def _outputs(self) -> Callable[[Bytes], np.ndarray]:
        shape = self.form.shape
        with backend.standard_settings():
            networks = [fold_batch_norm(network) for network in self._load()]
            if self._tta:
                networks = [with_mirrored(network, shape) for network in networks]
            return _computation(self._runtime)(networks, self.pixels, shape)

    def __call__(self, images: Bytes) -> np.ndarray:
        """Probabilities, float32 ``(N, num_classes)``, for uint8 ``(N, height, width, channels)``.

        Raises:
            WeightsError: one is NaN or infinite.
        """
        with self._lock, backend.standard_settings():
            outputs = self._outputs(images)
        refuse_not_finite(outputs)
        return outputs


def check_runtime(runtime: Runtime) -> None:
    """Refuse a runtime that is not installed.

    Raises:
        MissingPackageError, BackendError: it cannot be used here.
    """
    if runtime == "onnx":
        from cnn_registry.export.runtime import check_onnx

        check_onnx()


def _computation(runtime: Runtime) -> Callable[..., Callable[[Bytes], np.ndarray]]:
    """The function that makes one from images to outputs; see `traced` for its arguments."""
    if runtime == "keras":
        return traced
    from cnn_registry.export.runtime import onnx_outputs

    return onnx_outputs


def traced(networks: Sequence[keras.Model], pixels: Pixels, shape: tuple[int, int, int]) -> Callable[[Bytes], Any]:
    """The mean of the outputs of networks as a function of uint8 ``(N, *shape)``; any N is one graph.

    `keras.Model.predict_on_batch`, which other backends than TensorFlow use, traces again for each N.
    """
    keras = backend.keras()
    if keras.backend.backend() != "tensorflow":
        return lambda images: np.mean(
            [network.predict_on_batch(scale(images, pixels)) for network in networks], axis=0, dtype=np.float32
        )
    tf = backend.tensorflow()

    def mean(images: Any) -> Any:
        scaled = scale(tf.cast(images, tf.float32), pixels)
        outputs = [network(scaled, training=False) for network in networks]
        return outputs[0] if len(outputs) == 1 else tf.add_n(outputs) / len(outputs)

    function = tf.function(mean, autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec((None, *shape), tf.uint8))
    return lambda images: np.asarray(graph(tf.constant(images)), np.float32)


def run_predictor(
    run: Run, weights: str = "best", *, tta: bool = False, force: bool = False, runtime: Runtime = "keras"
) -> Predictor:
    """The predictor of a run; the same as before, with its network, while its weights have not changed.

    Args:
        run: the run.
        weights: ``"best"`` or ``"last"``.
        tta, force, runtime: as for `cnn_registry.predict`.

    Raises:
        UsageError: there are no such weights.
    """
    key = (weights, tta, force, runtime, _state(run, weights))
    found: Predictor | None = run.loaded.get(key)
    if found is None:
        found = runs_predictor([run], weights, tta=tta, force=force, runtime=runtime)
        run.loaded.clear()  # it would keep networks that nothing uses any more
        run.loaded[key] = found
    return found


def runs_predictor(
    runs: Sequence[Run],
    weights: str = "best",
    *,
    tta: bool = False,
    force: bool = False,
    runtime: Runtime = "keras",
) -> Predictor:
    """The mean of the models of runs on the same images, such as those of a cross-validation.

    Args:
        runs: one or more.
        weights, tta, force, runtime: as for `run_predictor`.

    Raises:
        UsageError: there are no such weights.
        RunError: the models do not take the same pictures, or do not have the same classes.
    """
    if weights not in ("best", "last"):
        raise UsageError(f"The weights of a run are 'best' or 'last'; got {weights!r}.")
    chosen: Weights = "best" if weights == "best" else "last"
    first, *others = [run.record for run in runs]
    form, pixels, names = first.form, first.recipe.pixels, first.data.class_names
    for run, record in zip(runs[1:], others, strict=True):
        if (record.form, record.recipe.pixels, record.data.class_names) != (form, pixels, names):
            raise RunError(
                f"{run.location} takes other pictures or has other classes than {runs[0].location}, so their "
                "mean is not known."
            )
    found = [run.record.thresholds for run in runs]
    thresholds = [fmean(of_class) for of_class in zip(*filter(None, found), strict=True)] if found[0] else None
    return Predictor(
        form,
        pixels,
        lambda: [load_model(run, chosen, force=force) for run in runs],
        lambda: names,
        tta=tta,
        thresholds=thresholds,
        runtime=runtime,
    )


def _state(run: Run, weights: str) -> tuple[int, int] | None:
    """What distinguishes a weights file from a later one."""
    try:
        facts = (run.best_weights if weights == "best" else run.last_weights).stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


def published_predictor(model: str, weights: str, *, tta: bool = False, runtime: Runtime = "keras") -> Predictor:
    """The predictor of a model with published weights, in the model's own shape.

    Args:
        model: the model's name.
        weights: weights that ``get_spec(model).weights`` names.
        tta, runtime: as for `cnn_registry.predict`.

    Raises:
        UnknownNameError: there is no such model.
        UsageError: it has no such weights, or they do not say which classes they have.
    """
    spec = get_spec(model)
    published = find_source(spec, weights).published if weights in spec.weights else None
    if published is None:
        known = f"It has {', '.join(spec.weights)}" if spec.weights else "It has none"
        raise UsageError(
            f"{spec.name} has no published weights {weights!r}. {known}; or name a run directory in place of the model."
        )
    form = Form(*spec.input_shape)
    if form.channels not in IN_WORDS:
        raise UsageError(
            f"{spec.name} takes {form.channels} channels; expected a model for grey, RGB or RGBA pictures."
        )
    if not published.classes:
        raise UsageError(f"The weights {weights} of {spec.name} do not say which classes they have.")

    def load() -> list[keras.Model]:
        with working(f"Building {spec.name} with {weights}"):
            network = build_model(spec, num_classes=published.num_classes, weights=weights)
        return [main_network(network)]

    return Predictor(form, published.pixels, load, lambda: published_class_names(published), tta=tta, runtime=runtime)


def published_class_names(published: Pretrained) -> list[str]:
    """The classes of published weights in their order. A name that two classes share is followed by its id.

    Raises:
        DownloadError: they could not be fetched.
        WeightsError: there is no such function, or they are not what it should return.
    """
    count = published.num_classes
    try:
        with isolated(f"Reading the classes of {published.origin}"):
            decoded = named_function(published.classes)(np.eye(count, dtype=np.float32), top=1)
    except WeightsError:
        raise
    except (Exception, SystemExit) as error:  # Keras raises a bare Exception when a download fails
        raise DownloadError(
            f"The classes of {published.origin} could not be had from {published.classes}: {one_line(error)}."
        ) from error
    try:
        pairs = [(str(ident), str(name)) for [(ident, name, *_)] in decoded]
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{published.classes} did not return an id and a name for each class.") from error
    names = [name for _, name in pairs]
    return [f"{name} ({ident})" if names.count(name) > 1 else name for ident, name in pairs]


def picture_outputs(
    predictor: Predictor, pictures: Iterable[Picture], *, on_bad_image: OnBadImage, max_pixels: int | None
) -> Iterator[tuple[Picture, np.ndarray | BadImageError]]:
    """Each picture with its row of the network's outputs, or why it cannot be read.

    The next pictures are decoded meanwhile.

    Args:
        predictor: the model; it is loaded at the first picture that can be read.
        pictures: in files or in memory; there may be any number.
        on_bad_image, max_pixels: as for `cnn_registry.predict`.

    Raises:
        BadImageError: a picture cannot be read, and ``on_bad_image`` is ``"error"``.
    """
    for batch in decoded_batches(pictures, predictor.form, max_pixels):
        if on_bad_image == "error" and (error := batch.first_error):
            raise error
        readable = batch.readable
        rows = iter(()) if readable is None else iter(predictor(readable))
        for picture, image in zip(batch.pictures, batch.images, strict=True):
            yield picture, image if isinstance(image, BadImageError) else next(rows)
