"""From a recipe's settings to a Keras loss, and to metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.errors import UsageError
from cnn_registry.recipes.schema import BestBy, LossSettings
from cnn_registry.system.objects import Reference, called, named_object, takes
from cnn_registry.text import one_line, snake_case, suggestion

if TYPE_CHECKING:
    import keras

TAKEN = ("loss", "accuracy")
"""Names of what is measured in every training."""


def build_loss(settings: LossSettings, label_smoothing: float) -> keras.losses.Loss:
    """Keras' loss of one-hot labels and probabilities.

    Raises:
        UsageError: there is no such object, or it does not make a loss.
    """
    losses: Any = backend.keras().losses
    match settings.name:
        case "cross_entropy":
            return losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
        case "focal":
            # Keras' alpha weighs a class against the background, which there is none of here.
            return losses.CategoricalFocalCrossentropy(1.0, settings.gamma, label_smoothing=label_smoothing)
        case "binary_cross_entropy":
            return losses.BinaryCrossentropy(label_smoothing=label_smoothing)
        case "poly1":
            from .keras_objects import Poly1CrossEntropy

            return Poly1CrossEntropy(settings.epsilon, label_smoothing)
    maker = named_object(settings.name, "the loss")
    smoothing = {}
    if label_smoothing:
        if not takes(maker, "label_smoothing"):
            raise UsageError(f"{settings.name} takes no label_smoothing; set label_smoothing=0.")
        smoothing = {"label_smoothing": label_smoothing}
    made = called(maker, "The loss", **smoothing, **settings.options)
    if not isinstance(made, losses.Loss):
        raise UsageError(f"{settings.name} must make a keras.losses.Loss; it made {type(made).__name__}.")
    return made


def build_metrics(
    listed: Sequence[str], best_by: BestBy = "val_loss", *, multi_label: bool = False
) -> list[keras.metrics.Metric]:
    """The accuracy, the metrics that a recipe lists, and the one by which it chooses the best epoch.

    Where an image may show several classes, the accuracy is the share of images of which all labels are right.

    Raises:
        UsageError: there is no such metric, it does not make one, or two have one name.
    """
    metrics: Any = backend.keras().metrics
    made = [_accuracy(multi_label)]
    for text in listed:
        reference = Reference.parse(text)
        maker = named_object(reference.name, "the metric") if reference.is_path else _metric_class(reference.name)
        options = dict(reference.options)
        if isinstance(maker, type) and takes(maker, "name"):
            # Keras would number the default, from one training of a process to the next.
            options.setdefault("name", snake_case(maker.__name__))
        metric = called(maker, "The metric", **options)
        if not isinstance(metric, metrics.Metric):
            raise UsageError(f"{reference.name} must make a keras.metrics.Metric; it made {type(metric).__name__}.")
        if metric.name in (*TAKEN, *(other.name for other in made)):
            raise UsageError(f"Two metrics are called {metric.name!r}; give one another name: {text},name=NAME.")
        made.append(metric)
    if best_by in ("balanced_accuracy", "macro_f1"):
        from .keras_objects import BalancedAccuracy, MacroF1

        if best_by in (metric.name for metric in made):
            raise UsageError(f"best_by = {best_by} measures {best_by!r} itself; remove it from metrics, or rename it.")
        made.append(BalancedAccuracy() if best_by == "balanced_accuracy" else MacroF1())
    return made


def _accuracy(multi_label: bool) -> keras.metrics.Metric:
    if multi_label:
        from .keras_objects import ExactMatch

        return ExactMatch("accuracy")
    return backend.keras().metrics.CategoricalAccuracy(name="accuracy")


def _metric_class(name: str) -> Any:
    """A metric of Keras by the name of its class in any case.

    Raises:
        UsageError: there is none.
    """
    metrics: Any = backend.keras().metrics
    kinds = [kind for kind in vars(metrics).values() if isinstance(kind, type) and issubclass(kind, metrics.Metric)]
    known = {kind.__name__.lower(): kind for kind in kinds}
    wanted = name.lower().replace("_", "")
    if wanted not in known:
        hint = suggestion(name, (kind.__name__ for kind in kinds))
        raise UsageError(f"Keras has no metric {name!r}.{hint} Others are written module:object.")
    return known[wanted]


def check_on_sample(loss: keras.losses.Loss, metrics: Sequence[keras.metrics.Metric], num_classes: int) -> None:
    """Try the loss and the metrics on two images, before anything is written.

    Raises:
        UsageError: one of them does not take one-hot labels and probabilities, or the loss is not finite.
    """
    ops = backend.keras().ops
    labels, outputs = ops.one_hot([0, num_classes - 1], num_classes), ops.ones((2, num_classes)) / num_classes
    forms = f"one-hot labels and probabilities of shape (2, {num_classes})"
    value = _tried("The loss", forms, loss, labels, outputs)
    if not bool(ops.all(ops.isfinite(value))):
        raise UsageError(f"The loss is not finite for {forms}.")
    for metric in metrics[1:]:
        _tried(f"The metric {metric.name!r}", forms, metric.update_state, labels, outputs)
        metric.reset_state()


def _tried(what: str, forms: str, function: Any, *arrays: Any) -> Any:
    try:
        return function(*arrays)
    except Exception as error:  # anything that a user's object may raise
        raise UsageError(f"{what} cannot be computed for {forms}: {one_line(error)}.") from error
