from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cnn_registry import backend
from cnn_registry.errors import BackendError
from cnn_registry.system import cgroups, processors

SETTINGS = ("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_CPP_MIN_LOG_LEVEL")
UNSET: dict[str, None] = dict.fromkeys(("KERAS_BACKEND", *SETTINGS))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment where nobody has set anything, put back afterwards."""
    for name in SETTINGS:
        monkeypatch.setenv(name, "")  # so that it is put back even if `prepare` sets what was not there
        monkeypatch.delenv(name)
    return monkeypatch


def settings() -> list[str | None]:
    return [os.environ.get(name) for name in SETTINGS]


def test_prepare_sets_what_makes_tensorflow_fast_and_quiet(bare: pytest.MonkeyPatch) -> None:
    backend.prepare()
    assert settings() == ["1", str(backend.usable_cpus()), "2"]


def test_prepare_leaves_what_the_user_has_set(bare: pytest.MonkeyPatch) -> None:
    chosen = ["0", "7", "0"]
    for name, value in zip(SETTINGS, chosen, strict=True):
        bare.setenv(name, value)
    backend.prepare()
    assert settings() == chosen


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot restrict a process to a processor")
def test_usable_cpus_are_those_that_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    assert backend.usable_cpus() == len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert backend.usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "100000 100000"}, 1),
        ("0::/a/b", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 1),
        ("3:cpu,cpuacct:/a", {"cpu/a/cpu.cfs_quota_us": "150000", "cpu/a/cpu.cfs_period_us": "100000"}, 2),
        ("3:cpu,cpuacct:/host\n0::/", {"cpu/cpu.cfs_quota_us": "90000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ("3:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("3:cpuset:/", {"cpu/cpu.cfs_quota_us": "1000", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/gone", {}, None),
    ],
    ids=["container", "around it", "version 1", "host's path", "no limit", "others", "no file"],
)
def test_usable_cpus_are_no_more_than_a_container_has_time_of(
    bare: pytest.MonkeyPatch, tmp_path: Path, groups: str, files: dict[str, str], expected: int | None
) -> None:
    allowed = backend.usable_cpus()
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    (tmp_path / "own").write_text(f"{groups}\n")
    bare.setattr(cgroups, "CGROUPS", tmp_path)
    bare.setattr(cgroups, "OWN", tmp_path / "own")
    assert backend.usable_cpus() == min(expected or allowed, allowed)


def test_bfloat16_pays_on_processors_that_multiply_it(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def computes(flags: str) -> bool:
        told = tmp_path / "cpuinfo"
        told.write_text(f"processor\t: 0\nflags\t\t: fpu {flags} sse\n\nprocessor\t: 1\nflags\t\t: fpu {flags} sse\n")
        bare.setattr(processors, "CPUINFO", told)
        return backend.computes_bfloat16()

    assert computes("avx512_bf16")
    assert computes("amx_bf16 amx_tile")
    assert not computes("avx512f avx512_fp16")
    bare.setattr(processors, "CPUINFO", tmp_path / "absent")
    assert backend.cpu_flags() == frozenset()
    assert not backend.computes_bfloat16()
    bare.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert not computes("avx512_bf16"), "without oneDNN it is emulated"


WATCHED_IMPORT = """
import builtins, os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            print(*(os.environ.get(setting) for setting in {settings!r}))

sys.meta_path.insert(0, Watch())
from cnn_registry import backend
from cnn_registry.errors import BackendError
from cnn_registry.system import cgroups, processors
tensorflow = backend.tensorflow()
keras = backend.keras()
print(tensorflow.config.threading.get_intra_op_parallelism_threads(), keras.backend.backend())
print([name for name in ("sklearn", "scipy.stats", "matplotlib") if name in sys.modules])
shown = keras.visualization.plot_image_gallery.__name__, keras.wrappers.SKLearnClassifier.__name__
print(*shown, "sklearn" in sys.modules, all(type(finder).__module__ != environment for finder in sys.meta_path))
"""


@pytest.mark.slow
def test_all_is_set_when_tensorflow_is_imported(run_python: Any, tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')  # the variable decides
    code = f"environment = 'cnn_registry.backend.environment'{WATCHED_IMPORT.format(settings=SETTINGS)}"
    chosen = {"TF_NUM_INTRAOP_THREADS": "3", "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow"}
    done = run_python("-c", code, **UNSET | chosen)
    lines = done.stdout.splitlines()
    what_waits = ["[]", "plot_image_gallery SKLearnClassifier True True"]
    assert (done.returncode, lines[-4:]) == (0, ["1 3 2", "0 tensorflow", *what_waits]), done.stderr


WHAT_WE_TAKE = """
import os
from cnn_registry import backend
before = dict(os.environ)
print(backend.chosen_backend())
assert dict(os.environ) == before
"""
WHAT_KERAS_TAKES = (
    WHAT_WE_TAKE
    + """
