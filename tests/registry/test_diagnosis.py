from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cnn_registry.registry.diagnosis import misnamed_groups, unmet_requirements

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins


def publishing_in(group: str, plugins: FakePlugins) -> None:
    info = plugins.install("fake-a", source=plugins.declaration("net"), entries={})
    (info / "entry_points.txt").write_text(f"[{group}]\nnet = fake_a:net\n")


@pytest.mark.parametrize(
    ("group", "meant"),
    [
        ("cnn_registry.model", "cnn_registry.models"),
        ("cnn-registry.models", "cnn_registry.models"),
        ("cnn_registry.Models", "cnn_registry.models"),
        ("CNN_REGISTRY.MODELS", "cnn_registry.models"),
        ("cnn_registry_models", "cnn_registry.models"),
        ("cnnregistry.models", "cnn_registry.models"),
        ("cnn_regsitry.models", "cnn_registry.models"),
        (" cnn_registry.models ", "cnn_registry.models"),
        ("cnn_registry.dataset", "cnn_registry.datasets"),
        ("cnn-registry.datasets", "cnn_registry.datasets"),
        ("cnn_registry.modules", "cnn_registry.models"),
        ("cnnreg.models", "cnn_registry.models"),
        ("cnnreg.dataset", "cnn_registry.datasets"),
    ],
)
def test_a_group_that_nobody_reads_is_named(plugins: FakePlugins, cnnreg: Cnnreg, group: str, meant: str) -> None:
    publishing_in(group, plugins)
    [line] = misnamed_groups()
    start = f"fake-a 1.0 publishes in the entry-point group '{group}', which nobody reads."
    assert line == f"{start} Did you mean '{meant}'?"


@pytest.mark.parametrize(
    "group", ["console_scripts", "cnn_registry.models", "pytest11", "mlflow.model_registry_store", "cnntools.datasets"]
)
def test_groups_of_other_packages_are_left_alone(plugins: FakePlugins, group: str) -> None:
    publishing_in(group, plugins)
    assert misnamed_groups() == []


def requiring(plugins: FakePlugins, *requirements: str, source: str | None = None) -> None:
    info = plugins.install("Fake.A", source=source or plugins.declaration("net"), entries={"net": "fake_a:net"})
    lines = "".join(f"Requires-Dist: {requirement}\n" for requirement in requirements)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: Fake.A\nVersion: 1.0\n{lines}\n")


@pytest.mark.parametrize(
    ("requirement", "missing"),
    [
        ("cnn-registry>=99", ["cnn-registry>=99 (0.1.0 is installed)"]),
        ("CNN_Registry (>=99)", ["CNN_Registry>=99 (0.1.0 is installed)"]),
        ("cnn-registry<0.1", ["cnn-registry<0.1 (0.1.0 is installed)"]),
        ("cnn-registry>=0.1", []),
        ("nowhere-to-be-found", ["nowhere-to-be-found (not installed)"]),
        ("nowhere-to-be-found>=2; python_version < '3'", []),
        ("nowhere-to-be-found; extra == 'more'", []),
        ("fake-b>=2.0a1", []),
        ("fake-b>2.0", ["fake-b>2.0 (2.0rc1 is installed)"]),
        ("fake-c>=1", []),  # whose version cannot be compared
        ("!!", []),
    ],
)
def test_requirements_that_are_not_met(plugins: FakePlugins, requirement: str, missing: list[str]) -> None:
    plugins.install("fake-b", source="", entries={}, version="2.0rc1")
    plugins.install("fake-c", source="", entries={}, version="unknown")
    requiring(plugins, requirement)
    assert unmet_requirements()["fake-a"] == missing


def test_doctor_names_what_is_wrong_and_exits_with_1(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    requiring(plugins, "cnn-registry>=0.2", "numpy")
    ended = cnnreg("doctor", "--json")
    facts = json.loads(ended.out)
    [plugin] = [plugin for plugin in facts["plugins"] if plugin["name"] == "net"]
    assert (ended.code, plugin["status"]) == (1, "unmet: requires cnn-registry>=0.2 (0.1.0 is installed)")
    assert facts["problems"] == []


def test_doctor_gives_a_broken_plugins_requirements_too(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    requiring(plugins, "nowhere-to-be-found", source="import nowhere_to_be_found")
    info = plugins.install("fake-b", source="", entries={})
    (info / "entry_points.txt").write_text("[cnn_registry.model]\nnet = fake_b:net\n")
    ended = cnnreg("doctor")
    assert ended.code == 1
    assert "'nowhere_to_be_found' (fake_a.py, line 1). It requires nowhere-to-be-found (not installed)." in ended.out
    assert "fake-b 1.0 publishes in the entry-point group 'cnn_registry.model', which nobody reads." in ended.out


def test_doctor_names_who_is_excluded_and_names_that_nobody_has(
    plugins: FakePlugins, cnnreg: Cnnreg, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.install("fake-a", "net")
    plugins.install("fake-b", "other")
    monkeypatch.setenv("CNNREG_PLUGINS", "fake-a,fake-c")
    monkeypatch.setenv("CNNREG_DISABLE_PLUGINS", "Fake_B, fake.a")
    ended = cnnreg("doctor", "--json")
    facts = json.loads(ended.out)
    assert (ended.code, [plugin["name"] for plugin in facts["plugins"] if plugin["kind"] == "model"]) == (0, [])
    left_out, unknown = facts["excluded"]
    assert "'fake-a', 'fake-b'" in left_out
    assert unknown.startswith("CNNREG_PLUGINS names fake-c, which is not installed. Did you mean 'fake-")
