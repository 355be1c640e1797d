"""Whatever a plugin does, the models of the others are listed, built and trained, and one line says what it did."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cnn_registry import ModelSpec, create_model, get_spec, list_models, train
from cnn_registry.registry import discovery
from cnn_registry.registry.discovery import MODELS
from cnn_registry.registry.models import describe_models
from tests.conftest import UNVARIED

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, Ended, FakePlugins

HEALTHY = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="One convolution and a classifier", trainable_params=1, input_shape=(16, 16, 3),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
)
def healthy(input_shape, num_classes):
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x), name="healthy")
"""

SETTINGS = UNVARIED | {"epochs": 1, "batch_size": 64, "image_size": 16}
"""One step."""

BRIEFLY = 0.2
"""Seconds that count as slow here."""

Install = Callable[["FakePlugins"], object]


class Case(NamedTuple):
    """A way to misbehave.

    Attributes:
        install: writes the plugin.
        status: what ``cnnreg doctor`` says of each of its entries: name, and how the status starts.
        refusal: what using the first of them says; empty where it can be used.
        code: the exit code of using it.
    """

    install: Install
    status: Sequence[tuple[str, str]]
    refusal: str = ""
    code: int = 1


def module(source: str) -> Install:
    """A plugin whose module has this text."""
    return lambda plugins: plugins.install("fake-bad", source=source, entries={"bad": "fake_bad:bad"})


def declared(before: str = "", **fields: Any) -> Install:
    """A plugin that declares the model ``bad`` with these fields, after what stands before it in its module."""
    return lambda plugins: module(before + plugins.declaration("bad", **fields))(plugins)


def built(body: str) -> Install:
    """A plugin whose builder has this body."""

    def install(plugins: FakePlugins) -> object:
        head, signature, _ = plugins.declaration("bad", options="width=4").partition("width=4):\n")
        return module(f"{head}{signature}    import keras\n    inputs = keras.Input(input_shape)\n    {body}\n")(
            plugins
        )

    return install


def named(name: str) -> Install:
    """A plugin whose entry point has this name."""
    return lambda plugins: plugins.install("fake-bad", source="bad = 1", entries={name: "fake_bad:bad"})


def entry_points(text: str | bytes) -> Install:
    """A plugin with a model ``bad`` and a file of entry points that somebody has damaged."""

    def install(plugins: FakePlugins) -> object:
        info = plugins.install("fake-bad", "bad", "other")
        return (info / "entry_points.txt").write_bytes(text if isinstance(text, bytes) else text.encode())

    return install


def metadata(content: bytes) -> Install:
    """A plugin with this file of metadata."""
    return lambda plugins: (plugins.install("fake-bad", "bad") / "METADATA").write_bytes(content)


def two_distributions(plugins: FakePlugins) -> None:
    plugins.install("fake-bad", "bad")
    plugins.install("fake-worse", "bad")


def twice_on_the_path(plugins: FakePlugins) -> None:
    plugins.install("fake-bad", "bad", "dropped", version="1.0", folder="system")
    plugins.install("Fake_Bad", "bad", version="2.0", folder="user")


def broken(install: Install, reason: str, name: str = "bad") -> Case:
    return Case(install, [(name, f"broken: {reason}")], f"Error: The model {name!r} of fake-bad is broken: {reason}")


def unbuildable(body: str, cause: str) -> Case:
    what = "for input_shape=(16, 16, 3), num_classes=3 by fake-bad 1.0"
    return Case(built(body), [("bad", "ok")], f"Error: bad could not be built {what}: {cause}")


def misnamed(name: str, shown: str) -> Case:
    reason = "names consist of lower-case letters (a to z), digits and '_', at most 64."
    return broken(named(name), reason, shown)


UNPRINTABLE = "class Unprintable(Exception):\n    def __str__(self): raise ValueError('no words')\n"
UNREADABLE = "class Unreadable:\n    def __getattr__(self, name): raise RuntimeError('hands off')\nbad = Unreadable()"
SILENT = "class Silent:\n    def __repr__(self): raise ValueError('no words')\n"
PANIC = "class PanicException(BaseException): ...\nraise PanicException('the extension module is lost')"
SUBCLASS = "class Same(keras.Model):\n        def call(self, x): return x\n    return Same()"
FLAT = "keras.layers.Flatten()(inputs)"