print(backend.keras().config.backend())
names = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS")  # JAX sets the log level itself
print([name for name in names if os.environ.get(name) != before.get(name)])
"""
)


@pytest.mark.parametrize(
    ("variable", "configured", "backend_name"),
    [
        (None, None, "tensorflow"),
        ("", None, "tensorflow"),
        ("jax", None, "jax"),
        (None, '{"backend": "jax"}', "jax"),
        ("", '{"backend": "jax"}', "jax"),
        ("tensorflow", '{"backend": "jax"}', "tensorflow"),
        (None, "{", "tensorflow"),
        (None, "{}", "tensorflow"),
    ],
)
def test_the_backend_that_the_user_chose_is_known_without_keras(
    tmp_path: Path, run_python: Any, variable: str | None, configured: str | None, backend_name: str
) -> None:
    if configured is not None:
        (tmp_path / "keras.json").write_text(configured)
    done = run_python("-c", WHAT_WE_TAKE, **UNSET | {"KERAS_BACKEND": variable, "KERAS_HOME": str(tmp_path)})
    assert done.stdout.splitlines() == [backend_name], done.stderr


@pytest.mark.slow
def test_keras_runs_on_the_backend_that_the_user_chose(tmp_path: Path, run_python: Any) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    done = run_python("-c", WHAT_KERAS_TAKES, **UNSET | {"KERAS_BACKEND": "", "KERAS_HOME": str(tmp_path)})
    assert done.stdout.splitlines() == ["jax", "jax", "[]"], done.stderr


ASK_FOR_KERAS = """
from cnn_registry import backend, errors
try:
    backend.{module}()
except errors.BackendError as error:
    print(error)
"""

HIDE = "import sys; sys.modules[{name!r}] = None"  # what an import of a missing module meets


def test_a_backend_that_is_not_installed_is_named(run_python: Any) -> None:
    code = "\n".join([HIDE.format(name="jax"), ASK_FOR_KERAS.format(module="keras")])
    done = run_python("-c", code, **UNSET | {"KERAS_BACKEND": "jax"})
    assert done.stdout == ("Keras' backend 'jax' is not installed. Install it, or set KERAS_BACKEND=tensorflow.\n")
    assert done.stderr == ""


def test_without_tensorflow_the_error_says_what_to_install(run_python: Any) -> None:
    code = "\n".join([HIDE.format(name="tensorflow"), ASK_FOR_KERAS.format(module="tensorflow")])
    done = run_python("-c", code, **UNSET)
    assert done.stdout.startswith("Keras' backend 'tensorflow' is not installed. Install one with: pip install ")


def test_without_keras_the_error_says_what_to_install(run_python: Any) -> None:
    code = "\n".join([HIDE.format(name="keras"), ASK_FOR_KERAS.format(module="keras")])
    done = run_python("-c", code, **UNSET)
    assert done.stdout.startswith("Keras cannot be imported (")
    assert "pip install" in done.stdout


def test_what_a_backend_lacks_is_named(run_python: Any) -> None:
    code = "\n".join([HIDE.format(name="jax"), ASK_FOR_KERAS.format(module="keras")])
    done = run_python("-c", code, **UNSET | {"KERAS_BACKEND": "numpy"})  # Keras takes JAX for part of it
    assert done.stdout.startswith("Keras cannot be imported (import of jax halted")
    assert "pip install" in done.stdout


def test_training_needs_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.keras().config, "backend", lambda: "torch")
    with pytest.raises(
        BackendError, match=r"^Training and evaluation need Keras on TensorFlow, but its backend is 'torch'\. Start Py"
    ):
        backend.tensorflow()
