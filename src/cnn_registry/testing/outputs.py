"""Checks of what a network computes in inference."""

from __future__ import annotations

import numpy as np

from cnn_registry import backend

from .outcome import failed
from .subject import SMALL_CLASSES, Subject

CLOSE = 1e-5
"""How far two computations of the same probability may lie apart."""


def check_probabilities(subject: Subject) -> None:
    """The outputs are finite, and each image's sum to one."""
    outputs = subject.outputs
    if outputs.shape != (len(subject.images), SMALL_CLASSES):
        raise failed(
            f"outputs of shape {(len(subject.images), SMALL_CLASSES)}", str(outputs.shape), "One row an image."
        )
    refuse_not_finite(outputs, "outputs")
    sums = outputs.sum(axis=1)
    if outputs.min() < 0 or np.abs(sums - 1).max() > CLOSE:
        raise failed(
            "probabilities that sum to one",
            f"values from {outputs.min():.4g} to {outputs.max():.4g}, sums from {sums.min():.4g} to {sums.max():.4g}",
            "The default form must end in softmax: training, evaluate and predict read its outputs as probabilities.",
        )


def refuse_not_finite(outputs: np.ndarray, what: str) -> None:
    """Raise where ``outputs`` hold a NaN or an infinite number."""
    bad = outputs[~np.isfinite(outputs)]
    if bad.size:
        raise failed(
            f"finite {what}",
            f"{bad.size} of {outputs.size} that are NaN or infinite",
            "Look for divisions by zero, for logarithms and powers of zero, and for sums without a normalisation.",
        )


def check_rows(subject: Subject) -> None:
    """What the network says of an image depends on that image, and on no other of its batch."""
    together = subject.outputs
    alone = np.concatenate([subject.infer(subject.model, subject.images[i : i + 1]) for i in range(3)])
    apart = float(np.abs(alone - together[:3]).max())
    if not apart <= CLOSE:
        raise failed(
            f"the same outputs for an image alone and in a batch, to {CLOSE:g}",
            f"a difference of {apart:.3g}",
            "In inference no layer may mix images: normalise with moving statistics, reduce over no axis 0.",
        )
    if np.array_equal(together[0], together[-1]):
        raise failed(
            "different outputs for different images",
            "the same",
            "The outputs do not depend on the input; look for a dead activation or a branch that is not connected.",
        )


def check_seed(subject: Subject) -> None:
    """The same seed gives the same weights and the same outputs."""
    first, second = subject.model, subject.build()
    for one, other in zip(first.weights, second.weights, strict=True):
        if not np.array_equal(np.asarray(one), np.asarray(other)):
            raise failed(
                "the same weights in two builds after keras.utils.set_random_seed",
                f"other values in {one.path}",
                "Draw initial values with Keras' initializers, or with a generator of a fixed seed.",
            )
    apart = float(np.abs(subject.infer(second, subject.images) - subject.outputs).max())
    if not apart <= CLOSE:
        raise failed(
            "the same outputs of two builds with the same weights",
            f"a difference of {apart:.3g}",
            "Inference must draw nothing at random; is a dropout active in it?",
        )


def check_mixed_float16(subject: Subject) -> None:
    """It stays finite under the policy mixed_float16."""
    _stay_finite(subject, "mixed_float16", "float16 ends at 65504 and near zero at 6e-8")


def check_mixed_bfloat16(subject: Subject) -> None:
    """It stays finite under the policy mixed_bfloat16."""
    _stay_finite(subject, "mixed_bfloat16", "bfloat16 has 8 bits of precision, so that 1 + 0.003 is 1")


def _stay_finite(subject: Subject, policy: str, why: str) -> None:
    keras = backend.keras()
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
