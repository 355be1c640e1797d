"""Give the process back as it was after a training.

A training seeds generators, needs Keras' standard settings, and may make TensorFlow deterministic.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import Any

from .environment import tensorflow
from .settings import standard_settings


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
        # What Keras and TensorFlow keep of a seed has no public name. Where it has another one, it is left as it is.
        for keep in (_keras_seeds, _tensorflow_seed):
            with suppress(ImportError, AttributeError):
                stack.callback(keep())
        stack.enter_context(standard_settings())
        yield


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within the block TensorFlow computes the same, bit for bit, in every run, if that is ``wanted``."""
    with ExitStack() as stack:
        if wanted:
            with suppress(ImportError, AttributeError):  # it has no public name
                stack.callback(_determinism())
            tensorflow().config.experimental.enable_op_determinism()
        yield


def _keras_seeds() -> Callable[[], None]:
    """Puts back Keras' global seed and the generator that follows from it."""
    state: Any = import_module("keras.src.backend.common.global_state")
    names = ("global_random_seed", "global_seed_generator")
    before = {name: state.get_global_attribute(name) for name in names}

    def put_back() -> None:
        for name, value in before.items():
            state.set_global_attribute(name, value)

    return put_back


def _tensorflow_seed() -> Callable[[], None]:
    """Puts back TensorFlow's global seed, and how far its generator of operations' seeds has come."""
    context: Any = import_module("tensorflow.python.eager.context").context()
    seed, generator = context._seed, context._rng
    state = None if generator is None else generator.getstate()

    def put_back() -> None:
        context._seed, context._rng = seed, generator
        if generator is not None:
            generator.setstate(state)

    return put_back


def _determinism() -> Callable[[], None]:
    """Switches determinism off again unless it was on before."""
    config: Any = import_module("tensorflow.python.framework.config")
    was_on: bool = config.is_op_determinism_enabled()
    disable: Callable[[], None] = config.disable_op_determinism
    return (lambda: None) if was_on else disable