GOOD_LINE = f"[{MODELS}]\nother = fake_bad:other\n"
OTHER = ("other", "ok")
NOWHERE = "its entry point is '', not of the form 'module:function'."
TWO_OBJECTS = "its distribution uses the name for both 'fake_bad:bad' and 'fake_bad:other'; rename one of them."

CASES = {
    # Its module cannot be imported.
    "import error": broken(module("import not_there"), "ModuleNotFoundError: No module named 'not_there'"),
    "a newer core": broken(module("from cnn_registry import no_such"), "ImportError: cannot import name 'no_such' fr"),
    "syntax error": broken(module("def bad(:"), "SyntaxError: invalid syntax (fake_bad.py, line 1)"),
    "sys.exit": broken(module("import sys; sys.exit(0)"), "SystemExit: 0"),
    "an interrupt": broken(
        module("raise KeyboardInterrupt"), "RuntimeError: KeyboardInterrupt, though nobody pressed Ctrl-C (fake_bad.py"
    ),
    "endless recursion": broken(module("def f(): f()\nf()"), "RecursionError: maximum recursion depth exceeded"),
    "a panic": broken(module(PANIC), "PanicException: the extension module is lost"),
    "two lines": broken(module("raise RuntimeError('first\\n  second')"), "RuntimeError: first second"),
    "nothing to say": broken(module("assert 1 == 2"), "AssertionError"),
    "unprintable": broken(module(f"{UNPRINTABLE}raise Unprintable"), "Unprintable: (its message cannot be printed)"),
    # It declares nothing that can be used.
    "no attribute": broken(module(""), "AttributeError: module 'fake_bad' has no attribute 'bad'"),
    "no spec": broken(module("bad = 3"), "fake_bad:bad declares no ModelSpec; decorate it with the register function."),
    "a false spec": broken(module("def bad(): ...\nbad.__cnn_registry_spec__ = 3"), "fake_bad:bad declares no ModelS"),
    "hands off": broken(module(UNREADABLE), "RuntimeError: hands off"),
    "a newer interface": broken(
        declared(api_version=2),
        "it is written for plugin interface 2; this version supports 1. Upgrade cnn-registry.",
    ),
    "a wrong type": broken(declared(aliases="b"), "aliases of 'bad' must be of type tuple; got 'b'."),
    "a wrong shape": broken(declared(input_shape=(8, 8)), "input_shape of 'bad' must be (height, wi"),
    "an option that cannot be shown": broken(declared(SILENT, options="option=Silent()"), "ValueError: no words"),
    "a summary that cannot be encoded": Case(declared(summary="\ud800"), [("bad", "ok")]),
    # Its metadata is corrupt, or says a thing twice.
    "a line without a value": Case(
        entry_points(f"{GOOD_LINE}bad\n# a comment\n\n[console_scripts]\nno value\n"),
        [("bad", f"broken: {NOWHERE}"), OTHER],
        f"Error: The model 'bad' of fake-bad is broken: {NOWHERE}",
    ),
    "a line that is not UTF-8": Case(
        entry_points(GOOD_LINE.encode() + b"b\xe4d = fake_bad:bad\n"),
        [(r"b\ufffdd", "broken: names consist of lower-case letters"), OTHER],
    ),
    "a heading that is not closed": Case(
        entry_points(f"{GOOD_LINE}[{MODELS}\nbad = fake_bad:bad"), [OTHER, ("bad", "ok")]
    ),
    "no heading": Case(entry_points("bad = fake_bad:bad\n"), []),
    "UTF-16": Case(entry_points(GOOD_LINE.encode("utf-16")), []),
    "metadata that is not UTF-8": Case(metadata(b"Name: fake-bad\nAuthor: M\xfcller\n"), [("bad", "ok")]),
    "no metadata": Case(metadata(b""), [("bad", "ok")]),
    "a name for two things": Case(
        entry_points(f"{GOOD_LINE}bad = fake_bad:bad\nbad = fake_bad:other\n"),
        [("bad", f"broken: {TWO_OBJECTS}"), OTHER],
    ),
    "a name twice for one thing": Case(entry_points(f"{GOOD_LINE}other = fake_bad:other\n"), [OTHER]),
    "a name in two distributions": Case(
        two_distributions,
        [("bad", "ambiguous: write fake-bad:bad"), ("bad", "ambiguous: write fake-worse:bad")],
        "Error: The model 'bad' is provided by ",
        code=2,
    ),
    "a distribution twice on the path": Case(twice_on_the_path, [("bad", "ok")]),
    # Its name is none.
    "spaces": misnamed("my net", "my net"),
    "upper case": misnamed("VGG16", "VGG16"),
    "a look-alike": misnamed("hеalthy", r"h\u0435althy"),  # noqa: RUF001  (that is the point)
    "an escape sequence": misnamed("\x1b[31mred", r"\x1b[31mred"),
    "no name": misnamed("", ""),
    "10,000 characters": misnamed("a" * 10_000, "a" * 61 + "..."),
    "10,000 digits": misnamed("1" * 10_000, "1" * 61 + "..."),
    "a value of 10,000 characters": broken(
        lambda plugins: plugins.install("fake-bad", source="", entries={"bad": "a" * 10_000}), "ModuleNotFoundError: No"
    ),
    # Its network is none.
    "no model": unbuildable("return None", "its builder returned NoneType, not a keras.Model"),
    "sys.exit in the builder": unbuildable("import sys; sys.exit(0)", "SystemExit: 0"),
    "an interrupt in the builder": unbuildable("raise KeyboardInterrupt", "RuntimeError: KeyboardInterrupt, though"),
    "a layer that fails": unbuildable("keras.layers.Dense(-1)", "ValueError: "),
    "too many classes": unbuildable(
        f"return keras.Model(inputs, keras.layers.Dense(7)({FLAT}))",
        "the shape of its output must be (None, 3); got (None, 7)",
    ),
    "a map of classes": unbuildable(
        "return keras.Model(inputs, keras.layers.Dense(num_classes)(inputs))",
        "the shape of its output must be (None, 3); got (None, 16, 16, 3)",
    ),
    "two outputs": unbuildable(
        f"return keras.Model(inputs, [keras.layers.Dense(num_classes)({FLAT}), inputs])",
        "it has 2 outputs without names; return one output, or declare auxiliary heads with register_model(aux_heads",
    ),
    "outputs of other names": unbuildable(
        f"return keras.Model(inputs, dict(main=keras.layers.Dense(num_classes)({FLAT}), aux=inputs))",
        "it has the outputs 'main', 'aux', and none is 'predictions'; return one output, or declare",
    ),
    "a wrong shape of a subclass": unbuildable(
        SUBCLASS, "the shape of its output must be (None, 3); got (None, 16, 16, 3)"
    ),
    # It is loud or slow.
    "prints": Case(declared("print('look at me')\n"), [("bad", "ok")]),
    "sleeps": Case(declared(f"import time; time.sleep({1.5 * BRIEFLY})\n"), [("bad", "slow: 0.3 s")]),
}


