"""Variables: the resources that hold their values."""

from __future__ import annotations

from typing import Any

from .. import environment


def handle(variable: Any) -> Any:
    """TensorFlow's resource that holds the value of a Keras variable; ``None`` where there is no single one."""
    try:
        return getattr(variable.value, "handle", None)
    except ValueError:  # there is one for each device
        return None


def move(variable: Any, towards: Any, share: Any) -> None:
    """Move a variable by a share of the way towards another, in one pass through memory."""
    share = environment.keras().ops.cast(share, variable.dtype)
    resource, difference = handle(variable), variable.value - towards.value
    if resource is None:
        variable.assign(variable.value - share * difference)
    else:
        environment.tensorflow().raw_ops.ResourceApplyGradientDescent(var=resource, alpha=share, delta=difference)
