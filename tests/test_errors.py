from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from cnn_registry import errors, get_spec
from cnn_registry import testing as testing  # has errors of its own
from cnn_registry.data.sources.files import UnreadableImagesError
from cnn_registry.errors import CnnRegistryError, UsageError
from cnn_registry.text import one_line, suggestion

SEE = "See all with: cnnreg list"


@pytest.mark.parametrize(
    ("name", "candidates", "hint"),
    [
        ("vgg_16", ["alexnet", "vgg16"], " Did you mean 'vgg16'?"),
        ("VGG16", ["alexnet", "vgg16"], " Did you mean 'vgg16'?"),
        ("vgg1", ["vgg11", "vgg16"], " Did you mean 'vgg16' or 'vgg11'?"),
        ("alexnet", ["AlexNet"], " Did you mean 'AlexNet'?"),
        ("zebra", ["alexnet", "vgg16"], ""),
        ("", ["alexnet"], ""),
        ("vgg", [], ""),
    ],
)
def test_suggestion(name: str, candidates: Sequence[str], hint: str) -> None:
    assert suggestion(name, candidates) == hint


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\n  two"), "ValueError: one two"),
        (ValueError(), "ValueError"),
        (ValueError(" \n"), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (UnprintableError(), "UnprintableError: (its message cannot be printed)"),
    ],
)
def test_one_line(error: BaseException, line: str) -> None:
    assert one_line(error) == line


def test_one_line_is_short() -> None:
    line = one_line(ValueError("word " * 1000))
    assert len(line) <= 400
    assert line.endswith("word ...")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            errors.UnknownNameError("model", "vgg_16", ["vgg16", "b"], SEE),
            "There is no model 'vgg_16' (2 models are known). Did you mean 'vgg16'? See all with: cnnreg list",
        ),
        (
            errors.UnknownProviderError("model", "vgg16", "c", ["a", "b"], SEE),
            "No model 'vgg16' is provided by 'c'. Write 'a:vgg16' or 'b:vgg16'. See all with: cnnreg list",
        ),
        (
            errors.AmbiguousNameError("dataset", "digits", ["a", "session"]),
            "The dataset 'digits' is provided by a and by session. Write 'a:digits' or 'session:digits'.",
        ),
        (
            errors.AmbiguousAliasError("model", "vgg", ["vgg16", "vgg19"]),
            "'vgg' is an alias of 2 models. Write 'vgg16' or 'vgg19'.",
        ),
        (
            errors.DuplicateNameError("model", "vgg16", "a.py:1", "b.py:2"),
            "The model 'vgg16' is already registered by a.py:1, and b.py:2 registers it again. "
            "Rename one, or pass replace=True to replace the first.",
        ),
        (
            errors.UnknownOptionError("vgg16", ["widht", "b"], ["width", "depth"]),
            "vgg16 has no option 'widht', 'b'. Did you mean 'width'? It takes: depth, width.",
        ),
        (
            errors.ModelBuildError("vgg16", "for num_classes=2", "ValueError: no"),
            "vgg16 could not be built for num_classes=2: ValueError: no",
        ),
        (
            errors.BrokenPluginError("model", "vgg16", "cnnreg-vgg", "ImportError: no.", "Traceback"),
            "The model 'vgg16' of cnnreg-vgg is broken: ImportError: no. "
            "('cnnreg -v ...' shows the traceback; 'pip install --upgrade cnnreg-vgg' may fix it.)",
        ),
        (
            errors.MissingPackageError("Training", ["matplotlib"], "train"),
            "Training needs matplotlib, which is not installed. Install with: pip install 'cnn-registry[train]'",
        ),
        (
            errors.MissingPackageError("Reading a.pth", ["torch"], install="torch", reason="ImportError: no"),
            "Reading a.pth needs torch, which cannot be imported (ImportError: no). Install with: pip install torch",
        ),
        (
            errors.MissingPackageError("Training", ["matplotlib", "scikit-learn"], "train"),
            "Training needs matplotlib and scikit-learn, which are not installed. "
            "Install with: pip install 'cnn-registry[train]'",
        ),
        (
            errors.RunError.not_a_run(Path("runs/a")),
            "runs/a is not a run directory (no run.json found). Name one that 'cnnreg train' made.",
        ),
    ],
)
def test_messages(error: CnnRegistryError, message: str) -> None:
    assert str(error) == message


def test_every_error_has_the_one_base_and_an_exit_code() -> None:
    classes = [item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, Exception)]
    assert len(classes) > 10
    for kind in classes:
        assert issubclass(kind, CnnRegistryError)
        assert kind.__doc__
        assert kind.exit_code == (2 if issubclass(kind, UsageError) else 1)


def kinds(base: type[CnnRegistryError] = CnnRegistryError) -> set[type[CnnRegistryError]]:
    return {base, *(kind for subclass in base.__subclasses__() for kind in kinds(subclass))}


SAMPLES: dict[type[CnnRegistryError], tuple[object, ...]] = {
    errors.AmbiguousAliasError: ("model", "vgg", ["vgg16", "vgg19"]),
    errors.AmbiguousNameError: ("dataset", "digits", ["a", "b"]),
    errors.BadImageError: ("a.jpg", "it is truncated"),
    errors.BrokenPluginError: ("model", "vgg16", "cnnreg-vgg", "ImportError: no.", "Traceback"),
    errors.DuplicateNameError: ("model", "vgg16", "a.py:1", "b.py:2"),
    errors.MissingPackageError: ("Training", ["matplotlib"], "train"),
    errors.ModelBuildError: ("vgg16", "for num_classes=2", "ValueError: no"),
    errors.UnknownNameError: ("model", "vgg_16", ["vgg16"], SEE),
    errors.UnknownOptionError: ("vgg16", ["widht"], ["width"]),
    UnreadableImagesError: ("a.jpg", {3: "it is truncated"}),
    errors.UnknownProviderError: ("model", "vgg16", "c", ["a", "b"], SEE),
}


@pytest.mark.parametrize("kind", sorted(kinds(), key=str))
@pytest.mark.parametrize("through", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_every_error_survives_pickling_and_copying(
    kind: type[CnnRegistryError], through: Callable[[CnnRegistryError], CnnRegistryError]
) -> None:
    sample = next((SAMPLES[base] for base in kind.__mro__ if base in SAMPLES), ("It failed.",))
    error = kind(*sample)  # type: ignore[arg-type]  # each kind has arguments of its own
    error.add_note("epoch 3")
    same = through(error)
    assert type(same) is kind
    assert (str(same), same.args, vars(same)) == (str(error), error.args, vars(error))


def test_the_attributes_survive_pickling_as_well() -> None:
    broken = pickle.loads(pickle.dumps(errors.BrokenPluginError("model", "a", "b", "no.", "Traceback")))
    bad = pickle.loads(pickle.dumps(errors.BadImageError("a.jpg", "it is truncated")))
    assert (broken.details, bad.reason) == ("Traceback", "it is truncated")


def test_a_process_pool_passes_the_error_on() -> None:
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, context) as pool,
        pytest.raises(errors.UnknownNameError, match="no model 'no_such_net'"),
    ):
        pool.submit(get_spec, "no_such_net").result(timeout=60)


def test_errors_are_also_what_python_programmers_expect() -> None:
    assert issubclass(errors.UnknownNameError, KeyError)
    assert issubclass(errors.UnknownOptionError, TypeError)
    assert issubclass(errors.InputShapeError, ValueError)
    assert issubclass(errors.MissingPackageError, ImportError)
