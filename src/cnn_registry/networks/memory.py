"""How much memory a network takes at least, known before it takes any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.backend.keras_internals import calls_of, graph_is_known, has_graph
from cnn_registry.errors import UsageError

if TYPE_CHECKING:
    import keras

HELPS = "Choose a smaller image_size or network"
"""What to do about a network that is too large; most of those flatten large maps."""


def bytes_of(variables: Iterable[Any]) -> int:
    """The bytes of variables, with or without values."""
    return sum(prod(variable.shape) * np.dtype(variable.dtype).itemsize for variable in variables)


def kept_bytes(model: keras.Model, batch_size: int) -> int:
    """Bytes of the maps that a training step keeps for its gradients at least.

    These are what goes into trainable kernels; 0 where the model has no graph. A step needs more: what else it keeps,
    gradients, and room to compute.
    """
    if not has_graph(model) or not graph_is_known():
        return 0
    kept: dict[int, int] = {}
    for layer in model.layers:
        if getattr(layer, "kernel", None) is None or not layer.trainable:
            continue
        for tensor in (tensor for call in calls_of(layer) for tensor in call.inputs):
            size = prod(edge or 1 for edge in tensor.shape[1:]) * np.dtype(layer.compute_dtype).itemsize
            kept[id(tensor)] = max(size, kept.get(id(tensor), 0))
    return batch_size * sum(kept.values())


def refuse_larger_than_memory(what: str, needs: Sequence[tuple[str, int]], helps: str = HELPS) -> None:
    """Refuse what certainly needs more memory than this process may use; on a GPU, whose memory counts, nothing.

    Args:
        what: the subject of the message: ``"alexnet at 4096x4096 pixels"``.
        needs: what takes how many bytes.
        helps: what to do.

    Raises:
        UsageError: it is larger.
    """
    if not backend.computes_in_main_memory():
        return
    available, taken = backend.memory_limit(), sum(size for _, size in needs)
    if taken > available:
        raise _too_large(what, needs, available, helps)


@contextmanager
def memory_reported(what: str, needs: Sequence[tuple[str, int]], helps: str = HELPS) -> Iterator[None]:
    """Within the block, a lack of memory is reported as `refuse_larger_than_memory` does.

    Raises:
        UsageError: there is not enough.
    """
    try:
        yield
    except Exception as error:
        if not backend.is_lack_of_memory(error):
            raise
        raise _too_large(what, needs, backend.memory_limit(), helps) from error


def _too_large(what: str, needs: Sequence[tuple[str, int]], available: int, helps: str) -> UsageError:
    taken = ", ".join(f"{part} {_size(size)}" for part, size in needs if size)
    least = f"at least {_size(sum(size for _, size in needs))} of memory ({taken})" if taken else "more memory"
    return UsageError(f"{what} needs {least}; this process may use {_size(available)}. {helps}.")


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
