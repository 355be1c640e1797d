"""Building blocks for networks: functions from one Keras tensor to another, a layer and an initializer.

They are written with ``keras`` alone, so they run on each of its backends. Images and maps have the shape
``(batch, height, width, channels)``. Importing this module imports Keras.
"""

from cnn_registry import backend

backend.keras()  # the modules below import Keras; this prepares it, or says what to install

from .conv import Activation, Conv2D_BN, ConvOptions, Order  # noqa: E402  (Keras is prepared first)
from .inception import InceptionBlock_1, InceptionBlock_2, InceptionBlock_3  # noqa: E402  (likewise)
from .initializers import Initializer, NearIdentity, own_initializer  # noqa: E402  (likewise)
from .normalization import LayerOptions, LocalResponseNormalization  # noqa: E402  (likewise)
from .residual import BasicBlock, BottleneckBlock, PreactBottleneckBlock, StrideIn  # noqa: E402  (likewise)

__all__ = [
    "Activation",
    "BasicBlock",
    "BottleneckBlock",
    "Conv2D_BN",
    "ConvOptions",
    "InceptionBlock_1",
    "InceptionBlock_2",
    "InceptionBlock_3",
    "Initializer",
    "LayerOptions",
    "LocalResponseNormalization",
    "NearIdentity",
    "Order",
    "PreactBottleneckBlock",
    "StrideIn",
    "own_initializer",
]
