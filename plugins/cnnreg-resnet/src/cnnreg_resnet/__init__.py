"""Declares the ResNets for ``cnn_registry``. Keras is imported only when one is built."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

from cnn_registry import Feature, Paper, Pretrained, register_model

from . import _weights

if TYPE_CHECKING:
    import keras

    from cnn_registry.blocks import StrideIn

IMAGENET = "keras.applications.imagenet_utils:decode_predictions"
"""Where the names of the classes are."""

StrideUnit = Literal["last", "first"]
"""The unit of a stage that has the stride."""

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Number of residual units in each stage, by depth: table 1."""

FILTERS = (64, 128, 256, 512)
"""Number of filters of the 3x3 convolutions in each stage. A bottleneck's output has four times as many channels."""

_V1 = Paper(
    title="Deep Residual Learning for Image Recognition",
    authors="He, Zhang, Ren, Sun",
    year=2015,
    url="https://arxiv.org/abs/1512.03385",
)
_V2 = Paper(
    title="Identity Mappings in Deep Residual Networks",
    authors="He, Zhang, Ren, Sun",
    year=2016,
    url="https://arxiv.org/abs/1603.05027",
)


def _basic(
    depth: int, *, trainable_params: int, non_trainable_params: int, macs: int, torchvision: str
) -> Callable[..., keras.Model]:
    """Declare the ResNet with ``depth`` layers that have weights, made of basic units."""

    def build(
        input_shape: tuple[int, int, int],
        num_classes: int,
        *,
        use_bias: bool = False,
        zero_init_residual: bool = True,
        classifier_activation: str | None = "softmax",
    ) -> keras.Model:
        """Build the ResNet that the function is named after, from units with two 3x3 convolutions.

        He et al. (2015), table 1, with projections where the shape changes (shortcut B of section 4.1). Batch
        normalisation has torchvision's epsilon of 1e-5 and a momentum of 0.9.

        Args:
            input_shape: ``(height, width, channels)``; any size, but at least 64 pixels are recommended, because
                the last maps are 32 times smaller.
            num_classes: number of outputs.
            use_bias: whether the convolutions have a bias; the normalisations cancel it.
            zero_init_residual: whether the last scale (gamma) of each unit's branch starts at zero, so that training
                starts from a shallow network: Goyal et al. 2017 (https://arxiv.org/abs/1706.02677), section 5.1.
            classifier_activation: Keras activation of the outputs; ``None`` gives logits.

        Returns:
            A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
        """
        from ._network import resnet

        return resnet(
            depth,
            input_shape,
            num_classes,
            stride_in=None,
            use_bias=use_bias,
            zero_init_residual=zero_init_residual,
            classifier_activation=classifier_activation,
            name=build.__name__,
        )

    build.__name__ = build.__qualname__ = f"resnet{depth}"
    return register_model(
        family="resnet",
        summary=f"ResNet with {depth} layers",
        paper=_V1,
        trainable_params=trainable_params,
        non_trainable_params=non_trainable_params,
        macs=macs,
        features=_features(depth, expansion=1),
        weights=_torchvision(depth, {"use_bias": False}, torchvision),
    )(build)


