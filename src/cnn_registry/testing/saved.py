"""Checks of what another process makes of a saved network."""

from __future__ import annotations

import importlib.util

import numpy as np

from cnn_registry import backend

from .declared import NOT_IMPORTED, not_importable
from .outcome import CheckSkipped, failed
from .outputs import finite_outputs
from .processes import Answer
from .subject import Subject

CLOSE = 1e-5
"""The largest difference between the outputs of two processes on one backend."""

CLOSE_ON_ANOTHER = 1e-4
"""The largest difference where another library computes the convolutions."""

BACKENDS = ("jax", "tensorflow", "torch")


def check_keras_file(subject: Subject) -> None:
    """A .keras file is read in a new process, in safe mode, and gives the same outputs."""
    _compare(
        subject,
        _answer(subject, _running()),
        "keras",
        "the .keras file to be read in a new process",
        CLOSE,
        "Register each layer and function of your own with keras.saving.register_keras_serializable, and let "
        "get_config return all that __init__ takes.",
    )


def check_weights_file(subject: Subject) -> None:
    """A .weights.h5 file fits a network that a new process builds, and gives the same outputs."""
    _compare(
        subject,
        _answer(subject, _running()),
        "weights",
        "a .weights.h5 file to fit the network that a new process builds",
        CLOSE,
        "The network must depend only on the builder's arguments, not on what was imported or built before, nor on the "
        "order of a set.",
    )


def check_backends(subject: Subject) -> None:
    """On each other backend of Keras that is installed it gives the same outputs."""
    others = [name for name in BACKENDS if name != _running()]
    installed = [name for name in others if importlib.util.find_spec(name)]
    if not installed:
        raise CheckSkipped(f"neither {' nor '.join(others)} is installed, Keras' other backends")
    for name in installed:
        answer = _answer(subject, name)
        if "backend" in answer.faults:
            raise CheckSkipped(f"the backend {name} does not work here: {answer.faults['backend']}")
        _compare(
            subject,
            answer,
            "weights",
            f"the same network with KERAS_BACKEND={name}",
            CLOSE_ON_ANOTHER,
            "Write layers only with keras.layers and keras.ops.",
        )


def _running() -> str:
    return str(backend.keras().backend.backend())


def _answer(subject: Subject, backend_name: str) -> Answer:
    if subject.imported.error and subject.spec.provider.distribution is None:
        raise CheckSkipped(not_importable(subject.spec))
    finite_outputs(subject)
    return subject.elsewhere(backend_name)


def _compare(subject: Subject, answer: Answer, which: str, expected: str, close: float, fix: str) -> None:
    for what, met in {"process": "another process ends when it reads it", "import": NOT_IMPORTED}.items():
        if what in answer.faults:
            raise subject.causes.meet(met, failed(expected, answer.faults[what], fix))
    if which in answer.faults:
        raise failed(expected, answer.faults[which], fix)
    apart = float(np.abs(answer.outputs[which] - subject.outputs).max())
    if not apart <= close:
        raise failed(f"{expected}, with outputs equal to {close:g}", f"a difference of {apart:.3g}", fix)
