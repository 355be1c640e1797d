"""Which names a new plugin may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cnn_registry.errors import UsageError
from cnn_registry.registry.current import current_registry
from cnn_registry.scaffold.names import check_author, check_name, distribution_name

if TYPE_CHECKING:
    from tests.conftest import FakePlugins


@pytest.mark.parametrize("name", ["my", "mynet", "my_net", "net2", "my_net_v2", "match", "a" * 30])
def test_names_that_are_fit(plugins: FakePlugins, name: str) -> None:
    check_name(name, current_registry().models)
    check_name(name, current_registry().datasets)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((name, "lower-case letters and digits") for name in ("", "My", "my-net", "2net", "_net", "my__net", "my_")),
        *((name, "lower-case letters and digits") for name in ("my.net", "my net", "mynet\n", "réseau", "../x", "ñ")),
        ("a", "2 to 30 characters; this one has 1"),
        ("a" * 31, "2 to 30 characters; this one has 31"),
        *((name, "a keyword of Python") for name in ("class", "lambda", "is")),
        *((name, "own code uses that name") for name in ("int", "print", "keras", "annotations", "register_model")),
    ],
)
def test_names_that_are_not(plugins: FakePlugins, name: str, reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_name(name, current_registry().models)
    assert str(raised.value).startswith(f"A new model cannot be named {name!r}: ")
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_name_of_an_installed_model_is_taken(plugins: FakePlugins) -> None:
    plugins.install("other-nets", "mynet")
    with pytest.raises(UsageError, match=r"'mynet': other-nets 1\.0 provides it\. Choose another name\.$"):
        check_name("mynet", current_registry().models)
    check_name("mynet", current_registry().datasets)  # models and datasets have names of their own


def test_an_alias_is_taken(plugins: FakePlugins) -> None:
    source = plugins.declaration("tiny", aliases=("mynet",))
    plugins.install("other-nets", source=source, entries={"tiny": "other_nets:tiny"})
    with pytest.raises(UsageError, match=r"it is an alias of 'tiny', which other-nets 1\.0 provides\."):
        check_name("mynet", current_registry().models)


def test_an_alias_of_two_is_taken(plugins: FakePlugins) -> None:
    for name in ("one", "two"):
        source = plugins.declaration(name, aliases=("mynet",))
        plugins.install(f"nets-{name}", source=source, entries={name: f"nets_{name}:{name}"})
    with pytest.raises(UsageError, match="'mynet' is an alias of 2 models"):
        check_name("mynet", current_registry().models)


def test_the_name_of_a_broken_plugin_is_taken(plugins: FakePlugins) -> None:
    plugins.install("broken-nets", source="1 / 0", entries={"mynet": "broken_nets:mynet"})
    with pytest.raises(UsageError, match=r"broken-nets 1\.0 provides it"):
        check_name("mynet", current_registry().models)


def test_a_name_that_two_provide_is_taken(plugins: FakePlugins) -> None:
    plugins.install("nets-one", "mynet")
    plugins.install("nets-two", "mynet")
    with pytest.raises(UsageError, match=r"nets-\w+ and nets-\w+ provide it"):
        check_name("mynet", current_registry().models)


def test_a_dataset_is_taken_among_datasets(plugins: FakePlugins) -> None:
    with pytest.raises(UsageError, match=r"A new dataset cannot be named 'digits': cnn-registry .* provides it"):
        check_name("digits", current_registry().datasets)


def test_a_distribution_of_the_packages_name_is_in_the_way(plugins: FakePlugins) -> None:
    plugins.install("CNNREG.my_net", "other")
    for catalogue in (current_registry().models, current_registry().datasets):
        with pytest.raises(UsageError, match=r"the package cnnreg-my-net 1\.0 is installed"):
            check_name("my_net", catalogue)


def test_the_distributions_name() -> None:
    assert distribution_name("my_net_v2") == "cnnreg-my-net-v2"


@pytest.mark.parametrize("author", ["", "  ", "A\nB", "A\tB", "A\x00", "\udcff", "A" * 81])
def test_authors_that_are_refused(author: str) -> None:
    with pytest.raises(UsageError, match="1 to 80 printable characters"):
        check_author(author)


def test_an_author_loses_spaces_around() -> None:
    assert check_author(" Zoë O'Neil ") == "Zoë O'Neil"
