"""The checks of models: a sound model passes all of them, and for each there is a broken model that fails it alone."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cnn_registry import Paper, get_spec, register_model
from cnn_registry.errors import UsageError
from cnn_registry.testing import CheckFailed, CheckResult, check_model
from cnn_registry.testing.checks import MODEL_CHECKS, model_checks
from cnn_registry.testing.saved import BACKENDS

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

pytestmark = pytest.mark.slow

DECLARATION = '''
import functools
import cnn_registry


def with_dropout(function):
    @functools.wraps(function)
    def wrapped(*arguments, **options):
        return function(*arguments, **({"dropout": 0.5} | options))

    return wrapped


@cnn_registry.register_model(
    family="kit", summary="A network with nothing wrong", input_shape=(32, 32, 3), min_size=5,
    paper=cnn_registry.Paper(title="Sound networks", authors="Doe", year=2020, url="https://example.org/sound"),
    trainable_params=18_417, non_trainable_params=48, macs=127_744,
    features={
        "stride2": cnn_registry.Feature("c1_relu", (16, 16, 8)),
        "stride4": cnn_registry.Feature("c2_relu", (7, 7, 16)),
    },
    aux_heads={"aux": 0.3},
    recipe_settings={"default": {"optimizer.learning_rate": 0.02, "model.dropout": 0.1}},
    weights={"kit:noise": cnn_registry.Pretrained("MODULE_network:trained", lambda: {"c1": "first"}, "unit")},
)
def MODEL(input_shape, num_classes, *, dropout=0.0, aux_heads=False):
    """Two convolutions and a classifier, with a head behind the first."""
    from MODULE_network import build

    return build(input_shape, num_classes, dropout, aux_heads)
'''

NETWORK = """
import os
import sys

import keras
from cnn_registry.blocks import Conv2D_BN


@keras.saving.register_keras_serializable("MODULE")
class Scale(keras.layers.Layer):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def build(self, input_shape):
        self.shift = self.add_weight(shape=(), initializer="zeros", name="shift")

    def call(self, inputs):
        return inputs * self.factor + self.shift

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def build(input_shape, num_classes, dropout, aux_heads):
    options = {"order": "bn_relu", "use_bias": False, "momentum": 0.9}
    inputs = keras.Input(input_shape)
    first = x = Conv2D_BN(inputs, 8, 3, "same", 2, name="c1", **options)
    x = Conv2D_BN(x, 16, 3, "valid", 2, name="c2", **options)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    x = Scale(2.0, name="scale")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = keras.layers.Dense(num_classes, activation="softmax", name="predictions")(x)
    if not aux_heads:
        return keras.Model(inputs, outputs, name="MODEL")
    x = keras.layers.GlobalAveragePooling2D(name="aux_average")(first)
    aux = keras.layers.Dense(num_classes, activation="softmax", name="aux")(x)
    return keras.Model(inputs, {"predictions": outputs, "aux": aux}, name="MODEL")


def trained(weights):
    network = build((32, 32, 3), 1000, 0.0, False)
    return keras.models.clone_model(
        network, clone_function=lambda layer: type(layer).from_config(
            layer.get_config() | ({"name": "first"} if layer.name == "c1" else {})
        )
    )
