"""A convolution with batch normalisation, in either order of normalisation and activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypedDict, get_args

import keras

from cnn_registry.errors import UsageError
from cnn_registry.text import suggestion

from .initializers import Initializer, own_initializer

Order = Literal["relu_bn", "bn_relu"]
"""What follows a convolution: the activation and then the normalisation, or the reverse."""

Activation: TypeAlias = str | Callable[..., Any] | None
"""What Keras accepts as an activation: its name, a function or layer, or ``None`` for none."""


class ConvOptions(TypedDict, total=False):
    """The options of `Conv2D_BN` that a larger block passes to each of its convolutions.

    Attributes:
        order, use_bias, activation, kernel_initializer: as for `Conv2D_BN`.
        momentum, epsilon, scale, beta_initializer: as for `Conv2D_BN`.
    """

    order: Order
    use_bias: bool
    activation: Activation
    kernel_initializer: Initializer
    momentum: float
    epsilon: float
    scale: bool
    beta_initializer: Initializer


def Conv2D_BN(  # noqa: N802  (a layer to those who call it, and a fixed public name)
    inputs: keras.KerasTensor,
    filter: int,
    kernel: int | tuple[int, int],
    padding: str | int,
    stride: int | tuple[int, int],
    *,
    order: Order = "relu_bn",
    use_bias: bool = True,
    activation: Activation = "relu",
    kernel_initializer: Initializer = "glorot_uniform",
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    scale: bool = True,
    gamma_initializer: Initializer = "ones",
    beta_initializer: Initializer = "zeros",
    name: str | None = None,
) -> keras.KerasTensor:
    """Convolve, normalise over the batch and activate.

    Args:
        inputs: ``(batch, height, width, channels)``.
        filter: number of output channels.
        kernel: height and width of the kernel in pixels, or one number for both.
        padding: ``"same"``, ``"valid"``, or the number of zeros on each of the four sides. At a stride of 2, ``"same"``
            pads an even size only at its end, while PyTorch's networks pad both sides equally.
        stride: vertical and horizontal stride in pixels, or one number for both.
        order: ``"relu_bn"`` activates inside the convolution layer and normalises the result; ``"bn_relu"`` normalises
            and then activates, as in Ioffe & Szegedy (2015, https://arxiv.org/abs/1502.03167), section 3.2.
        use_bias: whether the convolution adds a bias. With ``"bn_relu"`` it has no effect, because the normalisation
            subtracts it again.
        activation: a Keras activation; ``None`` for none, as before a residual sum.
        kernel_initializer: a Keras initializer for the kernel.
        momentum: share of the moving mean and variance that each training step keeps.
        epsilon: added to the variance before its square root is taken.
        scale: whether the normalisation learns a scale (gamma). Between the convolutions of a ReLU network the next
            kernel can replace it.
        gamma_initializer: a Keras initializer for the normalisation's scale.
        beta_initializer: a Keras initializer for its shift. With ``"ones"`` and ``"bn_relu"`` most values pass the ReLU
            at first, so gradients do not grow from layer to layer in a deep network without shortcuts: Yang et al. 2019
            (https://arxiv.org/abs/1902.08129), section 4.
        name: name of the convolution layer; the others are ``<name>_pad``, ``<name>_bn`` and, with ``"bn_relu"``,
            ``<name>_<activation>``. Default: Keras numbers them.

    Returns:
        ``(batch, new_height, new_width, filter)``; with ``"same"`` padding the new sizes are the old ones divided by
        the stride and rounded up.

    Raises:
        UsageError: ``order`` has another value.
    """
    orders = get_args(Order)
    if order not in orders:
        raise UsageError(f"order must be 'relu_bn' or 'bn_relu'; got {order!r}.{suggestion(str(order), orders)}")
    activate_first = order == "relu_bn"
    if isinstance(padding, int):
        inputs = keras.layers.ZeroPadding2D(padding, name=layer_name(name, "pad"))(inputs)
        padding = "valid"
    outputs = keras.layers.Conv2D(
        filters=filter,
        kernel_size=kernel,
        padding=padding,
        strides=stride,
        activation=activation if activate_first else None,
        use_bias=use_bias,
        kernel_initializer=own_initializer(kernel_initializer),
        name=name,
    )(inputs)
    outputs = keras.layers.BatchNormalization(
        axis=channel_axis(),
        momentum=momentum,
        epsilon=epsilon,
        scale=scale,
        gamma_initializer=own_initializer(gamma_initializer),
        beta_initializer=own_initializer(beta_initializer),
        name=layer_name(name, "bn"),
    )(outputs)
    if activate_first or activation is None:
        return outputs
    return keras.layers.Activation(activation, name=layer_name(name, _activation_name(activation)))(outputs)


def channel_axis() -> int:
    """The axis of the channels under Keras' ``image_data_format``; convolutions and poolings follow that by themselves.

    `create_model` builds with channels last whatever the setting is. In a network of one's own a block has the setting.
    """
    return 1 if keras.config.image_data_format() == "channels_first" else -1


def layer_name(block: str | None, part: str) -> str | None:
    """``<block>_<part>``, or ``None`` for a block without a name: Keras then numbers the layer."""
    return f"{block}_{part}" if block else None


def _activation_name(activation: Activation) -> str:
    """The name of an activation in a layer's name; ``activation`` for a function without one."""
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", "")
    return name if name.isidentifier() else "activation"
