"""What TensorFlow and NumPy know of the processor."""

from __future__ import annotations

from collections.abc import Mapping

from .. import environment


def uses_onednn() -> bool | None:
    """Whether TensorFlow uses oneDNN's operations; ``None`` where it does not say so."""
    environment.tensorflow()
    try:
        # No public function says so; TensorFlow's own tests ask here.
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled
    except ImportError:
        return None
    return bool(IsMklEnabled())


def vector_instructions() -> Mapping[str, bool] | None:
    """The processor's vector instructions by NumPy's names for them, on every platform; ``None`` where it has none."""
    try:
        # No public function of NumPy's returns them.
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:
        return None
    return dict(features)