def _bottleneck(
    depth: int, *, trainable_params: int, non_trainable_params: int, macs: int, torchvision: tuple[str, ...]
) -> Callable[..., keras.Model]:
    """Declare the ResNet of ``depth`` layers with weights, made of bottleneck units."""

    def build(
        input_shape: tuple[int, int, int],
        num_classes: int,
        *,
        stride_in: StrideIn = "3x3",
        use_bias: bool = False,
        zero_init_residual: bool = True,
        classifier_activation: str | None = "softmax",
    ) -> keras.Model:
        """Build the ResNet that the function's name says, of units with a bottleneck.

        He et al. (2015), table 1, with projections where the shape changes (shortcut B of section 4.1). By default it
        is torchvision's: the stride in the 3x3 convolution, no biases. Batch normalisation has torchvision's epsilon
        of 1e-5 and a momentum of 0.9.

        Args:
            input_shape: ``(height, width, channels)``; any size, but at least 64 pixels are recommended, because
                the last maps are 32 times smaller.
            num_classes: number of outputs.
            stride_in: the convolution that has a unit's stride: ``"3x3"`` as in torchvision ("version 1.5"), or the
                first ``"1x1"`` as in the paper and in ``keras.applications``, with 6 % fewer multiplications.
            use_bias: whether the convolutions have a bias, as in ``keras.applications``; the normalisations cancel it.
            zero_init_residual: whether the last scale (gamma) of each unit's branch starts at zero, so that training
                starts from a shallow network: Goyal et al. 2017 (https://arxiv.org/abs/1706.02677), section 5.1.
            classifier_activation: Keras activation of the outputs; ``None`` gives logits.

        Returns:
            A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

        Raises:
            UsageError: ``stride_in`` is not one of the two.
        """
        from ._network import resnet

        return resnet(
            depth,
            input_shape,
            num_classes,
            stride_in=stride_in,
            use_bias=use_bias,
            zero_init_residual=zero_init_residual,
            classifier_activation=classifier_activation,
            name=build.__name__,
        )

    build.__name__ = build.__qualname__ = f"resnet{depth}"
    return register_model(
        family="resnet",
        summary=f"ResNet with {depth} layers, in bottlenecks",
        paper=_V1,
        trainable_params=trainable_params,
        non_trainable_params=non_trainable_params,
        macs=macs,
        features=_features(depth, expansion=4),
        weights={
            "keras:imagenet": Pretrained(
                f"keras.applications:ResNet{depth}",
                partial(_weights.keras_names, UNITS[depth]),
                pixels="caffe",
                options={"stride_in": "1x1", "use_bias": True},
                classes=IMAGENET,
            ),
            **_torchvision(depth, {"stride_in": "3x3", "use_bias": False}, *torchvision),
        },
    )(build)


def _preact(depth: int, *, trainable_params: int, non_trainable_params: int, macs: int) -> Callable[..., keras.Model]:
    """Declare the ResNet V2 with ``depth`` layers that have weights, made of bottlenecks with pre-activation."""

    def build(
        input_shape: tuple[int, int, int],
        num_classes: int,
        *,
        stride_unit: StrideUnit = "last",
        zero_init_residual: bool = True,
        classifier_activation: str | None = "softmax",
    ) -> keras.Model:
        """Build the ResNet V2 that the function is named after: each unit normalises and activates before it convolves.

        He et al. (2016), figure 4e, in the form of ``keras.applications``: the pooling directly follows the first
        convolution, because the first unit normalises. The first convolution, the shortcuts' convolutions and the last
        one of each unit have a bias. Batch normalisation has Keras' epsilon of 1.001e-5 and a momentum of 0.9.

        Args:
            input_shape: ``(height, width, channels)``; any size, but at least 64 pixels are recommended, because
                the last maps are 32 times smaller.
            num_classes: number of outputs.
            stride_unit: the unit that halves height and width: the ``"last"`` of stages 1 to 3 as in
                ``keras.applications``, or the ``"first"`` of stages 2 to 4 as in the paper, with more multiplications.
            zero_init_residual: whether the last kernel of each unit's branch starts at zero, so that training starts
                with the shortcuts. Otherwise the sums double from unit to unit, and the deepest of these networks
                overflow float16 before their normalisations have seen any image.
            classifier_activation: Keras activation of the outputs; ``None`` gives logits.

        Returns:
            A model that maps ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

        Raises:
            UsageError: ``stride_unit`` is not one of the two.
        """
        from ._network import resnet_v2

        return resnet_v2(
            depth,
            input_shape,
            num_classes,
            stride_unit=stride_unit,
            zero_init_residual=zero_init_residual,
            classifier_activation=classifier_activation,
            name=build.__name__,
        )

    build.__name__ = build.__qualname__ = f"resnet{depth}_v2"
    return register_model(
        family="resnet",
        summary=f"ResNet V2 with {depth} layers: pre-activation",
        paper=_V2,
        trainable_params=trainable_params,
        non_trainable_params=non_trainable_params,
        macs=macs,
        features=_features_v2(depth),
        weights={
            "keras:imagenet": Pretrained(
                f"keras.applications:ResNet{depth}V2",
                partial(_weights.keras_v2_names, UNITS[depth]),
                pixels="signed",
                options={"stride_unit": "last"},
                classes=IMAGENET,
            )
        },
    )(build)


