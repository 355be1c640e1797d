from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cnn_registry
from cnn_registry import Paper, backend, create_model, get_spec, list_models, register_model
from cnn_registry.errors import (
    AmbiguousAliasError,
    AmbiguousNameError,
    BrokenPluginError,
    DeclarationError,
    DuplicateNameError,
    InputShapeError,
    ModelBuildError,
    UnknownNameError,
    UnknownOptionError,
    UnknownProviderError,
    UsageError,
    WeightsError,
)
from cnn_registry.networks.build import build_model
from cnn_registry.registry.catalogue import Ambiguous
from cnn_registry.registry.discovery import MODELS
from cnn_registry.registry.models import describe_models

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

    Builder = Callable[..., Any]

PAPER = Paper(title="A tiny network", authors="Doe", year=2020, url="https://example.org")
FACTS: dict[str, Any] = {"family": "tiny", "summary": "A tiny network", "paper": PAPER, "trainable_params": 5112}


def tiny(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 4, activation: str | None = None) -> Any:
    keras = backend.keras()
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(width, 3)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation=activation)(x), name="tiny")


@pytest.fixture
def tiny_model(plugins: FakePlugins) -> str:
    register_model(**FACTS, min_size=3)(tiny)
    return "tiny"


def named(name: str) -> Builder:
    def build(input_shape: tuple[int, int, int], num_classes: int) -> Any:
        raise AssertionError("nobody builds this one")

    build.__name__ = build.__qualname__ = name
    return build


# --- declaring ---------------------------------------------------------------------------------------------------


def test_a_spec_is_complete(plugins: FakePlugins) -> None:
    declared = register_model(
        family="tiny",
        summary="A tiny network",
        paper=PAPER,
        trainable_params=100,
        non_trainable_params=8,
        input_shape=(64, 48, 1),
        min_size=3,
        default_recipe="article",
        recipe_settings={"article": {"optimizer.learning_rate": 1e-5}},
        aliases=("small",),
        deprecated=None,
    )(tiny)

    spec = get_spec("tiny")
    assert declared is tiny
    assert (spec.name, spec.family, spec.summary, spec.paper) == ("tiny", "tiny", "A tiny network", PAPER)
    assert (spec.input_shape, spec.min_size) == ((64, 48, 1), 3)
    assert (spec.trainable_params, spec.non_trainable_params, spec.total_params) == (100, 8, 108)
    assert spec.default_recipe == "article"
    assert spec.recipe_settings == {"article": {"optimizer.learning_rate": 1e-5}}
    assert (spec.aliases, spec.deprecated, spec.api_version) == (("small",), None, 1)
    assert spec.options == {"width": 4, "activation": None}
    assert spec.build is tiny
    assert spec.provider.object == f"{tiny.__module__}:tiny"
    assert (spec.provider.distribution, spec.provider.version) == (None, None)
    assert str(spec.provider) == "this session"


def test_an_installed_spec_says_what_provides_it(plugins: FakePlugins) -> None:
    plugins.install("Fake_Models", "fake1", version="2.3.1")
    provider = get_spec("fake1").provider
    assert (provider.distribution, provider.version, provider.object) == ("Fake_Models", "2.3.1", "fake_models:fake1")
    assert str(provider) == "Fake_Models 2.3.1"


def without_default(input_shape: Any, num_classes: Any, *, width: int) -> None: ...
def with_rest(input_shape: Any, num_classes: Any, *rest: Any) -> None: ...
def with_keywords(input_shape: Any, num_classes: Any, **rest: Any) -> None: ...
def other_names(shape: Any, num_classes: Any) -> None: ...
def other_order(num_classes: Any, input_shape: Any) -> None: ...
def positional_option(input_shape: Any, num_classes: Any, width: int = 3) -> None: ...


@pytest.mark.parametrize(
    "builder", [without_default, with_rest, with_keywords, other_names, other_order, positional_option]
)
def test_a_builder_of_another_form_is_refused(plugins: FakePlugins, builder: Builder) -> None:
    with pytest.raises(DeclarationError, match=rf"{builder.__name__} must have the signature \(input_shape, num_cl"):
        register_model(**FACTS)(builder)
    assert list_models() == []


def option_name(input_shape: Any, num_classes: Any, *, name: Any = None) -> None: ...
def option_weights(input_shape: Any, num_classes: Any, *, weights: Any = None) -> None: ...