@pytest.fixture
def healthy(plugins: FakePlugins) -> str:
    """The name of a model whose plugin does nothing wrong."""
    plugins.install("fake-healthy", source=HEALTHY, entries={"healthy": "fake_healthy:healthy"})
    return "healthy"


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_the_others_are_listed_and_built_and_could_be_trained(
    case: Case,
    cnnreg: Cnnreg,
    plugins: FakePlugins,
    healthy: str,
    monkeypatch: pytest.MonkeyPatch,
    colours: Path,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(discovery, "SLOW", BRIEFLY)
    case.install(plugins)
    names = sorted({healthy, *(name for name, _ in case.status)})

    listed = cnnreg("list", "--json")
    assert (listed.code, "Traceback" in listed.err) == (0, False)
    assert {item["name"]: item["status"] for item in json.loads(listed.out)}[healthy] == "ok"
    assert cnnreg("list", "--names").out.splitlines() == list_models()
    assert sorted(list_models()) == names
    [spec] = [item for item in describe_models() if isinstance(item, ModelSpec) and item.name == healthy]
    assert spec.provider.distribution == "fake-healthy"
    assert create_model(healthy, num_classes=3).output_shape == (None, 3)
    pictures = ["--data", colours, "--set", "image_size=16", "--out", tmp_path / "no"]
    assert cnnreg("train", healthy, *pictures, "--dry-run").code == 0

    check_what_doctor_says(case, cnnreg("doctor", "--json"))
    check_what_list_says(case, cnnreg("list"))
    if case.refusal:
        used = cnnreg("train", case.status[0][0], *pictures)
        assert (used.code, used.out) == (case.code, "")
        assert used.err.splitlines()[-1].startswith(case.refusal)
        assert "Traceback" not in used.err
    assert not (tmp_path / "no").exists()


ONE_OF_EACH_KIND = ["a panic", "a line that is not UTF-8", "a name in two distributions", "10,000 characters", "prints"]


@pytest.mark.parametrize("case", [pytest.param(CASES[name], id=name) for name in ONE_OF_EACH_KIND])
def test_the_others_are_trained(case: Case, plugins: FakePlugins, healthy: str, colours: Path, tmp_path: Path) -> None:
    case.install(plugins)
    run = train(healthy, data=colours, settings=SETTINGS, out=tmp_path, report=False)
    assert run.record.status == "finished"
    assert run.best_weights.is_file()


def check_what_doctor_says(case: Case, ended: Ended) -> None:
    """It names every entry with its status, and ends with 1 if one of them is broken."""
    told = [plugin for plugin in json.loads(ended.out)["plugins"] if plugin["kind"] == "model"]
    assert [plugin["status"] for plugin in told if plugin["name"] == "healthy"] == ["ok"]
    others = sorted((plugin["name"], plugin["status"]) for plugin in told if plugin["name"] != "healthy")
    assert len(others) == len(case.status)
    for (name, status), (expected, start) in zip(others, sorted(case.status), strict=True):
        assert name == expected
        assert status.startswith(start)
        assert (len(status) < 500, "\n" in status) == (True, False)
    assert ended.code == any(start.startswith("broken") for _, start in case.status)


def check_what_list_says(case: Case, ended: Ended) -> None:
    """It has one line for every model, broken ones with the reason; slow ones are named on standard error."""
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert [line.split()[0] for line in lines].count("healthy") == 1
    for name, start in case.status:
        kind, _, reason = start.partition(": ")
        if kind == "broken":
            assert [line for line in lines if line.startswith(f"broken: {name} (fake-bad): {reason}")]
        elif kind == "slow":
            assert ended.err.startswith(f"slow: {name} (fake-bad): {reason}")
        elif kind == "ambiguous":
            assert [line for line in lines if line.startswith(f"ambiguous: {name}: write ")]
    assert ended.err.startswith("slow: ") or ended.err == ""


# --- what is printed ---------------------------------------------------------------------------------------------


def test_v_shows_the_traceback_and_nothing_else_does(cnnreg: Cnnreg, plugins: FakePlugins) -> None:
    module("import not_there")(plugins)
    for arguments in (["list"], ["doctor"], ["train", "bad"]):
        assert "Traceback" not in "".join(cnnreg(*arguments)[1:])
    for arguments in (["list", "-v"], ["-v", "train", "bad"]):
        assert "ModuleNotFoundError: No module named 'not_there'\n" in cnnreg(*arguments).err


def test_what_a_plugin_prints_goes_to_standard_error(cnnreg: Cnnreg, plugins: FakePlugins) -> None:
    declared("print('look at me')\n")(plugins)
    ended = cnnreg("list", "--json")
    assert [item["name"] for item in json.loads(ended.out)] == ["bad"]
    assert ended.err == "look at me\n"


def test_what_a_builder_prints_goes_to_standard_error(cnnreg: Cnnreg, plugins: FakePlugins) -> None:
    built(f"print('and me')\n    return keras.Model(inputs, keras.layers.Dense(num_classes)({FLAT}))")(plugins)
    ended = cnnreg("info", "bad", "--graph", "--json")
    assert json.loads(ended.out)["name"] == "bad"
    assert ended.err == "and me\n"


def test_a_slow_plugin_is_marked_in_json(cnnreg: Cnnreg, plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "SLOW", BRIEFLY)
    plugins.install("fake-quick", "quick")
    module(f"import time; time.sleep({1.5 * BRIEFLY})\nraise OSError")(plugins)
    slow = {item["name"]: item["slow"] for item in json.loads(cnnreg("list", "--json").out)}
    assert slow == {"bad": "0.3 s", "quick": None}


@pytest.mark.slow
def test_a_declaration_that_imports_tensorflow_is_slow_however_long_it_takes(
    plugins: FakePlugins, run_python: Any
) -> None:
    plugins.install("fake-quick", "quick")
    declared("import tensorflow\n")(plugins)
    code = """
import sys
from cnn_registry.cli import main
for arguments in (["list"], ["doctor", "--json"]):
    sys.argv = ["cnnreg", *arguments]
    try:
        main()
    except SystemExit as ended:
        print("exit code", ended.code)
"""
    done = run_python("-c", code, TF_CPP_MIN_LOG_LEVEL=None)
    (listed, listed_code), (told, told_code) = re.findall(r"(.*?)exit code (\d+)\n", done.stdout, re.DOTALL)
    assert (listed_code, told_code, len(listed.splitlines())) == ("0", "0", 3)
    [line] = [line for line in done.stderr.splitlines() if line.startswith("slow: ")]
    assert re.fullmatch(r"slow: bad \(fake-bad\): \d+\.\d s, it imports tensorflow.*", line)
    doctor = json.loads(told)
    status = {plugin["name"]: plugin["status"] for plugin in doctor["plugins"]}
    assert re.fullmatch(r"slow: \d+\.\d s, it imports tensorflow.*", status["bad"])
    assert status["quick"] == "ok"
    assert doctor["machine"]["onednn"] == "on"  # as if we had imported it


def test_a_plugin_for_an_older_interface_works_with_a_warning(cnnreg: Cnnreg, plugins: FakePlugins) -> None:
    declared(api_version=0)(plugins)
    with pytest.warns(FutureWarning, match="fake-bad 1.0 is written for plugin interface 0; this version supports 1"):
        model = create_model("bad", num_classes=3, input_shape=(8, 8, 3))
    assert model.output_shape == (None, 3)
    assert "old: written for plugin interface 0" in cnnreg("doctor").out


def test_a_declaration_without_an_interface_means_the_first(
    plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn_registry.registry.catalogue.API_VERSION", 2)
    declared()(plugins)
    with pytest.warns(FutureWarning, match="is written for plugin interface 1; this version supports 2"):
        assert get_spec("bad").api_version == 1


def test_a_terminal_without_the_letters_of_a_summary(plugins: FakePlugins, run_python: Any) -> None:
    declared(summary="Réseau")(plugins)
    done = run_python("-m", "cnn_registry", "list", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "R\\xe9seau" in done.stdout


# --- what is imported for what -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "out", "imported"),
    [
        (["list", "--names"], {}, 0, ["loud1", "loud2", "loud10"], []),
        (["list", "--names", "*1*"], {}, 0, ["loud1", "loud10"], []),
        (["list", "--names", "--json", "*2"], {}, 0, ["[", '  "loud2"', "]"], []),
        (["list", "--names", "vgg*"], {}, 0, [], []),
        ([], {"COMP_WORDS": "cnnreg train loud1", "COMP_CWORD": "2"}, 0, ["plain,loud1", "plain,loud10"], []),
        (["info", "loud2", "--json"], {}, 0, None, ["fake_loud2"]),
        (["train", "loud2", "--data", "nowhere"], {}, 1, [], ["fake_loud2"]),
        (["info", "fake-loud2:loud2", "--json"], {}, 0, None, ["fake_loud2"]),
        (["info", "alias", "--json"], {}, 0, None, ["fake_loud1", "fake_loud10", "fake_loud2"]),
    ],
)
def test_only_what_is_needed_is_imported(
    plugins: FakePlugins,
    cnnreg: Cnnreg,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variables: dict[str, str],
    code: int,
    out: list[str] | None,
    imported: list[str],
) -> None:
    for number in (1, 2, 10):
        aliases = ("alias",) if number == 1 else ()
        source = "print('importing', __name__)\n" + plugins.declaration(f"loud{number}", aliases=aliases)
        plugins.install(
            f"fake-loud{number}", source=source, entries={f"loud{number}": f"fake_loud{number}:loud{number}"}
        )
    for name, value in (variables | {"_CNNREG_COMPLETE": "bash_complete"} if variables else {}).items():
        monkeypatch.setenv(name, value)
    ended = cnnreg(*arguments)
    assert ended.code == code
    assert sorted(re.findall("importing (.*)", ended.err)) == imported
    assert out is None or ended.out.splitlines() == out
