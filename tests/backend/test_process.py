"""After a training the process is as it was, or a line says what is not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib import import_module

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.backend import keras_internals
from cnn_registry.backend.keras_internals import process_state

keras, tf = backend.keras(), backend.tensorflow()


@pytest.fixture(autouse=True)
def said_again() -> Iterator[None]:
    process_state._note_unkept.cache_clear()
    yield
    process_state._note_unkept.cache_clear()


def drawn() -> list[float]:
    return [random.random(), float(np.random.random()), float(keras.random.uniform(())), float(tf.random.uniform(()))]


def test_generators_continue_as_if_nothing_had_been_seeded() -> None:
    keras.utils.set_random_seed(3)
    expected = [drawn(), drawn()]
    keras.utils.set_random_seed(3)
    found = [drawn()]
    with backend.process_kept():
        keras.utils.set_random_seed(4)
        drawn()
    assert [*found, drawn()] == expected


def test_a_process_that_has_set_no_seed_has_none_afterwards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = import_module("tensorflow.python.eager.context").context()
    monkeypatch.setattr(context, "_seed", None)
    monkeypatch.delattr(context, "_rng", raising=False)
    with backend.process_kept():
        keras.utils.set_random_seed(4)
    assert context._seed is None
    assert capsys.readouterr().err == ""


def test_determinism_is_switched_off_again_unless_it_was_on() -> None:
    with backend.process_kept(), backend.deterministic(True):
        with backend.deterministic(True):
            pass
        assert refused()
    assert not refused()


def refused() -> bool:
    """Whether random numbers are refused that follow from no seed."""
    tf.random.set_seed(None)
    try:
        tf.random.uniform(())
    except RuntimeError as error:
        return "determinism" in str(error)
    return False


@pytest.mark.parametrize(
    ("module", "name", "whose"),
    [
        ("tensorflow.python.eager.context", "context", "the global seed of TensorFlow"),
        ("keras.src.backend.common.global_state", "get_global_attribute", "the global seed of Keras"),
        ("tensorflow.python.framework.config", "disable_op_determinism", "determinism cannot be switched off"),
    ],
)
def test_what_cannot_be_put_back_is_named_once(
    module: str, name: str, whose: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(import_module(module), name)
    for _ in range(2):
        put_back = [*keras_internals.seeds(), keras_internals.determinism()]
    monkeypatch.undo()
    assert all(map(callable, put_back))
    said = capsys.readouterr().err
    assert said.count(whose) == 1
    assert "stays as the training leaves it" in said
