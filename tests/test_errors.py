from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import pytest

from cnn_registry import errors
from cnn_registry.errors import CnnRegistryError, UsageError
from cnn_registry.text import one_line, suggestion

SEE = "See all with: cnnreg list"


@pytest.mark.parametrize(
    ("name", "candidates", "said"),
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
def test_suggestion(name: str, candidates: Sequence[str], said: str) -> None:
    assert suggestion(name, candidates) == said


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


def test_one_line_is_not_endless() -> None:
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
            errors.AmbiguousNameError("data set", "digits", ["a", "session"]),
            "The data set 'digits' is provided by a and by session. Write 'a:digits' or 'session:digits'.",
        ),
        (
            errors.AmbiguousAliasError("model", "vgg", ["vgg16", "vgg19"]),
            "'vgg' is an alias of 2 models. Write 'vgg16' or 'vgg19'.",
        ),
        (
            errors.DuplicateNameError("model", "vgg16", "a.py:1", "b.py:2"),
            "The model 'vgg16' is registered already, by a.py:1; now b.py:2 registers it again. "
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
            "('cnnreg -v ...' shows the traceback; 'pip install --upgrade cnnreg-vgg' may mend it.)",
        ),
        (
            errors.RunError.not_a_run(Path("runs/a")),
            "runs/a is no run directory: expected a 'run.json' in it, as 'cnnreg train' writes it.",
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


def test_errors_are_also_what_python_programmers_expect() -> None:
    assert issubclass(errors.UnknownNameError, KeyError)
    assert issubclass(errors.UnknownOptionError, TypeError)
    assert issubclass(errors.InputShapeError, ValueError)
