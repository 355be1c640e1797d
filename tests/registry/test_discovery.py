from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any

import entrypoints
import pytest

from cnn_registry import create_model, get_spec, list_models
from cnn_registry.errors import BrokenPluginError, UnknownNameError, UsageError
from cnn_registry.registry.current import current_registry, refresh, use_policy
from cnn_registry.registry.discovery import DATASETS, MODELS
from cnn_registry.registry.entries import Broken, InstalledEntry
from cnn_registry.registry.models import describe_models, find_model
from cnn_registry.registry.policy import NO_PLUGINS, Policy, normalised
from cnn_registry.registry.spec import ModelSpec

if TYPE_CHECKING:
    from tests.conftest import FakePlugins


def installed(group: str) -> list[InstalledEntry]:
    return current_registry().plugins.installed(group)


SMALL: dict[str, Any] = {"num_classes": 2, "input_shape": (8, 8, 3)}


@pytest.fixture
def healthy(plugins: FakePlugins) -> FakePlugins:
    """One healthy plugin, ``healthy``, which must be listed and built whatever is beside it."""
    plugins.install("fake-healthy", "healthy")
    return plugins


def the_broken(name: str = "broken") -> Broken:
    """The one broken entry, after proof that the healthy plugin is none the worse."""
    assert create_model("healthy", **SMALL).output_shape == (None, 2)
    found = {type(item): item for item in describe_models()}
    assert set(found) == {ModelSpec, Broken}
    assert list_models() == sorted(["healthy", name])
    broken = found[Broken]
    assert isinstance(broken, Broken)
    assert broken.entry.name == name
    with pytest.raises(BrokenPluginError) as caught:
        get_spec(name)
    assert f"The model {name!r} of {broken.entry.distribution} is broken: {broken.reason}" in str(caught.value)
    assert f"pip install --upgrade {broken.entry.distribution}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.details == broken.details
    return broken


# --- broken plugins ----------------------------------------------------------------------------------------------

LONG = "raise ValueError('word ' * 1000)"


def test_the_traceback_of_a_failed_import_is_kept(healthy: FakePlugins) -> None:
    healthy.install("fake-broken", source="import not_there", entries={"broken": "fake_broken:broken"})
    details = the_broken().details
    assert details.startswith("Traceback (most recent call last):")
    assert details.endswith("ModuleNotFoundError: No module named 'not_there'\n")


def test_a_long_reason_is_cut(healthy: FakePlugins) -> None:
    healthy.install("fake-broken", source=LONG, entries={"broken": "fake_broken:broken"})
    broken = the_broken()
    assert broken.reason.endswith("word ... (fake_broken.py, line 1)")
    assert len(broken.reason) <= 400 + len(" (fake_broken.py, line 1)")


def test_the_reason_names_the_line_of_the_plugin(healthy: FakePlugins) -> None:
    source = "import cnn_registry\n\npaper = cnn_registry.Paper(titel='A tiny network')\n"
    healthy.install("fake-broken", source=source, entries={"broken": "fake_broken:broken"})
    reason = the_broken().reason
    assert reason.startswith("TypeError: ")
    assert "'titel'" in reason  # from Python 3.14 on, it also asks whether "title" was meant
    assert reason.endswith(" (fake_broken.py, line 3)")


def test_a_module_alone_declares_nothing(healthy: FakePlugins) -> None:
    healthy.install("fake-broken", source="", entries={"broken": "fake_broken"})
    assert the_broken().reason.startswith("fake_broken declares no ModelSpec")


def test_a_dataset_is_not_a_model(healthy: FakePlugins) -> None:
    source = """
from cnn_registry import register_dataset
@register_dataset(summary="s", num_classes=2, num_images=2)
def broken(source):
    ...
"""
    healthy.install("fake-broken", source=source, entries={"broken": "fake_broken:broken"})
    assert the_broken().reason.startswith("fake_broken:broken declares no ModelSpec")


def test_an_entry_named_unlike_its_function_is_broken(healthy: FakePlugins) -> None:
    healthy.install("fake-broken", "real", entries={"broken": "fake_broken:real"})
    assert the_broken().reason == (
        "the entry point is named 'broken' but fake_broken:real declares 'real'; name them alike."
    )


