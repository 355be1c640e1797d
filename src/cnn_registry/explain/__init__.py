"""What a trained model looks at: Grad-CAM maps of pictures, and pictures with their maps laid over them.

`explain_images` explains picture files with the model of a run. `GradCam` is for arrays, and `overlay` colours a map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry.system.lazy import lazy_names

if TYPE_CHECKING:
    from .colours import overlay as overlay
    from .grad_cam import GradCam as GradCam
    from .grad_cam import Maps as Maps
    from .images import Explanation as Explanation
    from .images import explain_images as explain_images

_HOMES = {
    "Explanation": "explain.images",
    "GradCam": "explain.grad_cam",
    "Maps": "explain.grad_cam",
    "explain_images": "explain.images",
    "overlay": "explain.colours",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
