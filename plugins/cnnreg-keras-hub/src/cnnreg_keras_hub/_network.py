"""From a preset to a network of one level, which takes pixels from 0 to 1."""

from __future__ import annotations

import difflib
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_hub

from cnn_registry.errors import DownloadError, UsageError

from ._presets import PRESETS

RESNET_18: dict[str, Any] = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 128, 256, 512],
    "stackwise_num_blocks": [2, 2, 2, 2],
    "stackwise_num_strides": [1, 2, 2, 2],
    "block_type": "basic_block",
    "use_pre_activation": False,
}
"""The form of the default preset, so that it needs no download without its weights."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which the default preset takes its pixels with."""

FEATURES = "features"
"""The layer whose output is the last map of the backbone."""


def build(
    preset: str, input_shape: tuple[int, int, int], num_classes: int, *, classifier_activation: str | None
) -> keras.Model:
    """Build the classifier of a preset with random weights."""
    options = {"num_classes": num_classes, "activation": classifier_activation}
    if preset == "resnet_18_imagenet":
        backbone = keras_hub.models.ResNetBackbone(**RESNET_18, image_shape=input_shape)
        classifier = keras_hub.models.ResNetImageClassifier(backbone, **options)
        scale, offset = [1 / s for s in DEVIATION], [-m / s for m, s in zip(MEAN, DEVIATION, strict=True)]
    else:
        classifier = _loaded(preset, load_weights=False, image_shape=input_shape, **options)
        scale, offset = _scaling(classifier)
    return _flat(classifier, input_shape, scale, offset)[0]


def trained(preset: str) -> keras.Model:
    """The classifier of a preset with its weights, in the form of `build`."""
    classifier = _loaded(preset, activation="softmax")
    size = classifier.preprocessor.image_converter.image_size if classifier.preprocessor else None
    height, width = size or (224, 224)
    network, pairs = _flat(classifier, (height, width, 3), *_scaling(classifier))
    for theirs, ours in pairs:
        ours.set_weights(theirs.get_weights())
    return network


def _loaded(preset: str, **options: Any) -> Any:
    """A classifier of keras-hub.

    Raises:
        UsageError: there is no such preset.
        DownloadError: it could not be loaded.
    """
    is_folder = Path(preset).is_dir()
    if preset not in PRESETS and not is_folder:
        raise UsageError(
            f"keras-hub has no image classification preset {preset!r}, and it is not a folder."
            f"{_suggestion(preset)} See: cnnreg info keras_hub."
        )
    if not is_folder:
        print(f"The preset {preset} of keras-hub is downloaded, unless keras-hub has it already.", file=sys.stderr)
    try:
        return keras_hub.models.ImageClassifier.from_preset(preset, **options)
    except OSError as error:  # also of the HTTP libraries that download
        raise DownloadError(
            f"The preset {preset} of keras-hub could not be loaded: {' '.join(str(error).split())}"
        ) from error


def _suggestion(preset: str) -> str:
    """The preset that was probably meant, as the end of a message."""
    near = difflib.get_close_matches(preset, PRESETS, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _scaling(classifier: Any) -> tuple[Any, Any]:
    """What pixels from 0 to 1 are multiplied by, and what is added then."""
    converter = getattr(classifier.preprocessor, "image_converter", None)
    scale, offset = getattr(converter, "scale", None), getattr(converter, "offset", None)
    return _times(1.0 if scale is None else scale, 255.0), _times(0.0 if offset is None else offset, 1.0)


def _times(values: Any, factor: float) -> Any:
    if isinstance(values, Sequence):
        return [float(value) * factor for value in values]
    return float(values) * factor


def _flat(
    classifier: Any, input_shape: tuple[int, int, int], scale: Any, offset: Any
) -> tuple[keras.Model, list[tuple[Any, Any]]]:
    """The classifier with the layers of its backbone among its own, and pairs of layers: theirs, and ours for it."""
    inputs, backbone, again = keras.Input(input_shape), classifier.backbone, _Again()
    scaled = keras.layers.Rescaling(scale, offset, name="scaling")(inputs)

    def on_scaled(layer: Any, *arguments: Any, **options: Any) -> Any:
        return layer(*(scaled if each is inputs else each for each in arguments), **options)

    def inline(layer: Any, *arguments: Any, **options: Any) -> Any:
        if layer is not backbone:
            return layer(*arguments, **options)
        body = keras.models.clone_model(backbone, inputs, clone_function=again, call_function=on_scaled)
        return keras.layers.Activation("linear", name=FEATURES)(body.output)

    whole = keras.models.clone_model(
        classifier,
        inputs,
        clone_function=lambda layer: backbone if layer is backbone else again(layer),
        call_function=inline,
    )
    return keras.Model(inputs, whole.output, name="keras_hub"), list(again.made.values())


class _Again:
    """Makes layers again, with numbers that begin at the network's first layer of a kind.

    Keras numbers layers without a name by what was built before.

    Attributes:
        made: each layer and the one made for it, by the first one's identity.
    """

    def __init__(self) -> None:
        self.made: dict[int, tuple[Any, Any]] = {}
        self._counts: Counter[str] = Counter()

    def __call__(self, layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return layer
        if id(layer) not in self.made:
            kind, name = _snake_case(type(layer).__name__), layer.name
            if re.fullmatch(rf"{kind}(_\d+)?", name):
                name = f"{kind}_{self._counts[kind]}" if self._counts[kind] else kind
                self._counts[kind] += 1
            self.made[id(layer)] = layer, type(layer).from_config(layer.get_config() | {"name": name})
        return self.made[id(layer)][1]


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
