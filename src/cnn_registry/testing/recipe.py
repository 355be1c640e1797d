"""Check that a model trains with its own default recipe."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cnn_registry import backend
from cnn_registry.errors import CnnRegistryError
from cnn_registry.system.progress import muted
from cnn_registry.training.options import RunOptions
from cnn_registry.workflows.options import check_run_options
from cnn_registry.workflows.plan import Request
from cnn_registry.workflows.train import train_new

from .learning import finite_gradients
from .outcome import CheckSkipped, failed
from .outputs import require_probabilities
from .subject import SEED, SMALL_CLASSES, Subject

PICTURES = 8
"""Number of images per class: three steps, and one image per class for validation at least."""

SETTINGS: dict[str, Any] = {
    "epochs": 1,
    "batch_size": PICTURES,
    "train_sizes": [],
    "decode_size": None,
    "fine_tuning.weights": None,
}
"""What makes any recipe small. All else is the model's own: learning rate, schedule, augmentation, options."""


def check_trains(subject: Subject) -> None:
    """Three steps of its own default recipe keep the loss finite and change the weights."""
    spec, keras = subject.spec, backend.keras()
    height, width, _ = subject.small_shape
    if keras.backend.backend() != "tensorflow":
        raise CheckSkipped("training needs Keras on TensorFlow")
    require_probabilities(subject)
    finite_gradients(subject)
    subject.graph((height, width, 3))  # training passes RGB images
    seen: dict[str, Any] = {}

    def weights() -> list[np.ndarray]:
        return [np.array(weight) for weight in watch.model.trainable_weights]

    watch = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.update(before=weights()),
        on_epoch_end=lambda epoch, logs: seen.update(after=weights(), logs=logs),
    )
    what = f"three steps of the recipe {spec.default_recipe!r} with its settings for {spec.name}"
    fix = "Correct default_recipe or recipe_settings; a lower learning rate or a longer warm-up may help."
    with TemporaryDirectory(prefix="cnnreg-check-") as name, muted():
        folder = Path(name)
        _draw(folder / "pictures", height, width)
        request = Request(spec, data=folder / "pictures", settings=SETTINGS | {"image_size": [height, width]})
        options = RunOptions([watch], report=False)
        try:
            check_run_options(options)
            train_new(request, options, folder / "runs", "none", keep_images=False)
        except CnnRegistryError as error:
            raise failed(what, str(error), fix) from error
    if "logs" not in seen:
        raise KeyboardInterrupt  # a signal stopped the training, which ends such a run without an error
    if bad := [f"{name} {value}" for name, value in seen["logs"].items() if not np.isfinite(value)]:
        raise failed(f"finite figures after {what}", ", ".join(bad), fix)
    if all(map(np.array_equal, seen["before"], seen["after"])):
        raise failed(f"other weights after {what}", "the same", fix)


def _draw(root: Path, height: int, width: int) -> None:
    """Write a folder of class folders with images of coarse noise."""
    from PIL import Image

    random = np.random.default_rng(SEED)
    for label in range(SMALL_CLASSES):
        (root / f"class-{label}").mkdir(parents=True)
        for number in range(PICTURES):
            pixels = random.integers(0, 256, (4, 4, 3), np.uint8)
            image = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
            image.save(root / f"class-{label}" / f"{number}.png")
