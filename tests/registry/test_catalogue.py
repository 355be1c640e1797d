from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cnn_registry.errors import (
    AmbiguousAliasError,
    AmbiguousNameError,
    BrokenPluginError,
    DuplicateNameError,
    UnknownNameError,
)
from cnn_registry.registry.catalogue import Ambiguous, Catalogue
from cnn_registry.registry.discovery import DATASETS, MODELS, Plugins
from cnn_registry.registry.entries import Broken
from cnn_registry.registry.spec import ModelSpec, Provider, Spec
from cnn_registry.text import natural_key

if TYPE_CHECKING:
    from tests.conftest import FakePlugins


@pytest.fixture
def things() -> Catalogue[Spec]:
    """An empty catalogue of a group that nobody publishes in."""
    return Catalogue(Plugins(), "cnn_registry.tests.things", Spec, "thing", "See all with: a look around")


def thing(name: str, **fields: Any) -> Spec:
    def build() -> None: ...

    return Spec(name=name, summary=f"The thing {name}", build=build, provider=Provider(f"tests:{name}"), **fields)


def add(catalogue: Catalogue[Spec], name: str, *, replace: bool = False, **fields: Any) -> Spec:
    spec = thing(name, **fields)
    catalogue.register(spec.build, spec, replace=replace)
    return spec


@pytest.mark.parametrize(
    "ordered",
    [
        ["vgg11", "vgg16", "vgg100"],
        ["a", "A10b2", "a10b10"],
        ["1x", "2x", "10x", "x"],
        ["net", "net1", "net1_bn", "net1_bn2", "net2"],
    ],
)
def test_natural_order(ordered: list[str]) -> None:
    assert sorted(set(ordered), key=natural_key) == ordered


def test_an_empty_catalogue(things: Catalogue[Spec]) -> None:
    assert things.names() == []
    assert things.describe() == []
    with pytest.raises(
        UnknownNameError, match=r"There is no thing 'a' \(no thing is installed\)\. See all with: a look"
    ):
        things.get("a")


def test_what_is_registered_is_found(things: Catalogue[Spec]) -> None:
    spec = add(things, "b2", aliases=("bee",))
    other = add(things, "b10")
    assert things.names("b*") == ["b2", "b10"]
    assert things.describe() == [spec, other]
    assert things.get("b2") is things.get("bee") is things.get("session:b2") is things.find("bee") is spec


def test_registering_twice(things: Catalogue[Spec]) -> None:
    add(things, "a")
    with pytest.raises(DuplicateNameError, match="The thing 'a' is already registered by"):
        add(things, "a")
    assert add(things, "a", replace=True) is things.get("a")
    with pytest.raises(DuplicateNameError):
        add(things, "a")


def test_find_warns_of_nothing_and_get_does(things: Catalogue[Spec]) -> None:
    spec = add(things, "old", deprecated="new")
    assert things.find("old") is spec
    with pytest.warns(FutureWarning, match="The thing 'old' is deprecated; use 'new'"):
        assert things.get("old") is spec


def test_a_former_name_finds_and_warns(things: Catalogue[Spec]) -> None:
    spec = add(things, "new", aliases=("other",), deprecated_aliases=("old",))
    with pytest.warns(FutureWarning, match="The thing name 'old' is deprecated; use 'new'"):
        assert things.get("old") is spec
    assert things.find("old") is things.get("other") is things.get("new") is spec
    assert things.names() == ["new"]


def test_a_former_name_that_two_have_had(things: Catalogue[Spec]) -> None:
    add(things, "a1", deprecated_aliases=("a",))
    add(things, "a2", aliases=("a",))
    with pytest.raises(AmbiguousAliasError, match=r"Write 'a1' or 'a2'"):
        things.get("a")


def test_find_returns_what_get_refuses(plugins: FakePlugins) -> None:
    models = Catalogue(Plugins(), MODELS, ModelSpec, "model", "")
    plugins.install("fake-a", "net")
    plugins.install("fake-b", "net")
    plugins.install("fake-c", source="raise OSError", entries={"broken": "fake_c:broken"})
    refused: dict[str, tuple[type, type[Exception]]] = {
        "net": (Ambiguous, AmbiguousNameError),
        "broken": (Broken, BrokenPluginError),
    }
    for name, (returned, raised) in refused.items():
        assert isinstance(models.find(name), returned)
        with pytest.raises(raised):
            models.get(name)
    with pytest.raises(UnknownNameError):
        models.find("nothing")


def test_one_of_two_providers_may_be_broken(plugins: FakePlugins) -> None:
    models = Catalogue(Plugins(), MODELS, ModelSpec, "model", "")
    plugins.install("fake-a", "net")
    plugins.install("fake-b", source="raise OSError", entries={"net": "fake_b:net"})
    assert models.get("fake-a:net").name == "net"
    with pytest.raises(BrokenPluginError, match="The model 'net' of fake-b is broken"):
        models.get("fake-b:net")


def test_find_of_an_alias_passes_over_what_is_broken(plugins: FakePlugins) -> None:
    models = Catalogue(Plugins(), MODELS, ModelSpec, "model", "")
    plugins.install("fake-a", source=plugins.declaration("net", aliases=("n",)), entries={"net": "fake_a:net"})
    plugins.install("fake-c", source="raise OSError", entries={"broken": "fake_c:broken"})
    found = models.find("n")
    assert isinstance(found, ModelSpec)
    assert found.name == "net"


def test_an_alias_of_two(things: Catalogue[Spec]) -> None:
    add(things, "a1", aliases=("a",))
    add(things, "a2", aliases=("a",))
    uses: list[Callable[[str], object]] = [things.find, things.get]
    for use in uses:
        with pytest.raises(AmbiguousAliasError, match=r"'a' is an alias of 2 things\. Write 'a1' or 'a2'\."):
            use("a")


def test_catalogues_of_two_groups_do_not_mix(plugins: FakePlugins) -> None:
    info = plugins.install("fake-a", "net")
    with (info / "entry_points.txt").open("a") as file:
        file.write("[cnn_registry.models.extra]\nmore = fake_a:net\n")
    assert Catalogue(Plugins(), MODELS, ModelSpec, "model", "").names() == ["net"]
    assert "net" not in Catalogue(Plugins(), DATASETS, Spec, "dataset", "").names()
    assert Catalogue(Plugins(), "cnn_registry.models.extra", ModelSpec, "model", "").names() == ["more"]
