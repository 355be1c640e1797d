"""The process in which saved models are read again. It imports Keras once, and answers for one model after another.

A model is never built there before the question about it, so whatever it needs must come from its files and from the
import of its module. One process for all models saves the seconds that importing TensorFlow takes for each.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from cnn_registry import backend
from cnn_registry.backend import keras_internals
from cnn_registry.errors import ModelBuildError
from cnn_registry.networks.build import create_model
from cnn_registry.networks.weights.keras_file import load_exactly
from cnn_registry.registry.current import refresh, use_policy
from cnn_registry.registry.policy import Policy
from cnn_registry.system.garbage import exempt_imports
from cnn_registry.text import one_line

from .processes import IMAGES, KERAS_FILE, WEIGHTS_FILE


def main() -> None:
    """Answer each line of standard input with a line of standard output, both JSON, until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what plugins print is not an answer
    for line in sys.stdin:
        _tell(answers, _answer(json.loads(line)))


def _tell(answers: TextIO, answer: dict[str, str]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _answer(question: dict[str, Any]) -> dict[str, str]:
    """Faults by what was tried: ``backend``, ``import``, ``weights``, ``keras``. Outputs go into the folder."""
    sys.path[:] = question["paths"]
    allow, deny = question["policy"]
    use_policy(Policy(None if allow is None else frozenset(allow), frozenset(deny)))
    refresh()
    folder = Path(question["folder"])
    images = np.load(folder / IMAGES)
    try:
        keras = backend.keras()
    except Exception as error:  # an installed backend that does not work
        return {"backend": one_line(error)}
    try:
        importlib.import_module(question["module"])
    except Exception as error:  # the plugin's code, like everything below
        return {"import": one_line(error)}
    faults = {}
    try:
        form = {"input_shape": tuple(question["input_shape"]), "num_classes": question["num_classes"]}
        _save_outputs(folder / "weights.npy", _built(question["name"], folder / WEIGHTS_FILE, form), images)
    except Exception as error:
        faults["weights"] = one_line(error)
    if not (folder / KERAS_FILE).exists():
        return faults
    try:
        _save_outputs(folder / "keras.npy", keras.saving.load_model(folder / KERAS_FILE, compile=False), images)
    except Exception as error:
        faults["keras"] = one_line(error)
    return faults


def _built(name: str, weights: Path, form: dict[str, Any]) -> Any:
    """The network with the saved weights.

    Initial values are not drawn where the network can be built without: JAX compiles each initializer for each shape,
    which takes half a minute for an Inception network.
    """
    if keras_internals.variables_can_wait():
        with suppress(ModelBuildError):  # some builders use the values of variables
            with keras_internals.declared_variables() as declared:
                model = create_model(name, **form)
            if not declared.has_values:
                keras_internals.make_variables(declared.variables, _zeros)
                load_exactly(model, weights)
                return model
    return create_model(name, weights=weights, **form)


def _zeros(shape: tuple[int, ...], dtype: str) -> Any:
    return backend.keras().ops.convert_to_tensor(np.zeros(shape, np.float32), dtype)


def _save_outputs(path: Path, model: Any, images: np.ndarray) -> None:
    keras = backend.keras()
    if keras.backend.backend() == "jax":  # it compiles a whole network sooner than each operation by itself
        outputs = model.predict_on_batch(images)
    else:
        outputs = keras.ops.convert_to_numpy(model(images, training=False))
    np.save(path, np.asarray(outputs, np.float32))


if __name__ == "__main__":
    exempt_imports()
    main()
