"""Free memory that TensorFlow would keep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .environment import keras, tensorflow
from .keras_internals import handle


def forget(variables: Iterable[Any]) -> None:
    """Free the memory of Keras variables that nobody will read again.

    TensorFlow keeps a traced step, and all variables in it, for as long as the process lives, whatever else is
    deleted: with Adam, four times the size of each network that a process has trained. On other backends variables
    are freed with their network, and nothing is done.
    """
    if keras().config.backend() != "tensorflow":
        return
    raw_ops = tensorflow().raw_ops
    nothing: dict[Any, Any] = {}
    for variable in variables:
        resource, dtype = handle(variable), variable.value.dtype
        nothing.setdefault(dtype, tensorflow().zeros([0], dtype))
        if resource is not None:
            raw_ops.AssignVariableOp(resource=resource, value=nothing[dtype])
