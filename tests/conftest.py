"""Fake installed plugins: what pip leaves behind, written by hand, so that no test runs pip."""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from packaging.requirements import Requirement

from cnn_registry.registry.current import Registry, use_registry
from cnn_registry.registry.discovery import MODELS
from cnn_registry.registry.policy import normalised
from tests.warm import TensorflowWithoutJax, WarmPython

# The same few examples every time, however busy the machine is. Fixtures of a test serve all of its examples.
settings.register_profile(
    "few",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("few")

sys.meta_path.insert(0, TensorflowWithoutJax)

collect_ignore = ["fixtures"]  # packages of their own, whose tests run where they are installed

POLICY_VARIABLES = ("CNNREG_PLUGINS", "CNNREG_DISABLE_PLUGINS", "CNNREG_STRICT_PLUGINS")

DECLARATION = '''
import cnn_registry

@cnn_registry.register_model(**{fields})
def {name}(input_shape, num_classes, *, {options}):
    """Average the pixels after one convolution."""
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D({width}, 3, padding="same")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x), name="{name}")
'''

PAPER = 'cnn_registry.Paper(title="A tiny network", authors="Doe", year=2020, url="https://example.org")'


def declaration(name: str, *, options: str = "width=4", **fields: Any) -> str:
    """The source of a plugin's module that declares a tiny model.

    Args:
        name: the model's name.
        options: the builder's keyword-only parameters, as they are written.
        **fields: further arguments of ``register_model``.
    """
    given = {"family": "tiny", "summary": f"The tiny network {name}", "trainable_params": 5112} | fields
    text = ", ".join(f"{key!r}: {value!r}" for key, value in given.items())
    width = "width" if "width" in options else "4"
    return DECLARATION.format(name=name, fields="{" + f"{text}, 'paper': {PAPER}" + "}", options=options, width=width)


class FakePlugins:
    """Writes distributions into folders of ``sys.path``; the allow list has what was written, and nothing else.

    Attributes:
        root: the folder of those folders.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._monkeypatch = monkeypatch
        self._folders: list[str] = []
        self._distributions: list[str] = []

    def install(
        self,
        distribution: str,
        *models: str,
        source: str | None = None,
        entries: Mapping[str, str] | None = None,
        version: str = "1.0",
        folder: str = "site",
    ) -> Path:
        """Write a distribution that publishes models.

        Args:
            distribution: its name; its module is named alike.
            *models: the models that its module declares and its entry points name.
            source: the module's text; default the declarations of ``models``.
            entries: entry points, from name to value; default one for each of ``models``.
            version: its version.
            folder: the folder of ``sys.path``, made at its first use; a later one comes before an earlier one.

        Returns:
            Its ``dist-info`` folder.
        """
        module = normalised(distribution).replace("-", "_")
        text = "".join(map(declaration, models)) if source is None else source
        points = {name: f"{module}:{name}" for name in models} if entries is None else entries
        path = self._on_path(folder)
        (path / f"{module}.py").write_text(text)
        info = path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {distribution}\nVersion: {version}\n\nRead me\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{MODELS}]", *lines, ""]))
        self.allow(distribution)
        importlib.invalidate_caches()
        return info

    declaration = staticmethod(declaration)

    def unpack(self, wheel: Path) -> None:
        """Put a wheel's content on the path, which is what installing it does."""
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self._on_path("site"))
        self.allow(wheel.name.partition("-")[0].replace("_", "-"))
        importlib.invalidate_caches()

    def allow(self, distribution: str) -> None:
        """Add a distribution to the allow list."""
        self._distributions.append(distribution)
        self._monkeypatch.setenv("CNNREG_PLUGINS", ",".join(self._distributions))

    def _on_path(self, folder: str) -> Path:
        path = self.root / folder
        if str(path) not in self._folders:
            path.mkdir()
            self._folders.insert(0, str(path))
            self._monkeypatch.syspath_prepend(str(path))
            self._monkeypatch.setenv("PYTHONPATH", os.pathsep.join(self._folders))
        return path


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePlugins]:
    """A registry of the test's own, with no plugin but those that it installs, here and in processes it starts."""
    for variable in POLICY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    root = tmp_path / "plugins"
    root.mkdir()
    fakes = FakePlugins(root, monkeypatch)
    fakes.allow("none-installed-yet")
    with use_registry(Registry()):
        yield fakes
    for name, module in sys.modules.copy().items():  # in one step: other threads import
        if str(getattr(module, "__file__", None)).startswith(str(root)):
            del sys.modules[name]


RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_python() -> RunPython:
    """Run Python in a process of its own: ``run_python("-c", code, VARIABLE=value)``, ``None`` to unset."""
    return run_with([sys.executable])


WARM_PYTHON = "TESTS_WARM_PYTHON"
"""The variable in which workers find the words of `WarmPython.command`, and `WarmPython.executable` behind them."""


def pytest_configure(config: pytest.Config) -> None:
    """Start the server of warm processes; all workers share it."""
    if WARM_PYTHON not in os.environ:
        stack = ExitStack()
        warm = stack.enter_context(WarmPython(sys.executable))
        os.environ[WARM_PYTHON] = json.dumps([*warm.command, warm.executable])
        stack.callback(os.environ.pop, WARM_PYTHON)
        config.add_cleanup(stack.close)


@pytest.fixture(scope="session")
def warm_python() -> list[str]:
    """What the command of a process begins with, in place of ``sys.executable``, whose TensorFlow is imported already.

    For tests of what a process does with TensorFlow, not of how it comes to it.
    """
    return list(json.loads(os.environ[WARM_PYTHON])[:-1])


@pytest.fixture
def warm_executable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that code starts with ``sys.executable`` have TensorFlow already, if they need it in any case."""
    monkeypatch.setattr(sys, "executable", json.loads(os.environ[WARM_PYTHON])[-1])


@pytest.fixture
def run_warm_python(warm_python: list[str]) -> RunPython:
    """As ``run_python``, with TensorFlow imported already."""
    return run_with(warm_python)


def run_with(python: list[str]) -> RunPython:
    def run(*arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        changed = {**os.environ, **variables}
        environment = {name: value for name, value in changed.items() if value is not None}
        return subprocess.run(
            [*python, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return run


class Ended(NamedTuple):
    """How a command ended: its exit code, and what it printed where."""

    code: int
    out: str
    err: str


Cnnreg = Callable[..., Ended]


@pytest.fixture
def cnnreg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cnnreg:
    """Run the command line in this process: ``cnnreg("list", "--json")``."""
    from cnn_registry.cli import common, main

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["cnnreg", *map(str, arguments)])
        monkeypatch.setattr(common, "_shown", {"tracebacks": False})
        monkeypatch.setattr("warnings.showwarning", warnings.showwarning)  # main() replaces it
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own: nothing is read from the user's, and nothing is written there."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("CNNREG_CACHE", str(cache))
    return cache


TINY = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="One convolution and a classifier", trainable_params=9224, min_size=4,
    input_shape=(16, 16, 3), aliases=("smallest",), recipe_settings={"article": {"model.filters": 4}},
    paper=cnn_registry.Paper(title="A tiny network", authors="Doe", year=2020, url="https://example.org"),
)
def tiny(input_shape, num_classes, *, filters=8):
    '''A convolution, batch normalisation, the mean of each map, and a classifier.'''
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(filters, 3, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(num_classes, activation="softmax")(x)
    return keras.Model(inputs, x, name="tiny")
"""


@pytest.fixture
def tiny(plugins: FakePlugins) -> str:
    """The name of an installed model that trains in a second."""
    plugins.install("cnnreg-tiny", source=TINY, entries={"tiny": "cnnreg_tiny:tiny"})
    return "tiny"


TWO = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="Two convolutions", trainable_params=1, input_shape=(8, 8, 2),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
    features={"stride2": cnn_registry.Feature("c1", (4, 4, 4)), "stride4": cnn_registry.Feature("c2", (2, 2, 6))},
    aux_heads={"aux": 0.3},
)
def two(input_shape, num_classes, *, aux_heads=False):
    '''A convolution, a grouped convolution, and a classifier; a head after the first.'''
    import keras

    inputs = keras.Input(input_shape)
    first = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="c1")(inputs)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", groups=2, name="c2")(first)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    outputs = keras.layers.Dense(num_classes, activation="softmax", name="predictions")(x)
    if not aux_heads:
        return keras.Model(inputs, outputs, name="two")
    x = keras.layers.GlobalAveragePooling2D(name="aux_average")(first)
    aux = keras.layers.Dense(num_classes, activation="softmax", name="aux")(x)
    return keras.Model(inputs, {"predictions": outputs, "aux": aux}, name="two")