@pytest.mark.parametrize("value", ["", "fake_broken:", "not a module: function", "a-b:c", ":broken", "[extra]"])
def test_an_entry_that_points_nowhere_is_broken(healthy: FakePlugins, value: str) -> None:
    healthy.install("fake-broken", source="", entries={"broken": value})
    assert the_broken().reason == f"its entry point is {value!r}, not of the form 'module:function'."


def test_an_interrupt_is_not_the_plugins_fault(healthy: FakePlugins) -> None:
    source = "import signal\nsignal.raise_signal(signal.SIGINT)"
    healthy.install("fake-broken", source=source, entries={"broken": "fake_broken:broken"})
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a test in the background does not have
    try:
        with pytest.raises(KeyboardInterrupt):
            describe_models()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_fixed_plugin_works_after_refresh(healthy: FakePlugins) -> None:
    info = healthy.install("fake-broken", source="raise OSError", entries={"broken": "fake_broken:broken"})
    module = info.parent / "fake_broken.py"
    the_broken()
    module.write_text(healthy.declaration("broken"))
    the_broken()
    refresh()
    assert get_spec("broken").provider.distribution == "fake-broken"


# --- corrupt metadata --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"\xff\xfe\x00[cnn_registry.models]\n", b"[[]]\n=\n[", b""])
@pytest.mark.parametrize("distribution", ["aaa-first", "zzz-last"])
def test_a_corrupt_file_harms_nobody_else(healthy: FakePlugins, distribution: str, content: bytes) -> None:
    info = healthy.install(distribution, entries={})
    (info / "entry_points.txt").write_bytes(content)
    assert list_models() == ["healthy"]
    assert create_model("healthy", **SMALL).output_shape == (None, 2)


def test_a_corrupt_file_of_a_stranger_stops_the_entrypoints_library_but_not_us(healthy: FakePlugins) -> None:
    info = healthy.install("aaa-first", entries={})
    (info / "entry_points.txt").write_text("no section at all\n")
    with pytest.raises(Exception, match="no section headers"):
        entrypoints.get_group_all(MODELS, path=[str(info.parent)])
    assert list_models() == ["healthy"]


@pytest.mark.parametrize(
    "content",
    [b"Name: Fake-\xe4\xf6\n", b"Name: two words\n", b"", b"\n\nName: somebody-else\nVersion: 9\n", None],
    ids=["not UTF-8", "no name", "empty", "a body alone", "missing"],
)
def test_without_readable_metadata_the_package_gives_the_name(plugins: FakePlugins, content: bytes | None) -> None:
    info = plugins.install("fake-nameless", "net")
    (info / "METADATA").unlink()
    if content is not None:
        (info / "METADATA").write_bytes(content)
    provider = get_spec("net").provider
    assert (provider.distribution, provider.version, str(provider)) == ("fake_nameless", None, "fake_nameless")
    assert get_spec("Fake-Nameless:net").name == "net"
    assert create_model("net", **SMALL).output_shape == (None, 2)


def test_an_egg_info_is_read_too(plugins: FakePlugins) -> None:
    info = plugins.install("fake-egg", "net", version="3.1")
    (info / "METADATA").rename(info / "PKG-INFO")
    info.rename(info.with_name("fake_egg.egg-info"))
    assert str(get_spec("net").provider) == "fake-egg 3.1"


def test_a_distribution_in_a_zip_is_read_too(plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch) -> None:
    info = plugins.install("fake-zipped", "net")
    archive = plugins.root / "site.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(info.parent.rglob("*")):
            file.write(path, path.relative_to(info.parent))
    shutil.rmtree(info.parent)
    monkeypatch.syspath_prepend(str(archive))
    assert str(get_spec("net").provider) == "fake-zipped 1.0"


# --- which entries there are -------------------------------------------------------------------------------------


def as_found(name: str, value: str, distribution: str) -> tuple[str, str, str]:
    return name, value, normalised(distribution)