def _features(depth: int, expansion: int) -> dict[str, Feature]:
    """The first activation, and the last of each stage."""
    return {"stride2": Feature("conv1_relu", (112, 112, 64))} | {
        f"stride{4 << stage}": Feature(
            f"stage{stage + 1}_block{units}_out", (56 >> stage, 56 >> stage, expansion * filters)
        )
        for stage, (units, filters) in enumerate(zip(UNITS[depth], FILTERS, strict=True))
    }


def _features_v2(depth: int) -> dict[str, Feature]:
    """The first convolution, the first activation in the last unit of each stage, and the last activation."""
    features = {"stride2": Feature("conv1", (112, 112, 64))}
    for stage, (units, filters) in enumerate(zip(UNITS[depth][:-1], FILTERS, strict=False)):
        layer = f"stage{stage + 1}_block{units}_preact_relu"
        features[f"stride{4 << stage}"] = Feature(layer, (56 >> stage, 56 >> stage, 4 * filters))
    return features | {"stride32": Feature("post_relu", (7, 7, 2048))}


def _torchvision(depth: int, options: dict[str, object], *versions: str) -> dict[str, Pretrained]:
    """torchvision's weights of the network with ``options``, given the last part of each version's file name; timm's.

    timm's network has torchvision's names.
    """
    names = partial(_weights.torchvision_names, UNITS[depth], 2 if depth < 50 else 3)
    timm = Pretrained(f"hf://timm/resnet{depth}.a1_in1k", names, "imagenet", options, IMAGENET)
    return {
        f"torchvision:IMAGENET1K_V{number}": Pretrained(
            f"https://download.pytorch.org/models/resnet{depth}-{version}.pth", names, "imagenet", options, IMAGENET
        )
        for number, version in enumerate(versions, start=1)
    } | {"timm:a1_in1k": timm}


resnet18 = _basic(
    18, trainable_params=11_689_512, non_trainable_params=9_600, macs=1_814_073_344, torchvision="f37072fd"
)
resnet34 = _basic(
    34, trainable_params=21_797_672, non_trainable_params=17_024, macs=3_663_761_408, torchvision="b627a593"
)
resnet50 = _bottleneck(
    50,
    trainable_params=25_557_032,
    non_trainable_params=53_120,
    macs=4_089_184_256,
    torchvision=("0676ba61", "11ad3fa6"),
)
resnet101 = _bottleneck(
    101,
    trainable_params=44_549_160,
    non_trainable_params=105_344,
    macs=7_801_405_440,
    torchvision=("63fe2227", "cd907fc2"),
)
resnet152 = _bottleneck(
    152,
    trainable_params=60_192_808,
    non_trainable_params=151_424,
    macs=11_513_626_624,
    torchvision=("394f9c45", "f82ba261"),
)
resnet50_v2 = _preact(50, trainable_params=25_568_360, non_trainable_params=45_440, macs=3_482_255_360)
resnet101_v2 = _preact(101, trainable_params=44_577_896, non_trainable_params=97_664, macs=7_194_476_544)
resnet152_v2 = _preact(152, trainable_params=60_236_904, non_trainable_params=143_744, macs=10_906_697_728)
