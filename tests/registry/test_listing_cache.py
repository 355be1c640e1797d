from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cnn_registry.errors import UnknownNameError
from cnn_registry.registry import listing_cache
from cnn_registry.registry.catalogue import Listed
from cnn_registry.registry.current import Registry, current_registry, refresh, use_registry
from cnn_registry.registry.datasets import describe_datasets
from cnn_registry.registry.entries import Broken
from cnn_registry.registry.listing_cache import is_plain_spec, plain_types
from cnn_registry.registry.models import describe_models, get_spec, list_models, listed_models
from cnn_registry.registry.spec import DatasetSpec, ModelSpec

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins, RunPython

Start = Callable[[], None]


@pytest.fixture
def start(plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Be a new process of the command line, as far as plugins are concerned. Files may be as new as they are."""
    monkeypatch.setattr(listing_cache, "SETTLED", -1e6)
    # The first import of a module makes a folder beside it, after which nothing is kept yet.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def begin() -> None:
        for name, module in sys.modules.copy().items():
            if str(getattr(module, "__file__", None)).startswith(str(plugins.root)):
                del sys.modules[name]
        registry = current_registry()
        vars(registry).update(vars(Registry()))
        registry.plugins.keeps = True

    begin()
    return begin


def listed() -> dict[str, Mapping[str, Any] | str]:
    """The facts of each model in a listing, or that it is broken or ambiguous."""
    found: dict[str, Mapping[str, Any] | str] = {}
    for item in listed_models():
        if isinstance(item, Listed):
            found[item.facts["name"]] = item.facts
        else:
            found[item.entry.name if isinstance(item, Broken) else item.name] = type(item).__name__
    return found


def summaries() -> dict[str, str]:
    return {name: facts["summary"] if isinstance(facts, Mapping) else facts for name, facts in listed().items()}


def imported() -> list[str]:
    return sorted(name for name in sys.modules if name.startswith("fake_"))


def files(cache: Path) -> list[Path]:
    return sorted((cache / "plugins").glob("*"))


def test_a_second_process_lists_the_same_and_imports_no_plugin(
    plugins: FakePlugins, start: Start, own_cache: Path
) -> None:
    source = plugins.declaration("full", options="width=4, activation=len, sizes=(1, 2)", aliases=("whole",))
    plugins.install("fake-full", source=source, entries={"full": "fake_full:full"})
    plugins.install("fake-other", "net10", "net9")
    first = listed()
    assert imported() == ["fake_full", "fake_other"]
    assert len(files(own_cache)) == 1
    start()
    assert list_models() == ["full", "net9", "net10"]
    assert listed() == first
    assert imported() == []
    assert get_spec("whole").name == "full"  # what is built is imported, and found by its alias
    assert imported() == ["fake_full"]
    assert get_spec("full").build is sys.modules["fake_full"].full


def test_a_listing_of_some_completes_what_is_kept(plugins: FakePlugins, start: Start) -> None:
    plugins.install("fake-one", "one")
    plugins.install("fake-two", "two")
    assert len(listed_models("one")) == 1
    start()
    assert len(listed_models()) == 2
    assert imported() == ["fake_two"]
    start()
    assert len(listed_models()) == 2
    assert imported() == []


def test_an_upgrade_and_an_uninstall_are_seen(plugins: FakePlugins, start: Start) -> None:
    plugins.install("fake-staying", "staying")
    info = plugins.install("fake-net", "net")
    assert set(listed()) == {"staying", "net"}
    for file in [*info.iterdir(), info]:
        file.unlink() if file.is_file() else file.rmdir()
    plugins.install(
        "fake-net",
        source=plugins.declaration("net", summary="Upgraded"),
        entries={"net": "fake_net:net"},
        version="2.0",
    )
    start()
    found = listed()["net"]
    assert isinstance(found, Mapping)
    assert (found["summary"], found["provider"]["version"]) == ("Upgraded", "2.0")
    [info] = plugins.root.rglob("fake_net-2.0.dist-info")
    for file in [*info.iterdir(), info]:
        file.unlink() if file.is_file() else file.rmdir()
    start()
    assert set(listed()) == {"staying"}
    start()
    assert list_models() == ["staying"]


HELPED = """
from pathlib import Path
from fake_helper import SUMMARY
SUMMARY += Path(__file__).with_name("numbers.txt").read_text()
SUMMARY += " ".join(sorted(path.stem for path in Path(__file__).with_name("parts").iterdir()))
"""


@pytest.mark.parametrize("name", ["fake_net.py", "fake_helper.py", "numbers.txt", "parts/b.txt"])
def test_an_edited_file_is_read_again(plugins: FakePlugins, start: Start, name: str) -> None:
    site = plugins.install("fake-first", source="import fake_helper", entries={"first": "fake_helper:NOTHING"}).parent
    (site / "fake_helper.py").write_text("SUMMARY = 'aa'\n")  # imported by another plugin before
    (site / "numbers.txt").write_text("aa")
    (site / "parts").mkdir()
    (site / "parts" / "a.txt").touch()
    declared = plugins.declaration("net", summary="aa").replace("'aa'", "'aa' + SUMMARY")
    plugins.install("fake-net", source=HELPED + declared, entries={"net": "fake_net:net"})
    assert summaries() == {"first": "Broken", "net": "aaaaaaa"}
    file = site / name
    before = file.stat() if file.exists() else None
    file.write_text(file.read_text().replace("'aa'", "'bb'").replace("aa\n", "bb\n") if file.suffix == ".py" else "bb")
    if before:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 2_000_000_000))
    start()
    assert "b" in summaries()["net"]
    assert "fake_net" in imported()


def test_a_rewritten_entry_point_is_seen(plugins: FakePlugins, start: Start) -> None:
    info = plugins.install(
        "fake-two", source="".join(map(plugins.declaration, ("one", "two"))), entries={"one": "fake_two:one"}
    )
    assert set(listed()) == {"one"}
    points = info / "entry_points.txt"
    points.write_text(points.read_text().replace("one = fake_two:one", "two = fake_two:two"))
    start()
    assert list_models() == ["two"]
    assert set(listed()) == {"two"}


def test_a_module_that_hides_the_plugin_is_seen(plugins: FakePlugins, start: Start) -> None:
    plugins.install("fake-other", "other", folder="early")
    plugins.install("fake-net", "net", folder="site")
    plugins.install("fake-last", "last", folder="earliest")
    assert len(listed()) == 3
    declared = plugins.declaration("net", summary="Hides")
    (plugins.root / "earliest" / "fake_net.py").write_text(declared)
    start()
    assert summaries()["net"] == "Hides"


def test_the_policy_holds_for_what_is_kept(
    plugins: FakePlugins, start: Start, cnnreg: Cnnreg, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.install("fake-one", "one")
    plugins.install("fake-two", "two")
    assert set(listed()) == {"one", "two"}
    for variable, value in (("CNNREG_DISABLE_PLUGINS", "fake-two"), ("CNNREG_PLUGINS", "fake_one")):
        with monkeypatch.context() as context:
            context.setenv(variable, value)
            start()
            assert set(listed()) == {"one"}
            assert list_models() == ["one"]
    assert imported() == []
    start()
    assert cnnreg("list", "--no-plugins").out.startswith("No model is installed")
    start()
    assert set(listed()) == {"one", "two"}


def test_what_is_broken_is_tried_again(plugins: FakePlugins, start: Start) -> None:
    plugins.install("fake-good", "good")
    source = "import fake_needed\n" + plugins.declaration("bad")
    site = plugins.install("fake-bad", source=source, entries={"bad": "fake_bad:bad"}).parent
    elsewhere = plugins.root / "elsewhere"
    elsewhere.mkdir()
    assert listed()["bad"] == "Broken"
    start()
    assert listed()["bad"] == "Broken"
    assert imported() == []  # the good one is not, and the bad one did not come far
    (site / "fake_needed.py").touch()
    start()
    assert isinstance(listed()["bad"], Mapping)


def test_slow_plugins_are_imported_and_named_each_time(
    plugins: FakePlugins, start: Start, own_cache: Path, cnnreg: Cnnreg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn_registry.registry.discovery.SLOW", 0.0)
    plugins.install("fake-net", "net")
    for _ in range(2):
        start()
        assert cnnreg("list").err.startswith("slow: net (fake-net)")
        assert imported() == ["fake_net"]
    assert not files(own_cache)


def test_what_changed_a_moment_ago_is_not_kept(
    plugins: FakePlugins, start: Start, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_cache, "SETTLED", 2.0)
    plugins.install("fake-net", "net")
    assert set(listed()) == {"net"}
    assert not files(own_cache)


def rewritten(path: Path, change: Callable[[Any], None]) -> None:
    """Change what is kept, with the right checksum."""
    content = json.loads(path.read_text().partition("\n")[2])
    change(content)
    body = json.dumps(content)
    path.write_text(f"{zlib.crc32(body.encode()):08x}\n{body}")


def facts_of_net(content: Any) -> Any:
    return next(entry[-1] for entry in content["groups"]["cnn_registry.models"] if entry[0] == "net")


def instead(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in a file's place."""
    path.unlink()
    make(path)


def with_fact(name: str, value: object) -> Callable[[Path], object]:
    return lambda path: rewritten(path, lambda content: facts_of_net(content).update({name: value}))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "a digit": lambda path: path.write_bytes(path.read_bytes().replace(b"5112", b"5212")),
    "no JSON": lambda path: path.write_bytes(b"00000000\n"),
    "brackets": lambda path: path.write_bytes(b"%08x\n" % zlib.crc32(b"[" * 10**5) + b"[" * 10**5),
    "a pipe": lambda path: instead(path, os.mkfifo),
    "a folder": lambda path: instead(path, Path.mkdir),
    "endless": lambda path: instead(path, lambda path: path.symlink_to("/dev/zero")),
    "another value": lambda path: rewritten(path, lambda content: content.update(groups=5)),
    "no stamps": lambda path: rewritten(path, lambda content: content["stamps"].clear()),
    "another environment": lambda path: rewritten(path, lambda content: content["environment"].reverse()),
    "a field of an entry": lambda path: rewritten(
        path, lambda content: content["groups"]["cnn_registry.models"][0].__setitem__(0, ["net"])
    ),
    **{
        f"{name} {str(value)[:20]}": with_fact(name, value)
        for name, value in {
            "name": "other",
            "summary": 5,
            "paper": {"title": "A title"},
            "input_shape": [1, 2],
            "trainable_params": True,
            "total_params": 10**400,
            "aliases": "net",
            "deprecated": ["x"],
        }.items()
    },
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_cannot_be_used_counts_as_absent(
    plugins: FakePlugins, start: Start, own_cache: Path, damage: str
) -> None:
    plugins.install("fake-net", "net")
    first = listed()
    [path] = files(own_cache)
    DAMAGE[damage](path)
    start()
    assert list_models() == ["net"]
    assert listed() == first
    assert imported() == ["fake_net"]


def test_a_kept_entry_is_never_imported(plugins: FakePlugins, start: Start, own_cache: Path) -> None:
    plugins.install("fake-net", "net")
    (plugins.root / "site" / "fake_evil.py").write_text("raise SystemExit('imported')")
    listed()
    [path] = files(own_cache)

    def plant(content: Any) -> None:
        entry = next(entry for entry in content["groups"]["cnn_registry.models"] if entry[0] == "net")
        entry[1], entry[-1] = "fake_evil:net", None

    rewritten(path, plant)
    start()
    assert isinstance(listed()["net"], Mapping)
    assert get_spec("net").provider.object == "fake_net:net"
    assert imported() == ["fake_net"]


def test_where_nothing_can_be_written_listing_works(plugins: FakePlugins, start: Start, own_cache: Path) -> None:
    own_cache.write_text("a file")
    plugins.install("fake-net", "net")
    for _ in range(2):
        start()
        assert set(listed()) == {"net"}


def test_environments_do_not_mix(
    plugins: FakePlugins, start: Start, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.install("fake-net", "net")
    listed()
    monkeypatch.setattr(sys, "prefix", "/elsewhere")
    start()
    listed()
    assert imported() == ["fake_net"]
    assert len(files(own_cache)) == 2
    for number in range(listing_cache.ENVIRONMENTS):
        monkeypatch.setattr(sys, "prefix", f"/elsewhere/{number}")
        start()
        listed()
    assert len(files(own_cache)) == listing_cache.ENVIRONMENTS


def test_what_is_installed_while_a_process_runs_is_seen(plugins: FakePlugins, start: Start) -> None:
    plugins.install("fake-net", "net")
    listed()
    start()
    assert list_models() == ["net"]
    plugins.install("fake-late", "late")
    assert list_models() == ["late", "net"]
    assert set(listed()) == {"late", "net"}
    for file in plugins.root.rglob("fake_net*"):
        if file.is_dir():
            for inner in file.iterdir():
                inner.unlink()
            file.rmdir()
    assert list_models() == ["late"]
    assert set(listed()) == {"late"}
    with pytest.raises(UnknownNameError):
        get_spec("net")


def test_a_refresh_looks_at_every_plugin(plugins: FakePlugins, start: Start) -> None:
    plugins.install("fake-net", "net")
    listed()
    start()
    refresh()
    listed()
    assert imported() == ["fake_net"]


def test_only_the_command_line_keeps(plugins: FakePlugins, own_cache: Path) -> None:
    plugins.install("fake-net", "net")
    listed()
    assert not own_cache.exists()


def test_every_installed_spec_has_the_form_of_a_listed_one() -> None:
    with use_registry(Registry()):
        models = [spec for spec in describe_models() if isinstance(spec, ModelSpec)]
        datasets = [spec for spec in describe_datasets() if isinstance(spec, DatasetSpec)]
    assert models
    assert datasets
    assert all(is_plain_spec(plain_types(ModelSpec), json.loads(json.dumps(spec.to_dict()))) for spec in models)
    assert all(is_plain_spec(plain_types(DatasetSpec), json.loads(json.dumps(spec.to_dict()))) for spec in datasets)
    assert not any(is_plain_spec(plain_types(ModelSpec), spec.to_dict()) for spec in datasets)


AGAIN = """
import os, runpy, sys, time
from pathlib import Path
sys.argv = ["cnnreg", "list"]
try:
    runpy.run_module("cnn_registry", run_name="__main__")
except SystemExit:
    pass
print([name for name in ("fake_net", "importlib.metadata", "numpy") if name in sys.modules])
"""


def test_processes_share_what_is_kept(plugins: FakePlugins, run_python: RunPython, own_cache: Path) -> None:
    plugins.install("fake-net", "net")
    for path in [plugins.root / "site", *plugins.root.rglob("*")]:
        os.utime(path, (1, 1))
    outputs = []
    for _ in range(2):
        ended = run_python("-c", AGAIN, PYTHONPATH=os.environ["PYTHONPATH"], PYTHONDONTWRITEBYTECODE="1")
        assert ended.stderr == ""
        outputs.append(ended.stdout.splitlines())
    assert outputs[0][:-1] == outputs[-1][:-1]
    assert outputs[-1][-1] == "[]"