def test_the_entrypoints_library_finds_the_same(plugins: FakePlugins) -> None:
    plugins.install("Fake.A", "net1", "net2", version="2.0")
    plugins.install("fake-b", entries={"net1": "fake_b.models:net1", "Net-3": "x", "net 4": "fake_b:a.b"}, source="")
    info = plugins.install("fake-c", entries={"net5": "fake_c:net5"}, source="")
    text = (info / "entry_points.txt").read_text()
    (info / "entry_points.txt").write_text(
        f"[console_scripts]\nnet6 = fake_c:net6\n\n{text}\n[other]\nnet7 = fake_c:n\n"
    )
    theirs = {
        as_found(point.name, ":".join(filter(None, [point.module_name, point.object_name])), point.distro.name)
        for point in entrypoints.get_group_all(MODELS, path=[str(info.parent)])
    }
    assert len(theirs) == 6
    assert {as_found(entry.name, entry.value, entry.distribution) for entry in installed(MODELS)} == theirs


@pytest.mark.parametrize("group", [MODELS, DATASETS, "console_scripts"])
def test_the_standard_library_finds_the_same_in_what_is_really_installed(plugins: FakePlugins, group: str) -> None:
    use_policy(Policy())
    theirs = {(point.name, point.value) for point in metadata.entry_points(group=group)}
    assert {(entry.name, entry.value) for entry in installed(group)} == theirs


def test_a_distribution_twice_on_the_path_counts_where_it_comes_first(plugins: FakePlugins) -> None:
    plugins.install("fake-twice", "net", "dropped", version="1.0", folder="system")
    plugins.install("Fake_Twice", "net", version="2.0", folder="user")
    assert list_models() == ["net"]
    assert get_spec("net").provider.version == "2.0"
    assert [entry.version for entry in installed(MODELS)] == ["2.0"]


def test_a_name_twice_in_one_distribution_is_one_entry(plugins: FakePlugins) -> None:
    info = plugins.install("fake-a", "net")
    (info / "entry_points.txt").write_text(f"[{MODELS}]\nnet = fake_a:net\nnet = fake_a:net\n")
    assert get_spec("net").provider.distribution == "fake-a"