"""


@pytest.fixture
def two(plugins: FakePlugins) -> str:
    """The name of an installed model with features and an auxiliary head."""
    plugins.install("cnnreg-two", source=TWO, entries={"two": "cnnreg_two:two"})
    return "two"


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 20 pictures each of a blue, a green and a red noise."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("data") / "colours"
    generator = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (root / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 120, (18, 22, 3))
            pixels[..., channel] += 120
            Image.fromarray(pixels.astype("uint8")).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def own_colours(colours: Path, tmp_path: Path) -> Path:
    """A copy of ``colours`` that the test may change."""
    return Path(shutil.copytree(colours, tmp_path / "own" / "colours"))


UNVARIED: dict[str, Any] = {
    **dict.fromkeys((f"augmentation.{name}" for name in ("rotation", "brightness", "contrast", "saturation")), 0),
    **{"augmentation.crop_area": [1, 1], "mixing.mixup": 0, "mixing.cutmix": 0, "precision": "float32"},
}
"""Settings of a training that hardly varies its images, in the same precision on every processor. It is traced in two
thirds of the time."""

UNVARIED_OPTIONS = [f"--set={name}=0" for name, value in UNVARIED.items() if value == 0]
"""Most of them as options of ``cnnreg train``."""

SETTINGS = UNVARIED | {
    **{"epochs": 3, "batch_size": 8, "image_size": 16, "optimizer.learning_rate": 0.1},
    "precision": "auto",  # of the run that tests of evaluation, reports and exports share
}


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, colours: Path) -> Path:
    """The run directory of a training of ``tiny`` on ``colours``; read it through the fixture ``trained``."""
    from cnn_registry import train

    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("CNNREG_CACHE", str(root / "cache"))
        fakes = FakePlugins(root, monkeypatch)
        fakes.install("cnnreg-tiny", source=TINY, entries={"tiny": "cnnreg_tiny:tiny"})
        with use_registry(Registry()):
            run = train("tiny", data=colours, settings=SETTINGS, out=root / "runs")
    sys.modules.pop("cnnreg_tiny", None)
    return run.path


@pytest.fixture
def trained(tiny: str, trained_once: Path, tmp_path: Path) -> Path:
    """A run directory of the test's own, of an installed model."""
    return Path(shutil.copytree(trained_once, tmp_path / "run"))


ROOT = Path(__file__).parents[1]


def link_distributions(wanted: str, site: Path) -> None:
    """Put what an installed distribution requires into another ``site-packages``, but nothing of this checkout."""
    requirements, done = [Requirement(wanted)], set()
    while requirements:
        requirement = requirements.pop()
        if (key := (requirement.name.lower(), *sorted(requirement.extras))) in done:
            continue
        done.add(key)
        with suppress(PackageNotFoundError):
            installed = distribution(requirement.name)
            if requirement.name != "cnn-registry":
                link_files(installed, site)
            for each in map(Requirement, installed.requires or ()):
                if not each.marker or any(each.marker.evaluate({"extra": name}) for name in ("", *requirement.extras)):
                    requirements.append(each)


def link_files(installed: Distribution, site: Path) -> None:
    """Link the files of a distribution into another ``site-packages``; commands outside it are left out."""
    for file in installed.files or ():
        source, target = Path(str(installed.locate_file(file))), site / file
        if ".." in file.parts or not source.exists() or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:  # on another disk
            shutil.copy2(source, target)


