"""What public functions say about arguments of a wrong type."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

import cnn_registry
from cnn_registry import data, explain, runs, testing
from cnn_registry.errors import UsageError
from cnn_registry.system.arguments import checked_arguments

DECORATORS = {cnn_registry.register_dataset, cnn_registry.register_model}
OF_ARRAYS = {explain.overlay}

FUNCTIONS: set[Any] = {
    function
    for module in (cnn_registry, data, explain, runs, testing)
    for function in (getattr(module, name) for name in module.__all__)
    if inspect.isfunction(function) and inspect.signature(function).parameters
} - (DECORATORS | OF_ARRAYS)

Part = Literal["first", "last"]


@checked_arguments
def example(
    name: str,
    part: Part | None = None,
    *,
    count: int = 1,
    share: float = 0.5,
    shown: bool = True,
    file: str | Path = "x",
    names: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    reasons: Mapping[str, Mapping[str, str]] | None = None,
    models: Iterable[str] = (),
    **options: Any,
) -> str:
    return f"{name} {part}"


@pytest.mark.parametrize("function", sorted(FUNCTIONS, key=str))
@pytest.mark.parametrize("value", [5, b"x", object()], ids=["integer", "bytes", "object"])
def test_no_public_function_starts_with_something_else(function: Callable[..., Any], value: object) -> None:
    first, *others = inspect.signature(function).parameters.values()
    needed = {other.name: None for other in others if other.default is other.empty and other.kind != other.VAR_KEYWORD}
    with pytest.raises(UsageError, match=rf"^({first.name} must be|The recipe) [^\n]+$"):
        function(value, **needed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": None}, "name must be a string; got None."),
        ({"part": "lst"}, "part must be 'first', 'last' or None; got 'lst'. Did you mean 'last'?"),
        ({"count": 1.5}, "count must be an integer; got 1.5."),
        ({"count": True}, "count must be an integer; got True."),
        ({"share": "half"}, "share must be a number; got 'half'."),
        ({"shown": "no"}, "shown must be True or False; got 'no'."),
        ({"file": 3}, "file must be a string or a path; got 3."),
        ({"names": "abc"}, "names must be a list (each entry a string); got 'abc'."),
        ({"names": ["a", 1]}, "names must be a list (each entry a string); got ['a', 1]."),
        ({"models": "abc"}, "models must be a list (each entry a string); got 'abc'."),
        ({"settings": ["epochs=1"]}, "settings must be a dict (each key a string) or None; got ['epochs=1']."),
        ({"settings": {1: 2}}, "settings must be a dict (each key a string) or None; got {1: 2}."),
        (
            {"reasons": {"a": ["b"]}},
            "reasons must be a dict (each key a string, each value a dict (each key a string, each value a string)) or "
            "None; got {'a': ['b']}.",
        ),
    ],
)
def test_the_message_says_what_was_expected_and_what_came(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        example(**{"name": "x", **arguments})
    assert str(caught.value) == message


def test_what_counts_as_the_type() -> None:
    wider: Callable[..., str] = example
    numpys: dict[str, Any] = {"count": np.int64(2), "share": np.float32(1), "shown": np.bool_(True)}
    assert wider("x", "last", file=Path("x"), names={"a"}, **numpys) == "x last"
    assert wider("x", None, share=1, models=iter(["a"]), settings={}, other=object()) == "x None"
    for names in (np.array(["a"]), {"a": 1}.keys()):
        assert wider("x", names=names) == "x None"


def test_a_call_that_python_refuses_is_left_to_it() -> None:
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'name'"):
        example()  # type: ignore[call-arg]


def test_what_ends_after_one_use_is_not_taken_for_a_sequence() -> None:
    with pytest.raises(UsageError, match=r"only must be a list \(each entry a string\); got <list_iterator"):
        testing.check_model("lenet5", only=iter(["gradients"]))  # type: ignore[arg-type]  # which is what is refused


def test_weights_that_do_not_exist_are_not_taken_for_others(trained: Path) -> None:
    uses: list[Callable[..., Any]] = [cnn_registry.load_model, cnn_registry.evaluate]
    for use in uses:
        with pytest.raises(UsageError, match=r"weights must be 'best' or 'last'; got 'lst'. Did you mean 'last'?"):
            use(trained, weights="lst")


def test_paths_are_given_as_strings_as_well(tmp_path: Path, trained: Path) -> None:
    folder = tmp_path / "photos"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(folder / name / "1.png")
    assert data.load_folder(str(folder)).ids == data.load_folder(folder).ids
    assert data.load_dataset(None, str(folder)).ids == data.load_folder(folder).ids
    assert runs.read_history(str(trained / "history.csv")) == runs.load_run(trained).history