def test_a_plugin_that_is_installed_while_python_runs_is_found(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net1")
    assert list_models() == ["net1"]
    plugins.install("fake-b", "net2")
    assert list_models() == ["net1", "net2"]
    assert create_model("net2", **SMALL).output_shape == (None, 2)


def test_a_plugin_that_is_removed_while_python_runs_is_gone(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net1")
    info = plugins.install("fake-b", "net2")
    assert get_spec("net2").name == "net2"
    shutil.rmtree(info)
    assert list_models() == ["net1"]
    with pytest.raises(UnknownNameError):
        get_spec("net2")


def test_an_upgrade_while_the_old_version_is_in_use_asks_for_a_restart(plugins: FakePlugins) -> None:
    info = plugins.install("fake-a", "net", version="1.0")
    assert get_spec("net").provider.version == "1.0"
    shutil.rmtree(info)
    plugins.install("fake-a", "net", version="2.0")
    with pytest.raises(BrokenPluginError, match=r"version 1\.0 is in use and 2\.0 was installed since; restart Python"):
        get_spec("net")


def test_what_failed_is_tried_again_when_something_was_installed(plugins: FakePlugins) -> None:
    source = "import fake_needed\n" + plugins.declaration("net")
    plugins.install("fake-a", source=source, entries={"net": "fake_a:net"})
    with pytest.raises(BrokenPluginError, match="No module named 'fake_needed'"):
        get_spec("net")
    plugins.install("fake-needed", source="", entries={})
    assert get_spec("net").name == "net"


def test_nothing_is_read_again_while_nothing_changes(plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.install("fake-a", "net1")
    list_models()
    monkeypatch.setattr(metadata, "distributions", lambda **_: pytest.fail("the folders are read again"))
    assert list_models() == ["net1"]


def test_a_longer_path_is_searched_without_refresh(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net1")
    assert list_models() == ["net1"]
    plugins.install("fake-b", "net2", folder="another")
    assert list_models() == ["net1", "net2"]


def test_a_plugin_is_imported_when_it_is_described_and_only_that_one(plugins: FakePlugins) -> None:
    plugins.install("fake-a", "net1")
    plugins.install("fake-b", "net2")
    get_spec("net1")
    assert "fake_a" in sys.modules
    assert "fake_b" not in sys.modules


def test_plugins_are_found_in_a_new_process(plugins: FakePlugins, run_python: Any) -> None:
    plugins.install("fake-a", "net1", version="1.2")
    done = run_python(
        "-W", "error", "-c", "import cnn_registry as c; print(c.list_models(), c.get_spec('net1').provider)"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("['net1'] fake-a 1.2\n", "", 0)


# --- policy ------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(plugins: FakePlugins) -> FakePlugins:
    plugins.install("Fake.One", "net1")
    plugins.install("fake-two", "net2")
    plugins.install("fake_three", "net3")
    return plugins


@pytest.mark.parametrize(
    ("allow", "deny", "left"),
    [
        ("fake-one", "", ["net1"]),
        ("FAKE_one , fake.TWO,", "", ["net1", "net2"]),
        ("fake-one,fake-two", "Fake..Two", ["net1"]),
        ("nobody", "", []),
        ("fake-one,fake-two,fake-three", ",", ["net1", "net2", "net3"]),
    ],
)
def test_allow_and_deny_take_distribution_names_in_any_spelling(
    three: FakePlugins, monkeypatch: pytest.MonkeyPatch, allow: str, deny: str, left: list[str]
) -> None:
    monkeypatch.setenv("CNNREG_PLUGINS", allow)
    monkeypatch.setenv("CNNREG_DISABLE_PLUGINS", deny)
    assert list_models() == left
    assert [item.name for item in describe_models() if isinstance(item, ModelSpec)] == left


def test_deny_alone_leaves_the_others(three: FakePlugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNREG_PLUGINS", "")
    monkeypatch.setenv("CNNREG_DISABLE_PLUGINS", "fake_one,fake-two")
    assert "net3" in list_models()
    assert not {"net1", "net2"} & set(list_models())
    with pytest.raises(UnknownNameError):
        get_spec("fake-two:net2")


def test_a_denied_plugin_is_not_imported(three: FakePlugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNREG_DISABLE_PLUGINS", "fake-two")
    describe_models()
    assert "fake_one" in sys.modules
    assert "fake_two" not in sys.modules


def test_no_plugins_leaves_the_cores_own_and_the_sessions(three: FakePlugins) -> None:
    use_policy(NO_PLUGINS)
    assert list_models() == []
    assert {entry.distribution for entry in installed(DATASETS)} == {"cnn-registry"}
    use_policy(None)
    assert list_models() == ["net1", "net2", "net3"]


def test_a_policy_holds_in_every_thread(three: FakePlugins) -> None:
    seen: list[list[str]] = []
    use_policy(NO_PLUGINS)
    thread = threading.Thread(target=lambda: seen.append(list_models()))
    thread.start()
    thread.join()
    assert seen == [[]]


EVIL = "open({path!r}, 'w').close()\n"


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cnn-registry", {}),
        ("CNN_Registry", {}),
        ("cnn..registry", {}),
        ("evil\nName: cnn-registry", {}),
        ("evil", {"METADATA": None}),
        ("evil", {"METADATA": "\n\nName: cnn-registry\n"}),
        ("evil", {"METADATA": "Version: 1\r\n\r\nName: cnn-registry\r\n"}),
        ("evil", {"METADATA": None, "PKG-INFO": "Name: cnn-registry\n"}),
    ],
)
@pytest.mark.parametrize("allowed", ["cnn-registry", "fake-one"])
def test_a_foreign_package_does_not_pass_as_the_core(
    plugins: FakePlugins,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    files: dict[str, str | None],
    allowed: str,
) -> None:
    source = EVIL.format(path=str(plugins.root / "was imported")) + plugins.declaration("evil")
    entries = {"evil": "evil:evil", "digits": "cnn_registry.data.digits:digits"}
    info = plugins.install("evil", source=source, entries=entries)
    (info / "METADATA").write_text(f"Name: {name}\nVersion: 9\n")
    for file, content in files.items():
        (info / file).unlink(missing_ok=True)
        if content is not None:
            (info / file).write_bytes(content.encode())
    monkeypatch.setenv("CNNREG_PLUGINS", allowed)
    assert "evil" not in list_models()
    describe_models()
    assert not (plugins.root / "was imported").exists()


def test_a_foreign_package_of_the_cores_name_is_refused_where_others_are(
    plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.install("cnn-registry", source=plugins.declaration("evil"), entries={"evil": "cnn_registry_2:evil"})
    monkeypatch.delenv("CNNREG_PLUGINS")
    monkeypatch.setenv("CNNREG_DISABLE_PLUGINS", "somebody")
    assert "evil" not in list_models()


def test_a_foreign_package_of_the_cores_name_hides_nothing_of_the_core(plugins: FakePlugins) -> None:
    points = {"digits": "cnn_registry.data.digits:digits"}
    info = plugins.install("cnn-registry", source="", entries={}, version="9")
    (info / "entry_points.txt").write_text(f"[{DATASETS}]\ndigits = {points['digits']}\n")
    use_policy(NO_PLUGINS)
    assert {"digits", "oxflower17"} <= {entry.name for entry in installed(DATASETS)}


def test_a_foreign_package_may_not_publish_a_module_of_the_core(plugins: FakePlugins) -> None:
    info = plugins.install("evil", source="", entries={})
    (info / "entry_points.txt").write_text(f"[{DATASETS}]\nmine = cnn_registry.data.digits:digits\n")
    use_policy(NO_PLUGINS)
    assert "mine" not in {entry.name for entry in installed(DATASETS)}


def test_without_a_name_each_entry_goes_by_its_own_package(
    plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = plugins.declaration("evil")
    info = plugins.install("evil", source=source, entries={"net": "fake_good:net", "evil": "evil:evil"})
    (info / "METADATA").unlink()
    monkeypatch.setenv("CNNREG_PLUGINS", "fake-good")
    assert list_models() == ["net"]


@pytest.mark.parametrize("value", ["*", "fake-one;fake-two", "fake-one fake-two", "fake-one==1.0", "a/b", "ä"])
@pytest.mark.parametrize("variable", ["CNNREG_PLUGINS", "CNNREG_DISABLE_PLUGINS"])
def test_what_cannot_be_a_distribution_is_refused(
    three: FakePlugins, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=f"^{variable} must be names of distributions, separated by commas; got '"):
        list_models()


def test_strict_is_0_or_1(three: FakePlugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNREG_STRICT_PLUGINS", "maybe")
    with pytest.raises(UsageError, match="CNNREG_STRICT_PLUGINS must be 0 or 1; got 'maybe'"):
        list_models()


@pytest.mark.parametrize(
    ("value", "strict"), [("1", True), ("true", True), ("0", False), ("", False), ("FALSE", False), ("off", False)]
)
def test_strict_raises_what_would_be_listed_as_broken(
    healthy: FakePlugins, monkeypatch: pytest.MonkeyPatch, value: str, strict: bool
) -> None:
    healthy.install("fake-broken", source="raise RuntimeError('no luck')", entries={"broken": "fake_broken:broken"})
    monkeypatch.setenv("CNNREG_STRICT_PLUGINS", value)
    uses: list[Callable[[], object]] = [describe_models, lambda: find_model("broken")]
    for use in uses:
        if strict:
            with pytest.raises(
                BrokenPluginError, match="The model 'broken' of fake-broken is broken: Runtime"
            ) as caught:
                use()
            assert "no luck" in caught.value.details
        else:
            assert use()
    assert list_models() == ["broken", "healthy"]
    assert get_spec("healthy").name == "healthy"


# --- speed -------------------------------------------------------------------------------------------------------


def test_finding_takes_less_than_three_times_what_the_standard_library_takes(
    plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(200):
        plugins.install(f"fake-{i}", source="", entries={f"net{i}": f"fake_{i}:net{i}"})
    monkeypatch.delenv("CNNREG_PLUGINS")
    site = str(plugins.root / "site")
    monkeypatch.setattr(sys, "path", [site])

    def seconds(find: Callable[[], object]) -> float:
        refresh()
        start = time.perf_counter()
        find()
        return time.perf_counter() - start

    pairs = [
        (seconds(lambda: installed(MODELS)), seconds(lambda: metadata.entry_points(group=MODELS))) for _ in range(5)
    ]
    ours, theirs = map(min, zip(*pairs, strict=True))
    assert len(installed(MODELS)) == 200
    assert ours < 3 * theirs
