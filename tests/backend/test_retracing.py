"""TensorFlow does not warn of several trainings in a process."""

from __future__ import annotations

import logging

import pytest

from cnn_registry import backend


def test_only_the_steps_of_trainings_may_be_traced_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    logger, said = backend.tensorflow().get_logger(), []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logger, "handlers", [handler])
    steps = "5 out of the last 5 calls to <function TensorFlowTrainer.step> triggered tf.function retracing."
    own = "5 out of the last 5 calls to <function mine> triggered tf.function retracing."
    with backend.process_kept():
        logger.warning(steps)
        logger.warning(own)
    logger.warning(steps)
    assert said == [own, steps]