@pytest.mark.parametrize(("builder", "option"), [(option_name, "name"), (option_weights, "weights")])
def test_an_option_that_create_model_takes_itself_is_refused(
    plugins: FakePlugins, builder: Builder, option: str
) -> None:
    with pytest.raises(DeclarationError, match=f"has an option '{option}', which create_model takes itself"):
        register_model(**FACTS)(builder)


@pytest.mark.parametrize(
    ("field", "value"),
    [("aliases", "small"), ("paper", "Doe 2020"), ("summary", None), ("input_shape", 224), ("api_version", "1")],
)
def test_a_field_of_a_wrong_type_is_refused(plugins: FakePlugins, field: str, value: Any) -> None:
    with pytest.raises(DeclarationError, match=f"{field} of 'tiny' must be of type .*; got {value!r}"):
        register_model(**FACTS | {field: value})(tiny)


def test_registering_twice_names_both_places(plugins: FakePlugins) -> None:
    @register_model(**FACTS)
    def twice(input_shape: tuple[int, int, int], num_classes: int) -> Any: ...

    second = named("twice")
    with pytest.raises(DuplicateNameError) as caught:
        register_model(**FACTS)(second)
    message = str(caught.value)
    for builder in (twice, second):
        assert f"{builder.__module__}:{builder.__qualname__} ({__file__}:{builder.__code__.co_firstlineno})" in message
    assert "replace=True" in message
    assert get_spec("twice").build is twice


def test_replace_takes_the_place_of_an_earlier_registration(plugins: FakePlugins) -> None:
    register_model(**FACTS)(named("twice"))
    second = named("twice")
    register_model(**FACTS, replace=True)(second)
    assert get_spec("twice").build is second
    assert list_models() == ["twice"]


def test_replace_takes_the_place_of_an_installed_model(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "fake1")
    mine = named("fake1")
    register_model(**FACTS, replace=True)(mine)
    assert get_spec("fake1").build is mine


# --- listing -----------------------------------------------------------------------------------------------------


