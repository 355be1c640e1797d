"""Checks of what a network computes in inference."""

from __future__ import annotations

import numpy as np

from cnn_registry import backend

from .outcome import CheckFailed, failed
from .subject import SMALL_CLASSES, Floats, Subject

CLOSE = 1e-5
"""The largest difference between two computations of the same probability."""


def check_probabilities(subject: Subject) -> None:
    """The outputs are finite, and those of each image sum to one."""
    require_probabilities(subject)


def require_probabilities(subject: Subject) -> None:
    """Raise if the outputs are not probabilities; only the first check that needs them fails."""
    outputs = finite_outputs(subject)
    if outputs.shape != (len(subject.images), SMALL_CLASSES):
        raise failed(
            f"outputs of shape {(len(subject.images), SMALL_CLASSES)}", str(outputs.shape), "One row per image."
        )
    sums = outputs.sum(axis=1)
    if outputs.min() < 0 or np.abs(sums - 1).max() > CLOSE:
        failure = failed(
            "probabilities that sum to one",
            f"values from {outputs.min():.4g} to {outputs.max():.4g}, sums from {sums.min():.4g} to {sums.max():.4g}",
            "The default form must end in softmax: training, evaluate and predict read its outputs as probabilities.",
        )
        raise subject.causes.meet("its outputs are not probabilities", failure)


def finite_outputs(subject: Subject) -> Floats:
    """The outputs for the subject's images; only the first check that finds a NaN or an infinity there fails."""
    if failure := not_finite(subject.outputs, "outputs"):
        raise subject.causes.meet("its outputs are not finite", failure)
    return subject.outputs


def not_finite(values: np.ndarray, what: str) -> CheckFailed | None:
    """The failure if ``values`` contain a NaN or an infinity."""
    bad = np.count_nonzero(~np.isfinite(values))
    if not bad:
        return None
    return failed(
        f"finite {what}",
        f"{bad} of {values.size} that are NaN or infinite",
        "Look for divisions by zero, for logarithms and powers of zero, and for sums without a normalisation.",
    )


def check_rows(subject: Subject) -> None:
    """The outputs for an image depend on that image, and on no other image in the batch."""
    together = finite_outputs(subject)
    alone = np.concatenate([subject.infer(subject.model, subject.images[i : i + 1]) for i in range(3)])
    apart = float(np.abs(alone - together[:3]).max())
    if not apart <= CLOSE:
        raise failed(
            f"the same outputs for an image alone and in a batch, to {CLOSE:g}",
            f"a difference of {apart:.3g}",
            "In inference no layer may mix images: normalize with moving statistics, and never reduce over axis 0.",
        )
    require_connection(subject)


def require_connection(subject: Subject) -> None:
    """Raise if the outputs do not depend on the images; only the first check that needs it fails.

    Before any training, many layers without normalization let the signal shrink until softmax rounds it away. The
    gradient in training, where each batch is normalized, shows whether the network is connected.
    """
    from .gradients import depends_on_images

    outputs = finite_outputs(subject)
    if np.array_equal(outputs[0], outputs[-1]) and not subject.once(depends_on_images):
        failure = failed(
            "different outputs for different images",
            "the same, and no gradient with respect to the images",
            "The outputs do not depend on the input; look for a dead activation or a branch that is not connected.",
        )
        raise subject.causes.meet("its outputs do not depend on the images", failure)


def check_seed(subject: Subject) -> None:
    """The same seed gives the same weights and the same outputs."""
    outputs, first, second = finite_outputs(subject), subject.model, subject.build()
    for one, other in zip(first.weights, second.weights, strict=True):
        if not np.array_equal(np.asarray(one), np.asarray(other)):
            raise failed(
                "the same weights in two builds after keras.utils.set_random_seed",
                f"different values in {one.path}",
                "Draw initial values with Keras' initializers, or with a generator that has a fixed seed.",
            )
    apart = float(np.abs(subject.infer(second, subject.images) - outputs).max())
    if not apart <= CLOSE:
        raise failed(
            "the same outputs from two builds with the same weights",
            f"a difference of {apart:.3g}",
            "Inference must not be random; is a dropout layer active in it?",
        )


def check_mixed_float16(subject: Subject) -> None:
    """The outputs stay finite under the policy mixed_float16."""
    _stay_finite(subject, "mixed_float16", "float16 ends at 65504 and near zero at 6e-8")


def check_mixed_bfloat16(subject: Subject) -> None:
    """The outputs stay finite under the policy mixed_bfloat16."""
    _stay_finite(subject, "mixed_bfloat16", "bfloat16 has 8 bits of precision, so that 1 + 0.003 is 1")


def _stay_finite(subject: Subject, policy: str, why: str) -> None:
    keras = backend.keras()
    finite_outputs(subject)
    with backend.standard_settings(policy):
        model = subject.build()
        outputs = [model(subject.images, training=training) for training in (False, True)]
    values = np.stack([np.asarray(keras.ops.convert_to_numpy(output), np.float32) for output in outputs])
    if not np.isfinite(values).all():
        raise failed(
            f"finite outputs under {policy}",
            f"{np.count_nonzero(~np.isfinite(values))} of {values.size} that are not",
            f"{why}: rescale, or give the layer that overflows or divides dtype='float32'.",
        )