SEVERAL_COMMANDS = """
import contextlib, io, json, sys
from cnn_registry.cli import main

printed = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["cnnreg", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main()
        except SystemExit as ended:
            assert not ended.code, words
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


class Environment:
    """A virtual environment with the core's wheel, as users install it; nothing of this checkout is on its path.

    Args:
        folder: where it is, or will be once ``make`` was called.

    Attributes:
        python: what the command of a process begins with; see ``warm_python``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.binaries = folder / ("Scripts" if sys.platform == "win32" else "bin")
        self.python = [str(self.binaries / "python")]

    def make(self, core: Path) -> None:
        """Write it, with the core's wheel and TensorFlow in it.

        What the wheel requires is linked from this environment, compiled; to unpack and compile it takes a minute. pip
        installs what is not there.
        """
        venv.create(self.folder, clear=True)
        place = {"base": str(self.folder), "platbase": str(self.folder)}
        link_distributions("cnn-registry[cpu]", Path(sysconfig.get_path("purelib", "venv", place)))
        install = [sys.executable, "-m", "pip", "--quiet", "--python", str(self.folder), "install"]
        done = subprocess.run(
            [*install, "pip", f"{core}[cpu]"],
            cwd=ROOT,
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def pip(self, *arguments: object) -> None:
        """Run pip, with the versions that this checkout is tested with."""
        self.run("python", "-m", "pip", "--quiet", *arguments, cwd=ROOT)

    def run(self, command: str, *arguments: object, cwd: Path) -> str:
        """What a command of the environment prints; it must succeed."""
        return self._run([str(self.binaries / command), *map(str, arguments)], cwd)

    def _run(self, words: list[str], cwd: Path) -> str:
        done = subprocess.run(words, cwd=cwd, env=self.variables(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def cnnreg(self, *commands: Sequence[object], cwd: Path) -> list[str]:
        """What each of several commands of ``cnnreg`` prints. One process runs them all; it has TensorFlow already."""
        words = json.dumps([[str(word) for word in command] for command in commands])
        return list(json.loads(self._run([*self.python, "-c", SEVERAL_COMMANDS, words], cwd).splitlines()[-1]))

    def variables(self) -> dict[str, str]:
        """The variables of its processes: as if it were activated."""
        left_out = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", *POLICY_VARIABLES)
        return {name: value for name, value in os.environ.items() if name not in left_out} | {
            "PATH": f"{self.binaries}{os.pathsep}{os.environ['PATH']}",
            "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
            "VIRTUAL_ENV": str(self.folder),
        }


BuildWheels = Callable[..., list[Path]]


@pytest.fixture(scope="session")
def build_wheels(tmp_path_factory: pytest.TempPathFactory) -> BuildWheels:
    """Build the wheels of projects, given by their folders."""

    def build(*projects: Path) -> list[Path]:
        folder = tmp_path_factory.mktemp("wheels")
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
        command = [sys.executable, "-m", "pip", "wheel", *options, *map(str, projects)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return list(folder.glob("*.whl"))

    return build


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with the longest tests first, so that a run ends with short ones and no worker waits for another.

    First come those that use ``environment``: one worker gets them all, and no other has to wait for it.
    """
    uses_environment = {item.path for item in items if "environment" in getattr(item, "fixturenames", ())}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in uses_environment, item.path not in slow))


MANY = 250_000
"""New objects after which garbage is collected."""


def pytest_collection_finish() -> None:
    """Let garbage be collected between tests only, and without a look at the million objects of Keras' modules."""
    gc.collect()
    gc.freeze()
    gc.disable()


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Collect the garbage of the tests so far: less is alive now than during a test."""
    if nextitem and gc.get_count()[0] > MANY:
        gc.collect()


@pytest.fixture(scope="session")
def environment_folder(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Where the environment is, which all workers share."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if hasattr(pytestconfig, "workerinput") else base) / "environment"


@pytest.fixture(scope="session")
def environment_python(environment_folder: Path) -> Iterator[list[str]]:
    """``Environment.python`` of the environment, which exists already."""
    made = Environment(environment_folder)
    with WarmPython(str(made.binaries / "python"), made.variables()) as warm:
        yield warm.command


@pytest.fixture(scope="module")
def environment(
    build_wheels: BuildWheels, environment_folder: Path, request: pytest.FixtureRequest
) -> Iterator[Environment]:
    """An environment for tests of installed packages; a module uninstalls whatever it installs in it.

    It is made once in a test run, however many workers there are, and serves one module at a time.
    """
    made = Environment(environment_folder)
    with FileLock(f"{environment_folder}.lock"):
        complete = environment_folder.with_suffix(".complete")
        if not complete.exists():
            [core] = build_wheels(ROOT)
            made.make(core)
            complete.touch()
        made.python = request.getfixturevalue("environment_python")
        yield made
