"""What the networks of a family have in common: the paper, the form of their pixels, and how Keras builds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cnn_registry import Paper

Pixels = Literal["unit", "signed", "imagenet", "caffe"]


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Attributes:
        name: as ``cnnreg list`` shows it.
        paper: the publication.
        pixels: the form in which the network takes its pixels, without Keras' own rescaling layers.
        min_size: the edge length in pixels of the smallest images that Keras accepts.
        arguments: further arguments of Keras' constructors.
        begins_at: the first layer that is kept; by default all are.
    """

    name: str
    paper: Paper
    pixels: Pixels
    min_size: int = 32
    arguments: Mapping[str, Any] = field(default_factory=dict)
    begins_at: str | None = None


NOT_RESCALED = {"include_preprocessing": False}

CONVNEXT = Family(
    "convnext",
    Paper(
        "A ConvNet for the 2020s", "Liu, Mao, Wu, Feichtenhofer, Darrell, Xie", 2022, "https://arxiv.org/abs/2201.03545"
    ),
    "imagenet",
    arguments=NOT_RESCALED,
)
DENSENET = Family(
    "densenet",
    Paper(
        "Densely Connected Convolutional Networks",
        "Huang, Liu, van der Maaten, Weinberger",
        2016,
        "https://arxiv.org/abs/1608.06993",
    ),
    "imagenet",
)
EFFICIENTNET = Family(
    "efficientnet",
    Paper(
        "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        "Tan, Le",
        2019,
        "https://arxiv.org/abs/1905.11946",
    ),
    "imagenet",
    begins_at="stem_conv_pad",  # Keras has no argument that leaves out what is before it
)
_V2 = Paper("EfficientNetV2: Smaller Models and Faster Training", "Tan, Le", 2021, "https://arxiv.org/abs/2104.00298")
EFFICIENTNET_V2_B = Family("efficientnet_v2", _V2, "imagenet", arguments=NOT_RESCALED)
EFFICIENTNET_V2 = Family("efficientnet_v2", _V2, "signed")
"""S, M and L keep Keras' rescaling, which divides by 128 instead of 127.5."""

_INCEPTION = "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna"
INCEPTION_RESNET = Family(
    "inception",
    Paper(
        "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
        "Szegedy, Ioffe, Vanhoucke, Alemi",
        2016,
        "https://arxiv.org/abs/1602.07261",
    ),
    "signed",
    min_size=75,
)
INCEPTION = Family(
    "inception",
    Paper(
        "Rethinking the Inception Architecture for Computer Vision",
        _INCEPTION,
        2015,
        "https://arxiv.org/abs/1512.00567",
    ),
    "signed",
    min_size=75,
)
MOBILENET = Family(
    "mobilenet",
    Paper(
        "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
        "Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam",
        2017,
        "https://arxiv.org/abs/1704.04861",
    ),
    "signed",
)
MOBILENET_V2 = Family(
    "mobilenet",
    Paper(
        "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        "Sandler, Howard, Zhu, Zhmoginov, Chen",
        2018,
        "https://arxiv.org/abs/1801.04381",
    ),
    "signed",
)
MOBILENET_V3 = Family(
    "mobilenet",
    Paper(
        "Searching for MobileNetV3",
        "Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam",
        2019,
        "https://arxiv.org/abs/1905.02244",
    ),
    "signed",
    arguments=NOT_RESCALED,
)
NASNET = Family(
    "nasnet",
    Paper(
        "Learning Transferable Architectures for Scalable Image Recognition",
        "Zoph, Vasudevan, Shlens, Le",
        2017,
        "https://arxiv.org/abs/1707.07012",
    ),
    "signed",
)
RESNET = Family(
    "resnet",
    Paper(
        "Deep Residual Learning for Image Recognition", "He, Zhang, Ren, Sun", 2015, "https://arxiv.org/abs/1512.03385"
    ),
    "caffe",
)
RESNET_V2 = Family(
    "resnet",
    Paper(
        "Identity Mappings in Deep Residual Networks", "He, Zhang, Ren, Sun", 2016, "https://arxiv.org/abs/1603.05027"
    ),
    "signed",
)
VGG = Family(
    "vgg",
    Paper(
        "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        "Simonyan, Zisserman",
        2014,
        "https://arxiv.org/abs/1409.1556",
    ),
    "caffe",
)
XCEPTION = Family(
    "xception",
    Paper(
        "Xception: Deep Learning with Depthwise Separable Convolutions",
        "Chollet",
        2016,
        "https://arxiv.org/abs/1610.02357",
    ),
    "signed",
    min_size=71,
)

FAMILIES: Mapping[str, Family] = {
    **{f"ConvNeXt{size}": CONVNEXT for size in ("Tiny", "Small", "Base", "Large", "XLarge")},
    **{f"DenseNet{depth}": DENSENET for depth in (121, 169, 201)},
    **{f"EfficientNetB{number}": EFFICIENTNET for number in range(8)},
    **{f"EfficientNetV2B{number}": EFFICIENTNET_V2_B for number in range(4)},
    **{f"EfficientNetV2{size}": EFFICIENTNET_V2 for size in ("S", "M", "L")},
    "InceptionResNetV2": INCEPTION_RESNET,
    "InceptionV3": INCEPTION,
    "MobileNet": MOBILENET,
    "MobileNetV2": MOBILENET_V2,
    **{f"MobileNetV3{size}": MOBILENET_V3 for size in ("Small", "Large")},
    **{f"NASNet{size}": NASNET for size in ("Mobile", "Large")},
    **{f"ResNet{depth}": RESNET for depth in (50, 101, 152)},
    **{f"ResNet{depth}V2": RESNET_V2 for depth in (50, 101, 152)},
    "VGG16": VGG,
    "VGG19": VGG,
    "Xception": XCEPTION,
}
"""The family of each of Keras' constructors."""
