"""A schedule, a loss and metrics that Keras does not have.

Importing this module imports Keras, and registers them under their names, so that a ``.keras`` file that was written
during training and has one of them inside can be loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_registry import backend

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


@keras.saving.register_keras_serializable(package="cnn_registry")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras ships no type information
    """A linear rise from zero to the first rate of a schedule, which then begins.

    Args:
        schedule: what follows, counted from the end of the rise.
        steps: of the rise.
    """

    def __init__(self, schedule: Any, steps: int) -> None:
        self.schedule, self.steps = schedule, steps

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        done = keras.ops.cast(step, "float32")
        follows = keras.ops.cast(self.schedule(keras.ops.maximum(done - self.steps, 0.0)), "float32")
        return follows * keras.ops.minimum(done / self.steps, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """The schedule of a configuration."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["steps"])


@keras.saving.register_keras_serializable(package="cnn_registry")
class Poly1CrossEntropy(keras.losses.Loss):  # type: ignore[misc]  # as above
    """Cross-entropy plus ``epsilon`` times the probability that is not given to the true class.

    Leng et al. 2022 (https://arxiv.org/abs/2204.12511), equation 6.

    Args:
        epsilon: weight of the first term of the cross-entropy's polynomial; 0 for the cross-entropy itself.
        label_smoothing: share of the target spread evenly over all classes.
        name: of the loss.
        **options: further arguments of Keras' losses.
    """

    def __init__(
        self, epsilon: float = 1.0, label_smoothing: float = 0.0, name: str = "poly1_cross_entropy", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        self.epsilon, self.label_smoothing = epsilon, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, ``(batch,)``, for one-hot labels and probabilities ``(batch, num_classes)``."""
        ops = keras.ops
        y_true = ops.cast(y_true, y_pred.dtype)
        if self.label_smoothing:
            y_true = y_true * (1.0 - self.label_smoothing) + self.label_smoothing / y_true.shape[-1]
        missing = 1.0 - ops.sum(y_true * y_pred, axis=-1)
        return keras.losses.categorical_crossentropy(y_true, y_pred) + self.epsilon * missing

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        return {**super().get_config(), "epsilon": self.epsilon, "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="cnn_registry")
class ExactMatch(keras.metrics.Mean):  # type: ignore[misc]  # as above
    """The share of images of which each label is right, at a probability of 0.5: the subset accuracy.

    A label of a mixed image counts as there if more than half of the image has it.
    """

    def __init__(self, name: str = "exact_match", **options: Any) -> None:
        super().__init__(name=name, **options)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of labels and probabilities, both ``(batch, num_classes)``."""
        ops = keras.ops
        right = ops.all(ops.equal(y_true > 0.5, y_pred >= 0.5), axis=-1)
        super().update_state(ops.cast(right, self.dtype), sample_weight)


class _ByClass(keras.metrics.Metric):  # type: ignore[misc]  # as above
    """A metric of how many images of each class there are, how many are predicted as it, and how many rightly.

    A mixed image counts for the class that has the larger part of it. Classes without images do not count.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name=name, **options)
        self.counts: Any = None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch of one-hot labels and probabilities, both ``(batch, num_classes)``."""
        ops, classes = keras.ops, y_pred.shape[-1]
        if self.counts is None:
            self.counts = self.add_variable((3, classes), "zeros", dtype="float32", name="counts")
        true, predicted = (ops.one_hot(ops.argmax(values, axis=-1), classes) for values in (y_true, y_pred))
        found = [ops.sum(values, axis=0) for values in (true * predicted, true, predicted)]
        self.counts.assign_add(ops.cast(ops.stack(found), "float32"))

    def result(self) -> Any:
        """The mean of all classes that have images."""
        if self.counts is None:
            return keras.ops.zeros(())
        right, true, predicted = (self.counts[row] for row in range(3))
        known = keras.ops.cast(true > 0, "float32")
        each = known * self.of_class(right, true, predicted)
        return keras.ops.sum(each) / keras.ops.maximum(keras.ops.sum(known), 1.0)

    def of_class(self, right: Any, true: Any, predicted: Any) -> Any:
        """What is measured of each class, from its counts, ``(num_classes,)`` each."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="cnn_registry")
class BalancedAccuracy(_ByClass):
    """The mean of the recalls of all classes, as reports give it."""

    def __init__(self, name: str = "balanced_accuracy", **options: Any) -> None:
        super().__init__(name, **options)

    def of_class(self, right: Any, true: Any, predicted: Any) -> Any:
        """The recall."""
        return right / keras.ops.maximum(true, 1.0)


@keras.saving.register_keras_serializable(package="cnn_registry")
class MacroF1(_ByClass):
    """The mean of the F1 of all classes, as reports give it."""

    def __init__(self, name: str = "macro_f1", **options: Any) -> None:
        super().__init__(name, **options)

    def of_class(self, right: Any, true: Any, predicted: Any) -> Any:
        """The F1."""
        return 2.0 * right / keras.ops.maximum(true + predicted, 1.0)
