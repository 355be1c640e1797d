"""Building blocks for networks: functions from a Keras tensor to a Keras tensor, written with ``keras`` alone."""

from cnn_registry import backend

backend.keras()  # the modules below import Keras: prepared, or with an error that says what to install

from .conv import Conv2D_BN, ConvOptions, Order  # noqa: E402  (after the preparation, on purpose)
from .inception import InceptionBlock_1, InceptionBlock_2, InceptionBlock_3  # noqa: E402  (likewise)
from .initializers import NearIdentity  # noqa: E402  (likewise)
from .normalization import LocalResponseNormalization  # noqa: E402  (likewise)
from .residual import BasicBlock, BottleneckBlock, PreactBottleneckBlock  # noqa: E402  (likewise)

__all__ = [
    "BasicBlock",
    "BottleneckBlock",
    "Conv2D_BN",
    "ConvOptions",
    "InceptionBlock_1",
    "InceptionBlock_2",
    "InceptionBlock_3",
    "LocalResponseNormalization",
    "NearIdentity",
    "Order",
    "PreactBottleneckBlock",
]
