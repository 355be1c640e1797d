"""The seeds and the determinism of the process, to be put back."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from cnn_registry.system.quiet import PutBack
from cnn_registry.text import one_line

from .checks import note_difference
from .global_state import global_state


def seeds() -> list[PutBack]:
    """What puts back the global seeds of Keras and TensorFlow, and the generators that follow from them."""
    found = []
    for keep, whose in ((_keras_seeds, "Keras"), (_tensorflow_seed, "TensorFlow")):
        try:
            found.append(keep())
        except (ImportError, AttributeError) as error:
            _note_unkept(f"the global seed of {whose} is not where it was ({one_line(error)})", "that of this process")
    return found


def determinism() -> PutBack:
    """What makes TensorFlow as deterministic as it is now; it can only be switched on by a public name."""
    try:
        config = import_module("tensorflow.python.framework.config")
        was_on, disable = config.is_op_determinism_enabled(), config.disable_op_determinism
    except (ImportError, AttributeError) as error:
        _note_unkept(f"determinism cannot be switched off ({one_line(error)})", "this process")
        return lambda: None
    return (lambda: None) if was_on else disable


@cache
def _note_unkept(what: str, whose: str) -> None:
    note_difference(what, f"{whose} stays as the training leaves it")


def _keras_seeds() -> PutBack:
    state = global_state()
    before = {name: state.get_global_attribute(name) for name in ("global_random_seed", "global_seed_generator")}

    def put_back() -> None:
        for name, value in before.items():
            state.set_global_attribute(name, value)

    return put_back


def _tensorflow_seed() -> PutBack:
    """The seed, and how far the generator of operations' seeds has come."""
    context = import_module("tensorflow.python.eager.context").context()
    seed = context._seed
    # TensorFlow makes the generator when a seed is first set.
    generator = getattr(context, "_rng", None) if seed is None else context._rng
    state = None if generator is None else generator.getstate()

    def put_back() -> None:
        context._seed, context._rng = seed, generator
        if generator is not None:
            generator.setstate(state)

    return put_back