"""

SHIFTED = "return inputs * self.factor + self.shift"
MAIN_HEAD = 'Dense(num_classes, activation="softmax", name="predictions")'
MODEL_OUTPUT = '        return keras.Model(inputs, outputs, name="MODEL")'
INPUTS = "    inputs = keras.Input(input_shape)"

BROKEN = {
    "light-import": ("import functools", "import functools\n__import__('tensorflow')"),
    "spec": ("https://example.org/sound", "example.org/sound"),
    "docstring": ('    """Two convolutions and a classifier, with a head behind the first."""\n', ""),
    "builds": (MODEL_OUTPUT, "        return None"),
    "parameters": ("18_417", "18_418"),
    "macs": ("127_744", "127_745"),
    "sizes": (INPUTS, f"    assert input_shape[0] == input_shape[1]\n{INPUTS}"),
    "smallest": ("min_size=5", "min_size=4"),
    "classes": (MAIN_HEAD, MAIN_HEAD.replace("num_classes", "max(2, num_classes)")),
    "channels": (INPUTS, f"    assert input_shape[2] < 4\n{INPUTS}"),
    "options": ("def MODEL(", "@with_dropout\ndef MODEL("),
    "aux-heads": ('{"aux": 0.3}', '{"aux": 1.5}'),
    "features": ("(7, 7, 16)", "(8, 8, 16)"),
    "names": (', name="scale")', ")"),
    "no-lambda": ("Scale(2.0,", "keras.layers.Lambda(keras.activations.relu, name='lambda')(x)\n    x = Scale(2.0,"),
    "no-tensorflow": (
        SHIFTED,
        "if keras.backend.backend() == 'tensorflow':\n            import tensorflow as tf\n"
        "            return tf.multiply(inputs, self.factor) + self.shift\n        " + SHIFTED,
    ),
    "weights-table": ('{"c1": "first"}', '{"c_1": "first"}'),
    "probabilities": (MAIN_HEAD, MAIN_HEAD.replace("softmax", "sigmoid")),
    "rows": (SHIFTED, f"{SHIFTED} + keras.ops.mean(inputs, axis=0, keepdims=True)"),
    "seed": (MAIN_HEAD, MAIN_HEAD[:-1] + ", kernel_initializer=keras.initializers.HeNormal(os.urandom(1)[0]))"),
    "mixed-float16": (SHIFTED, f"{SHIFTED} + (inputs * 1e6) / 1e6"),
    "mixed-bfloat16": (SHIFTED, f"{SHIFTED} + inputs * 2e-3 / ((keras.ops.ones_like(inputs) + 2e-3) - 1)"),
    "gradients": (SHIFTED, "return inputs * self.factor"),
    "gradient-norm": (SHIFTED, "return inputs * self.factor + 0.1 * keras.ops.sin(2000 * (2000 * self.shift))"),
    "learns": ("Scale(2.0,", "Scale(1e-4,"),
    "trains": ('"optimizer.learning_rate": 0.02', '"optimizer.learning_rate": 1e30'),
    "keras-file": ('{**super().get_config(), "factor": self.factor}', "super().get_config()"),
    "weights-file": (
        "Scale(2.0,",
        "Scale(2.0 if 'pytest' in sys.modules or keras.backend.backend() != 'tensorflow' else 1.0,",
    ),
    "backends": (SHIFTED, f"{SHIFTED} + (0.0 if keras.backend.backend() == 'tensorflow' else 1.0)"),
    "weights-download": ("network = build((32, 32, 3), 1000", "network = build((32, 32, 1), 1000"),
}
"""For each check the place in the sound model, and what there breaks just that."""

CHEAP = [check.name for check in MODEL_CHECKS if check.cheap]
ALL = [check.name for check in MODEL_CHECKS]
SHORT = [name for name in ALL if name not in ("learns", "trains", "weights-download")]
READ = ["keras-file", "weights-file", "backends"]
NUMBERS = [name for name in SHORT if name not in (*CHEAP, *READ)]
DRAWN = [name for name in CHEAP if name != "light-import"]

CHECKED = {
    **dict.fromkeys(DRAWN, DRAWN),
    "light-import": CHEAP,
    "names": [*DRAWN, "weights-file"],
    "no-lambda": [*DRAWN, "keras-file"],
    "no-tensorflow": [*DRAWN, "backends"],
    **dict.fromkeys(set(ALL) - set(CHEAP), NUMBERS),
    **{name: [*NUMBERS, *READ] for name in ("probabilities", "rows", *READ)},
    **{name: [*NUMBERS, "learns"] for name in ("gradients", "gradient-norm", "learns")},
    "trains": [*NUMBERS, "trains"],
    "weights-download": [*DRAWN, "weights-download"],
}
"""The checks that run on each broken model; it must pass all except one. A broken declaration or form of the graph does
not change the numbers of the sound network, nor the other way round. The two trainings and new processes take long."""

Install = Callable[..., str]


@pytest.fixture
def install(plugins: FakePlugins) -> Install:
    """Install the sound model with some places replaced; return the model's name, which is ``name``."""

    def install(name: str, *places: tuple[str, str]) -> str:
        module = f"kit_{name}"
        texts = [DECLARATION, NETWORK]
        for old, new in places:
            assert sum(text.count(old) for text in texts) == 1
            texts = [text.replace(old, new) for text in texts]
        texts = [text.replace("MODULE", module).replace("MODEL", name) for text in texts]
        entry = plugins.install(f"kit-{name}", source=texts[0], entries={name: f"{module}:{name}"})
        (entry.parent / f"{module}_network.py").write_text(texts[1])
        return name

    return install


