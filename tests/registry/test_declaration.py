"""A declaration that is wrong stops itself, and nothing else."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

import pytest

from cnn_registry import Feature, Paper, Pretrained, get_spec, list_models, register_dataset, register_model
from cnn_registry.errors import BrokenPluginError, DeclarationError
from cnn_registry.registry.datasets import list_datasets

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

PAPER = Paper(title="A tiny network", authors="Doe", year=2020, url="https://example.org")
FACTS: dict[str, Any] = {"family": "tiny", "summary": "A tiny network", "paper": PAPER, "trainable_params": 5112}
TEXTS = {"family": "'f'", "summary": "'s'", "paper": "cnn_registry.Paper('t', 'a', 2020, 'u')", "trainable_params": "1"}


def net(input_shape: Any, num_classes: Any) -> None: ...


def declared(decorator: str) -> str:
    return f"\n@cnn_registry.{decorator}\ndef bad(input_shape, num_classes): ...\n"


def call(*, without: tuple[str, ...] = (), **more: str) -> str:
    given = {name: text for name, text in TEXTS.items() if name not in without} | more
    return f"register_model({', '.join(f'{name}={text}' for name, text in given.items())})"


@pytest.mark.parametrize(
    ("decorator", "reason"),
    [
        (call(without=("paper",)), "register_model() of 'bad' in fake_nets lacks 'paper'."),
        (call(without=("family", "paper")), "register_model() of 'bad' in fake_nets lacks 'family', 'paper'."),
        (
            call(without=("family",), famly="'f'"),
            "register_model() of 'bad' in fake_nets lacks 'family' and has no parameter 'famly'. Did you mean 'family'",
        ),
        (call(min_sizes="3"), "register_model() of 'bad' in fake_nets has no parameter 'min_sizes'. Did you mean 'min"),
        ("register_model('f', 's')", "register_model() of 'bad' in fake_nets lacks 'family', 'summary', 'paper', 'tra"),
        ("register_model", "register_model() of 'bad' in fake_nets lacks 'family', 'summary', 'paper', 'trainable_par"),
        (call(trainable_params="'5 M'"), "trainable_params of 'bad' must be of type int; got '5 M'."),
        (call(features="{'stride8': ('c1', (4, 4, 4))}"), "features['stride8'] of 'bad' must be of type Feature; got "),
        (call(options="{}"), "register_model() of 'bad' in fake_nets has no parameter 'options'."),
    ],
)
def test_only_what_is_wrong_is_broken(plugins: FakePlugins, decorator: str, reason: str) -> None:
    source = plugins.declaration("good1") + declared(decorator) + plugins.declaration("good2")
    entries = {name: f"fake_nets:{name}" for name in ("good1", "bad", "good2")}
    plugins.install("fake-nets", source=source, entries=entries)
    assert get_spec("good1").provider.distribution == get_spec("good2").provider.distribution == "fake-nets"
    with pytest.raises(BrokenPluginError) as caught:
        get_spec("bad")
    assert str(caught.value).startswith(f"The model 'bad' of fake-nets is broken: {reason}")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"famly": "f"}, r"register_model\(\) of 'net' in .* has no parameter 'famly'\. Did you mean 'family'"),
        ({"aliases": ("a", 3)}, "each item in aliases of 'net' must be of type str; got 3"),
        (
            FACTS | {"features": {3: Feature("c", (1, 1, 1))}},
            "each key in features of 'net' must be of type str",
        ),
        ({"features": {"a": Feature("c", cast(Any, (1, 1)))}}, r"shape of the feature 'a' of 'net' must be \(h"),
        ({"aux_heads": {"aux": "0.3"}}, r"aux_heads\['aux'\] of 'net' must be of type int \| float; got '0.3'"),
        ({"recipe_settings": {"default": 3}}, r"recipe_settings\['default'\] of 'net' must be of type Mapping"),
        ({"weights": {"w": "https://x"}}, r"weights\['w'\] of 'net' must be of type Pretrained; got 'https"),
        ({"macs": "x" * 5000}, r"^macs of 'net' must be of type int; got .{200}\.$"),
        ({"min_size": True}, "min_size of 'net' must be of type int; got True"),
        ({"min_size": 0}, "min_size of 'net' must be at least 1 pixel; got 0."),
        (
            FACTS | {"input_shape": (8, 8, 3.0)},
            r"input_shape of 'net' must be \(height, width, channels\); got \(8, 8, 3",
        ),
    ],
)
def test_in_ones_own_script_it_is_an_error(plugins: FakePlugins, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(DeclarationError, match=reason):
        register_model(**FACTS | given)(net)
    assert list_models() == []


def test_the_form_of_pixels_is_one_of_four(plugins: FakePlugins) -> None:
    weights = {"w": Pretrained("m:f", dict, "zero_one")}  # type: ignore[arg-type]
    with pytest.raises(
        DeclarationError, match=r"pixels of the weights 'w' of 'net' must be 'unit', .* or 'caffe'; got 'zero_one'\."
    ):
        register_model(**FACTS, weights=weights)(net)


def test_only_functions_can_be_decorated(plugins: FakePlugins) -> None:
    with pytest.raises(DeclarationError, match="register_model decorates a function; got 3"):
        register_model(**FACTS)(3)  # type: ignore[type-var]


def test_a_script_that_gives_nothing_gets_a_list_of_what_is_needed(plugins: FakePlugins) -> None:
    with pytest.raises(DeclarationError, match=r"^register_model\(\) of 'net' in \S*test_declaration lacks 'fami"):
        register_model()(net)  # type: ignore[call-arg]


def test_a_dataset_that_lacks_an_argument(plugins: FakePlugins) -> None:
    def shapes(source: Any) -> None: ...

    with pytest.raises(DeclarationError, match=r"register_dataset\(\) of 'shapes' in .* lacks 'num_classes', 'num_ima"):
        register_dataset(summary="Shapes")(shapes)  # type: ignore[call-arg]
    assert "shapes" not in list_datasets()


def test_the_functions_keep_their_signature_and_their_text() -> None:
    for function in (register_model, register_dataset):
        assert {"summary", "aliases", "deprecated_aliases"} <= inspect.signature(function).parameters.keys()
        assert (inspect.getdoc(function) or "").startswith("Declare a ")
