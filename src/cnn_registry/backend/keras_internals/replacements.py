"""Methods of single objects, replaced for a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from .. import environment
from .checks import holds


class Replacements:
    """Methods of single objects that are replaced by functions, until they are put back.

    Keras saves, copies and pickles an object by its class and settings, so it is a plain object there all the time.
    """

    def __init__(self) -> None:
        self._places: list[tuple[dict[str, Any], str]] = []

    def add(self, owner: Any, name: str, function: Callable[..., Any]) -> None:
        """Have ``owner.name`` be ``function``."""
        own = vars(owner)  # not setattr, which Keras extends
        own[name] = function
        self._places.append((own, name))

    def undo(self) -> None:
        """Put the methods of the classes back."""
        while self._places:
            own, name = self._places.pop()
            own.pop(name, None)


def is_replaced(owner: Any, name: str) -> bool:
    """Whether `Replacements` has replaced the method of that name."""
    return name in vars(owner)


@cache
def methods_are_replaceable() -> bool:
    """Whether Keras calls the methods of a layer that were replaced by `Replacements`."""

    def works() -> bool:
        keras = environment.keras()
        called: list[str] = []
        layer = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="checked")
        layer.build((None, 1, 1, 1))
        replacements = Replacements()
        for name in ("call", "convolution_op"):
            replacements.add(layer, name, recorded(getattr(layer, name), called, name))
        inputs = keras.ops.ones((1, 1, 1, 1))
        layer(inputs, training=True)
        replacements.undo()
        layer(inputs, training=True)
        return called == ["call", "convolution_op"]

    return holds(works, "calls of a layer's methods", "training steps are those of plain Keras")


def recorded(method: Callable[..., Any], called: list[str], name: str) -> Callable[..., Any]:
    """The method, which adds its name to ``called`` at each call."""

    def recording(*args: Any, **kwargs: Any) -> Any:
        called.append(name)
        return method(*args, **kwargs)

    return recording