def failing(results: list[CheckResult]) -> dict[str, str]:
    return {result.check: result.message for result in results if result.outcome == "failed"}


def test_a_sound_model_passes(install: Install) -> None:
    results = check_model(install("sound"))
    assert [result.check for result in results] == [check.name for check in MODEL_CHECKS]
    skipped = {result.check for result in results if result.outcome == "skipped"}
    assert skipped <= {"backends", "weights-download"}


@pytest.mark.parametrize("check", BROKEN)
def test_a_broken_model_fails_just_that_check(
    install: Install, quick_tensorflow: Callable[[], None], check: str
) -> None:
    if check == "backends" and not any(map(importlib.util.find_spec, BACKENDS[::2])):
        pytest.skip("neither JAX nor PyTorch is installed")
    name = install(f"broken_{check.replace('-', '_')}", BROKEN[check])
    if check == "light-import":
        quick_tensorflow()
    found = failing(check_model(name, on_fail=None, only=CHECKED[check]))
    assert found.keys() == {check}, found
    assert re.fullmatch(r"expected .+; got .+\. [A-Za-z].+", found[check])


FEATURES = MODEL_OUTPUT.replace("outputs", "x")


@pytest.mark.parametrize(
    ("name", "place", "message"),
    [
        ("headless", (MODEL_OUTPUT, FEATURES), "the shape of its output must be (None, 1000); got (None, 16)"),
        ("unbuilt", (INPUTS, "    import nowhere"), "ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_one_cause_is_one_failure(install: Install, name: str, place: tuple[str, str], message: str) -> None:
    results = check_model(install(name, place), on_fail=None, only=[*SHORT, "trains"])
    found = failing(results)
    assert found.keys() == {"builds"}
    assert found["builds"].startswith("expected that it builds in its default form; got ")
    assert message in found["builds"]
    skipped = {result.message for result in results if result.outcome == "skipped"}
    assert skipped == {"it does not build, as the check builds reports"}


def test_the_first_check_that_is_asked_for_reports_why_nothing_builds(install: Install) -> None:
    results = check_model(install("nothing", BROKEN["builds"]), on_fail=None, only=["macs", "learns"])
    assert [result.outcome for result in results] == ["failed", "skipped"]
    assert results[1].message == "it does not build, as the check macs reports"


def test_a_check_that_runs_again_reports_the_same(install: Install) -> None:
    [check] = model_checks(install("repeated", BROKEN["builds"]), only=["macs"])
    assert [check.result().outcome for _ in range(2)] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("name", "place", "check", "reason"),
    [
        (
            "thousand",
            (INPUTS, f"    assert num_classes == 1000 or os.environ.get('SCOPE')\n{INPUTS}"),
            "classes",
            "AssertionError",
        ),
        (
            "always_thousand",
            (MAIN_HEAD, MAIN_HEAD.replace("num_classes", "1000")),
            "classes",
            "the shape of its output must be (None, 4); got (None, 1000)",
        ),
        (
            "square",
            (INPUTS, f"    assert input_shape[0] == 32, 'only 32 pixels'\n{INPUTS}"),
            "sizes",
            "AssertionError: only 32 pixels",
        ),
    ],
)
def test_an_error_that_several_checks_meet_is_one_failure(
    install: Install, name: str, place: tuple[str, str], check: str, reason: str
) -> None:
    results = check_model(install(name, place), on_fail=None, only=SHORT)
    found = failing(results)
    assert found.keys() == {check}, found
    assert f"{reason}, as the check {check} reports" in {result.message for result in results}


COMPUTED = [check.name for check in MODEL_CHECKS if not check.cheap]
FAULTS = {
    "logits": (
        (MAIN_HEAD, MAIN_HEAD.replace("softmax", "linear")),
        "probabilities",
        "expected probabilities that sum to one",
        "its outputs are not probabilities",
    ),
    "endless": (
        (SHIFTED, f"{SHIFTED} + inputs / (self.shift * 0)"),
        "probabilities",
        "expected finite outputs",
        "its outputs are not finite",
    ),
    "root": (
        (SHIFTED, f"{SHIFTED} + keras.ops.sqrt(self.shift)"),
        "gradients",
        "expected finite gradients of ",
        "its gradients are not finite",
    ),
    "dead_relu": (
        ("x = Scale(2.0,", "x = keras.ops.relu(x - 100)\n    x = Scale(2.0,"),
        "rows",
        "expected different outputs for different images; got the same",
        "its outputs do not depend on the images",
    ),
}
"""What is wrong with a network, the check that reports it, its message, and why other checks are skipped."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_several_checks_meet_is_one_failure(install: Install, name: str) -> None:
    place, check, message, reason = FAULTS[name]
    results = check_model(install(name, place), on_fail=None, only=COMPUTED)
    found = failing(results)
    assert found.keys() == {check}, found
    assert found[check].startswith(message)
    assert f"{reason}, as the check {check} reports" in {result.message for result in results}


def test_a_signal_that_softmax_rounds_away_is_not_a_dead_network(install: Install) -> None:
    assert failing(check_model(install("shrunk", ("Scale(2.0,", "Scale(1e-12,")), None, only=["rows"])) == {}


def test_a_module_that_no_other_process_can_import_is_one_failure(install: Install) -> None:
    only_here = "import functools\nimport sys\nassert 'pytest' in sys.modules"
    results = check_model(install("only_here", ("import functools", only_here)), on_fail=None, only=SHORT)
    found = failing(results)
    assert found.keys() == {"light-import"}, found
    assert "another process cannot import it, as the check light-import reports" in {
        result.message for result in results
    }


def test_a_counter_counts_as_keras_counts_it(install: Install) -> None:
    counter = "x = keras.layers.Normalization(name='normalization')(x)\n    x = Scale(2.0,"
    name = install("counting", ("x = Scale(2.0,", counter), ("params=48, macs=127_744", "params=81"))
    assert failing(check_model(name, None, only=["parameters"])) == {}


def test_weights_need_names(install: Install) -> None:
    name = install("numbered", ('initializer="zeros", name="shift"', 'initializer="zeros"'))
    message = failing(check_model(name, None, only=["names"]))["names"]
    assert re.match(r"expected the same paths of weights in two builds; got 'scale/variable_\d+' in only one", message)


def test_a_network_is_not_built_where_its_weights_have_no_names_to_compare(install: Install) -> None:
    offline = f"    if dropout == 0.5:\n        raise OSError('no network')\n{INPUTS}"
    published = ('lambda: {"c1": "first"}, "unit")', 'dict, "unit", options={"dropout": 0.5})')
    name = install("downloaded", published, (INPUTS, offline))
    assert check_model(name, only=["weights-table"])[0].outcome == "passed"


def test_layers_without_weights_need_no_names(install: Install) -> None:
    results = check_model(install("unnamed", ('(name="average")', "()")), only=["names", "weights-file"])
    assert [result.outcome for result in results] == ["passed", "passed"]


def test_a_message_of_keras_has_no_codes_for_colours_and_whole_words(install: Install) -> None:
    name = install("mismatched", (MAIN_HEAD, f"Conv2D(3, 3)(x) if num_classes == 10 else keras.layers.{MAIN_HEAD}"))
    message = failing(check_model(name, None, only=["classes"]))["classes"]
    assert "Full shape received: (None, 16)" in message
    assert "\x1b" not in message
    assert "\n" not in message


@pytest.mark.parametrize(("name", "hint"), [("defualt", ". Did you mean 'default'?"), ("mine", ".")])
def test_settings_for_a_recipe_that_does_not_exist_are_refused(install: Install, name: str, hint: str) -> None:
    model = install(name, ('recipe_settings={"default"', f'recipe_settings={{"{name}"'))
    message = failing(check_model(model, None, only=["spec"]))["spec"]
    assert message.endswith(f"got {name!r}{hint} Correct the declaration.")


def test_the_check_of_training_leaves_nothing_behind(
    install: Install,
    tmp_path: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    same_cache = f"    import os\n    assert os.environ['CNNREG_CACHE'] == {str(own_cache)!r}\n{INPUTS}"
    name = install("tidy", (INPUTS, same_cache))
    before = {*tmp_path.rglob("*")}
    check_model(name, only=["trains"])
    assert {path for path in {*tmp_path.rglob("*")} - before if "plugins" not in path.parts} == set()
    assert capsys.readouterr() == ("", "")


def test_a_model_of_rectangles_is_trained(install: Install) -> None:
    name = install("wide", ("(32, 32, 3), min_size", "(32, 48, 3), min_size"))
    assert check_model(name, only=["trains"])[0].outcome == "passed"


def test_a_model_of_grey_images_is_trained_in_colour_as_training_does(install: Install) -> None:
    name = install("grey", ("input_shape=(32, 32, 3)", "input_shape=(32, 32, 1)"))
    assert check_model(name, only=["trains"])[0].outcome == "passed"


def test_a_network_that_refuses_colour_is_one_failure(install: Install) -> None:
    grey = f"    assert input_shape[2] == 1\n{INPUTS}"
    name = install("greyscale", ("input_shape=(32, 32, 3)", "input_shape=(32, 32, 1)"), (INPUTS, grey))
    assert failing(check_model(name, None, only=["channels", "trains"])).keys() == {"channels"}


def test_every_check_has_a_broken_model() -> None:
    assert list(BROKEN) == [check.name for check in MODEL_CHECKS]
    assert all(check.about for check in MODEL_CHECKS)


def test_a_session_model_of_a_function_skips_the_checks_in_other_processes(plugins: FakePlugins) -> None:
    def local(input_shape: tuple[int, int, int], num_classes: int) -> Any:
        """Average the pixels, and classify."""
        import keras

        inputs = keras.Input(input_shape)
        x = keras.layers.GlobalAveragePooling2D(name="average")(inputs)
        outputs = keras.layers.Dense(num_classes, activation="softmax", name="predictions")(x)
        return keras.Model(inputs, outputs, name="local")

    paper = Paper(title="Averages", authors="Doe", year=2020, url="https://example.org")
    declare = register_model(
        family="kit", summary="Averages", paper=paper, trainable_params=4000, input_shape=(16, 16, 3), min_size=1
    )
    declare(local)
    elsewhere = ["light-import", "keras-file", "weights-file", "parameters"]
    results = check_model(get_spec("local"), on_fail=None, only=elsewhere)
    assert {result.check: result.outcome for result in results} == {
        "light-import": "skipped",
        "parameters": "passed",
        "keras-file": "skipped",
        "weights-file": "skipped",
    }
    assert "in this session" in results[0].message


def test_large_models_are_checked_cheaply_unless_all_is_asked_for(install: Install) -> None:
    name = install("large", ("18_417", "40_000_000"))
    only = ["parameters", "probabilities"]
    outcomes = [result.outcome for result in check_model(name, None, only=only)]
    assert outcomes == ["failed", "skipped"]
    outcomes = [result.outcome for result in check_model(name, None, only=only, full=True)]
    assert outcomes == ["failed", "passed"]


def test_a_failure_raises_or_warns_or_is_returned(install: Install) -> None:
    name = install("miscounted", BROKEN["parameters"])
    with pytest.raises(CheckFailed, match=r"^miscounted: parameters failed: expected 18,418 .*; got 18,417"):
        check_model(name, only=["parameters"])
    with pytest.warns(UserWarning, match="miscounted: parameters failed") as warned:
        check_model(name, "warn", only=["parameters"])
    assert warned[0].filename == __file__
    assert failing(check_model(name, None, only=["parameters"])).keys() == {"parameters"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"only": ["gradient"]}, "There is no check 'gradient'. Did you mean 'gradients'"),
        ({"on_fail": "ignore"}, "on_fail must be 'raise', 'warn' or None; got 'ignore'."),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        check_model("any", **arguments)