def test_names_are_sorted_as_people_count(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net100", "net11", "net9", "Net10")
    register_model(**FACTS)(named("net9_bn"))
    assert list_models() == ["net9", "net9_bn", "Net10", "net11", "net100"]


def test_names_that_sort_alike_have_one_order(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net1", "Net1", "net01", "NET1")
    assert list_models() == ["NET1", "Net1", "net01", "net1"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (None, ["resnest2", "resnet1", "vgg11", "vgg16"]),
        ("vgg*", ["vgg11", "vgg16"]),
        ("*resne?t*", ["resnest2"]),
        ("vgg1[0-3]", ["vgg11"]),
        ("vgg", []),
    ],
)
def test_patterns(plugins: FakePlugins, pattern: str | None, found: list[str]) -> None:
    plugins.install("fake-a", "vgg11", "vgg16", "resnet1", "resnest2")
    assert list_models(pattern) == found
    assert [item.name for item in describe_models(pattern) if isinstance(item, cnn_registry.ModelSpec)] == found


def test_a_listing_imports_no_plugin(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "fake1")
    assert list_models() == ["fake1"]
    assert "fake_a" not in sys.modules


# --- looking up --------------------------------------------------------------------------------------------------


def test_an_unknown_name_suggests_and_says_how_to_see_all(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "vgg16", "vgg19", "alexnet")
    with pytest.raises(UnknownNameError) as caught:
        get_spec("vgg_16")
    assert str(caught.value) == (
        "There is no model 'vgg_16' (3 models are known). Did you mean 'vgg16' or 'vgg19'? See all with: cnnreg list"
    )
    with pytest.raises(KeyError):
        create_model("VGG_16")


@pytest.mark.parametrize(("count", "said"), [(0, "no model is installed"), (1, "1 model is known")])
def test_an_unknown_name_counts_the_known(plugins: FakePlugins, count: int, said: str) -> None:
    plugins.install("fake-a", *["zebra"][:count])
    with pytest.raises(UnknownNameError, match=rf"no model 'qqq' \({said}\)\. See all with: cnnreg list"):
        get_spec("qqq")


def test_two_distributions_with_one_name(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net", "other")
    plugins.install("fake-b", "net")
    assert list_models() == ["net", "other"]
    ambiguous, healthy = describe_models()
    assert isinstance(ambiguous, Ambiguous)
    assert (ambiguous.name, sorted(ambiguous.providers)) == ("net", ["fake-a", "fake-b"])
    assert isinstance(healthy, cnn_registry.ModelSpec)
    for use in (get_spec, create_model):
        with pytest.raises(AmbiguousNameError, match=r"Write 'fake-.:net' or 'fake-.:net'"):
            use("net")
    assert get_spec("fake-a:net").provider.distribution == "fake-a"
    assert get_spec("Fake_B:net").provider.object == "fake_b:net"
    assert get_spec("fake-a:other") == get_spec("other")


def test_an_unknown_distribution_lists_those_that_provide_the_name(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net")
    register_model(**FACTS)(named("net"))
    with pytest.raises(UnknownProviderError) as caught:
        get_spec("fake-c:net")
    assert str(caught.value) == (
        "No model 'net' is provided by 'fake-c'. Write 'fake-a:net' or 'session:net'. See all with: cnnreg list"
    )


def test_an_unknown_name_after_a_distribution_is_suggested_without_it(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "vgg16")
    with pytest.raises(UnknownNameError, match=r"no model 'vgg_16' .* Did you mean 'vgg16'"):
        get_spec("fake-a:vgg_16")


def test_the_session_counts_as_a_provider(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net")
    mine = named("net")
    register_model(**FACTS)(mine)
    with pytest.raises(
        AmbiguousNameError, match=r"provided by fake-a and by session\. Write 'fake-a:net' or 'session:net'"
    ):
        get_spec("net")
    assert get_spec("session:net").build is mine
    assert get_spec("fake-a:net").build is not mine


def test_a_plugin_that_the_user_imported_is_not_ambiguous_with_itself(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net")
    fake_a = import_module("fake_a")

    spec = get_spec("net")
    assert spec.build is fake_a.net
    assert spec.provider.distribution == "fake-a"


def test_nor_is_one_whose_entry_point_names_a_second_home(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net", entries={})
    plugins.install("fake-b", source="from fake_a import net", entries={"net": "fake_b:net"})
    fake_b = import_module("fake_b")

    assert get_spec("net").build is fake_b.net
    assert get_spec("net").provider.distribution == "fake-b"


def test_importing_a_plugin_for_its_entry_point_registers_nothing_else(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "published", "private", entries={"published": "fake_a:published"})
    assert get_spec("published").name == "published"
    assert list_models() == ["published"]
    with pytest.raises(UnknownNameError):
        get_spec("private")


def test_an_alias_finds_its_model(plugins: FakePlugins) -> None:
    plugins.install(
        "fake-a", source=plugins.declaration("net", aliases=("network", "n")), entries={"net": "fake_a:net"}
    )
    plugins.install("fake-b", source="raise RuntimeError", entries={"aaa": "fake_b:aaa"})
    assert get_spec("network").name == "net"
    assert list_models() == ["aaa", "net"]


def test_a_name_comes_before_an_alias(plugins: FakePlugins) -> None:
    register_model(**FACTS)(named("net"))
    register_model(**FACTS, aliases=("net",))(named("other"))
    assert get_spec("net").name == "net"


def test_an_alias_of_two_models_is_refused(plugins: FakePlugins) -> None:
    for name in ("net1", "net2"):
        register_model(**FACTS, aliases=("net",))(named(name))
    with pytest.raises(AmbiguousAliasError, match=r"'net' is an alias of 2 models\. Write 'net1' or 'net2'\."):
        get_spec("net")


def test_an_alias_of_a_model_that_two_packages_provide_is_refused(plugins: FakePlugins) -> None:
    for name in ("fake-a", "fake-b"):
        module = name.replace("-", "_")
        plugins.install(name, source=plugins.declaration("net", aliases=("n",)), entries={"net": f"{module}:net"})
    register_model(**FACTS, aliases=("n",))(named("other"))
    with pytest.raises(
        AmbiguousAliasError, match=r"'n' is an alias of 3 models\. Write 'fake-a:net', 'fake-b:net' or 'other'"
    ):
        get_spec("n")


def test_an_alias_leads_to_the_one_of_two_packages_that_has_it(plugins: FakePlugins) -> None:
    plugins.install("fake-a", source=plugins.declaration("net", aliases=("n",)), entries={"net": "fake_a:net"})
    plugins.install("fake-b", source=plugins.declaration("net"), entries={"net": "fake_b:net"})
    assert get_spec("n").provider.distribution == "fake-a"


def test_strict_policy_stops_the_search_for_an_alias_at_a_broken_plugin(
    plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_model(**FACTS, aliases=("network",))(named("net"))
    plugins.install("fake-b", source="raise RuntimeError('no luck')", entries={"aaa": "fake_b:aaa"})
    monkeypatch.setenv("CNNREG_STRICT_PLUGINS", "1")
    assert get_spec("net").name == "net"
    with pytest.raises(BrokenPluginError, match="The model 'aaa' of fake-b is broken: RuntimeError: no luck"):
        get_spec("network")


@pytest.mark.parametrize("use", [get_spec, lambda name: create_model(name, num_classes=2, input_shape=(8, 8, 3))])
def test_a_deprecated_model_warns_where_it_is_used_and_names_its_replacement(plugins: FakePlugins, use: Any) -> None:
    register_model(**FACTS, deprecated="tiny2")(tiny)
    with pytest.warns(FutureWarning, match="The model 'tiny' is deprecated; use 'tiny2'") as caught:
        use("tiny")
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name]


def test_a_spec_is_built_without_a_second_lookup_or_warning(plugins: FakePlugins) -> None:
    register_model(**FACTS, deprecated="tiny2")(tiny)
    with pytest.warns(FutureWarning) as caught:
        spec = get_spec("tiny")
    assert build_model(spec, num_classes=5, input_shape=(8, 8, 3)).output_shape == (None, 5)
    assert len(caught) == 1


def test_a_listing_does_not_warn_of_what_is_deprecated(plugins: FakePlugins) -> None:
    register_model(**FACTS, deprecated="tiny2")(tiny)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (spec,) = describe_models()
    assert isinstance(spec, cnn_registry.ModelSpec)
    assert spec.deprecated == "tiny2"


# --- building ----------------------------------------------------------------------------------------------------


def test_create_model_passes_everything_on(tiny_model: str) -> None:
    model = create_model(tiny_model, num_classes=7, input_shape=(20, 12, 1), width=3, activation="softmax")
    assert model.input_shape == (None, 20, 12, 1)
    assert model.output_shape == (None, 7)
    assert model.layers[1].filters == 3
    assert model.layers[-1].activation is backend.keras().activations.softmax


def test_create_model_has_the_papers_defaults(tiny_model: str) -> None:
    model = create_model(tiny_model)
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 1000)
    assert model.count_params() == get_spec(tiny_model).total_params


def test_an_installed_model_is_built(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net")
    assert create_model("fake-a:net", num_classes=2, width=5).layers[1].filters == 5


def test_numbers_from_numpy_are_numbers(tiny_model: str) -> None:
    images = np.zeros((1, 9, 8, 3))
    labels = np.array([0, 4])
    model = create_model(tiny_model, num_classes=labels.max() + 1, input_shape=images.shape[1:])
    assert model(images).shape == (1, 5)


def test_an_unknown_option_is_named_with_a_suggestion(tiny_model: str) -> None:
    with pytest.raises(UnknownOptionError) as caught:
        create_model(tiny_model, widht=3)
    assert str(caught.value) == "tiny has no option 'widht'. Did you mean 'width'? It takes: activation, width."
    with pytest.raises(TypeError):
        create_model(tiny_model, depth=3, width=3)


def test_a_model_without_options_says_so(plugins: FakePlugins) -> None:
    register_model(**FACTS)(named("plain"))
    with pytest.raises(UnknownOptionError, match=r"plain has no option 'width'\. It takes no options\."):
        create_model("plain", width=3)


@pytest.mark.parametrize(
    "shape", [224, (224, 224), (224, 224, 3, 1), (0, 9, 3), (9, 9, -1), (9.0, 9, 3), (True, 9, 3), "abc", (9, 9, None)]
)
def test_a_malformed_shape_is_refused(tiny_model: str, shape: Any) -> None:
    with pytest.raises(InputShapeError, match=r"must be \(height, width, channels\), three positive integers; got"):
        create_model(tiny_model, input_shape=shape)


def test_a_shape_may_be_a_list(tiny_model: str) -> None:
    assert create_model(tiny_model, input_shape=[8, 9, 3]).input_shape == (None, 8, 9, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), [(2, 40), (40, 2)])
def test_a_size_that_is_too_small_is_refused(tiny_model: str, height: int, width: int) -> None:
    with pytest.raises(InputShapeError, match=f"tiny needs images of at least 3x3 pixels; got {height}x{width}."):
        create_model(tiny_model, input_shape=(height, width, 3))


@pytest.mark.parametrize("count", [0, -1, 2.5, "7", None, True])
def test_an_invalid_number_of_classes_is_refused(tiny_model: str, count: Any) -> None:
    with pytest.raises(UsageError, match=rf"num_classes must be an? (positive )?integer; got {count!r}"):
        create_model(tiny_model, num_classes=count)


def test_bad_requests_are_refused_before_keras_is_imported(run_python: Any) -> None:
    code = """
import sys, cnn_registry
from cnn_registry import errors
@cnn_registry.register_model(family="f", summary="s", paper=cnn_registry.Paper("t", "a", 2020, "u"), trainable_params=1)
def net(input_shape, num_classes): ...
for bad in ({"num_classes": 0}, {"input_shape": (1, 2)}, {"width": 3}, {"weights": "no.weights.h5"}):
    try:
        cnn_registry.create_model("net", **bad)
    except errors.UsageError as error:
        print(type(error).__name__, "keras" in sys.modules)
"""
    done = run_python("-c", code)
    expected = ["UsageError False", "InputShapeError False", "UnknownOptionError False", "UsageError False"]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


def test_a_builder_that_fails_is_blamed(plugins: FakePlugins) -> None:
    register_model(**FACTS)(named("failing"))
    expected = (
        r"failing could not be built for input_shape=\(8, 8, 3\), num_classes=2: AssertionError: nobody builds this one"
    )
    with pytest.raises(ModelBuildError, match=expected) as caught:
        create_model("failing", num_classes=2, input_shape=(8, 8, 3))
    assert isinstance(caught.value.__cause__, AssertionError)


def test_a_layer_that_does_not_fit_is_the_models_fault(plugins: FakePlugins) -> None:
    register_model(**FACTS)(tiny)
    with pytest.raises(
        ModelBuildError, match=r"tiny could not be built for input_shape=\(2, 2, 3\).*ValueError"
    ) as caught:
        create_model("tiny", input_shape=(2, 2, 3))
    assert "\n" not in str(caught.value)


def test_a_builders_own_usage_error_comes_through(plugins: FakePlugins) -> None:
    @register_model(**FACTS)
    def picky(input_shape: tuple[int, int, int], num_classes: int, *, variant: str = "a") -> Any:
        raise InputShapeError("picky takes square images only.")

    with pytest.raises(InputShapeError, match=r"^picky takes square images only\.$"):
        create_model("picky")


def test_a_builder_must_return_a_model(plugins: FakePlugins) -> None:
    @register_model(**FACTS)
    def forgetful(input_shape: tuple[int, int, int], num_classes: int) -> Any:
        return None

    with pytest.raises(ModelBuildError, match=r"its builder returned NoneType, not a keras\.Model"):
        create_model("forgetful")


# --- weights -----------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tiny_model: str, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.weights.h5"
    create_model(tiny_model, num_classes=3, input_shape=(8, 8, 3)).save_weights(path)
    return path


def test_saved_weights_come_back(tiny_model: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.weights.h5"
    first = create_model(tiny_model, num_classes=3, input_shape=(8, 8, 3))
    first.save_weights(path)
    for weights in (path, str(path)):
        again = create_model(tiny_model, num_classes=3, input_shape=(12, 9, 3), weights=weights)
        for expected, loaded in zip(first.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(loaded, expected)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("missing.weights.h5", r"There is no weights file missing\.weights\.h5"),
        ("model.keras", r"ends in \.weights\.h5"),
    ],
)
def test_a_weights_file_must_be_there_and_be_one(tiny_model: str, weights: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(tiny_model, weights=weights)


def test_a_folder_is_not_a_weights_file(tiny_model: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder.weights.h5"
    folder.mkdir()
    with pytest.raises(UsageError, match="There is no weights file"):
        create_model(tiny_model, weights=folder)


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        create_model("tiny", **{"num_classes": 3, "input_shape": (8, 8, 3), "weights": path, **options})
    message = str(caught.value)
    assert message.startswith(f"{path} does not fit tiny with these classes and options, or is damaged: ")
    assert "\n" not in message
    return message


def test_weights_of_another_form_are_refused(saved: Path) -> None:
    assert "could not be loaded" in refused(saved, width=5)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_truncated_weights_are_refused(saved: Path, kept: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content))])
    refused(saved)


def test_corrupt_weights_are_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes().replace(b"TREE", b"EERT").replace(b"HEAP", b"PAEH"))
    refused(saved)


def test_another_kind_of_file_is_refused(tiny_model: str, tmp_path: Path) -> None:
    path = tmp_path / "page.weights.h5"
    path.write_text("<html>Not found</html>")
    refused(path)


def test_weights_of_another_network_are_refused(tiny_model: str, tmp_path: Path) -> None:
    keras = backend.keras()
    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(path)
    refused(path)


def test_the_package_offers_the_registry_by_its_public_names() -> None:
    assert cnn_registry.create_model is create_model
    assert MODELS == "cnn_registry.models"
    with pytest.raises(AttributeError, match="has no attribute 'creat_model'"):
        _ = cnn_registry.creat_model
