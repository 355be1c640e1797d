"""The other processes of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from cnn_registry.system.progress import note
from cnn_registry.text import one_line

from .. import environment


class Peers(NamedTuple):
    """How TensorFlow is asked about the other processes of a cluster.

    Attributes:
        check: raises TensorFlow's error unless a task answers; its name, and ``timeout_in_ms``.
        abort: ends all computations that wait for other tasks; an error's code, and its message.
    """

    check: Callable[..., None]
    abort: Callable[..., None]


def leave_out_coordination() -> None:
    """Have workers join without TensorFlow's coordination service, where that can be left out.

    It waits for other workers with Python's lock held, so that nothing else runs here meanwhile, and then takes SIGTERM
    for itself.
    """
    tf = environment.tensorflow()
    try:
        import_module("tensorflow.python.eager.context").context().configure_coordination_service(service_type="")
    except (ImportError, AttributeError, TypeError) as error:
        note(
            f"In TensorFlow {tf.__version__}, the coordination service cannot be left out ({one_line(error)}); Ctrl-C "
            f"does not end the wait for other workers."
        )


def peers(strategy: Any) -> Peers | None:
    """What is asked about the other workers of a strategy, whose own look at them ends; ``None`` where that is gone.

    TensorFlow's own takes up to a minute, and logs what it finds.
    """
    tf = environment.tensorflow()
    try:
        context = import_module("tensorflow.python.eager.context").context()
        found = Peers(context.check_collective_ops_peer_health, context.abort_collective_ops)
        strategy.extended._check_health_thread_should_stop.set()
    except (ImportError, AttributeError) as error:
        note(
            f"In TensorFlow {tf.__version__}, workers cannot be asked whether they are there ({one_line(error)}); one "
            f"that is lost is found by TensorFlow alone, which takes minutes."
        )
        return None
    return found
