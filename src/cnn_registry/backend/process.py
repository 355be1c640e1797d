"""Give the process back as it was after a training.

A training seeds generators, needs Keras' standard settings, and may make TensorFlow deterministic.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from . import keras_internals
from .environment import tensorflow
from .settings import standard_settings

OURS = ("TensorFlowTrainer", "cnn_registry")
"""In the names of functions that are traced for each network: Keras' steps, and what this package does between them."""


@contextmanager
def process_kept() -> Iterator[None]:
    """Within the block the generators of Python, NumPy, Keras and TensorFlow may be seeded; then they are as before.

    Keras' settings are the standard ones meanwhile, see `standard_settings`.

    Raises:
        BackendError: as `tensorflow`.
    """
    import numpy as np  # not above: lookups import this package, and must not take its time

    with ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        tensorflow()  # whose import may draw from them
        for put_back in keras_internals.seeds():
            stack.callback(put_back)
        stack.enter_context(standard_settings())
        stack.enter_context(_retracing_expected())
        yield


@contextmanager
def _retracing_expected() -> Iterator[None]:
    """Within the block, TensorFlow does not warn that functions are traced; each network has its own."""

    def is_other(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return "tf.function retracing" not in message or not any(ours in message for ours in OURS)

    logger = tensorflow().get_logger()
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within the block TensorFlow computes the same, bit for bit, in every run, if that is ``wanted``."""
    with ExitStack() as stack:
        if wanted:
            stack.callback(keras_internals.determinism())
            tensorflow().config.experimental.enable_op_determinism()
        yield
