"""``train`` as a whole: what is chosen where, and what is refused before anything is written."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cnn_registry
from cnn_registry import backend, get_spec
from cnn_registry.data.sources import load
from cnn_registry.errors import BadImageError, CnnRegistryError, DataError
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.recipes.load import load_recipe
from cnn_registry.runs.run import Run
from cnn_registry.workflows.plan import Request, plan_training

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

train = partial(cnn_registry.train, report=False)
"""Most tests here do not look at the report, which takes as long as the training."""

FAST: dict[str, Any] = {"epochs": 1, "batch_size": 16}


def test_tensorboard_that_is_not_installed_is_asked_for(
    tiny: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(CnnRegistryError, match=r"pip install 'cnn-registry\[tensorboard\]'"):
        train(tiny, data=colours, settings=FAST, out=tmp_path / "runs", tensorboard=True)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        ({"model": "tinny"}, {}, "no model 'tinny'.*Did you mean 'tiny'"),
        ({"recipe": "artcle"}, {}, "no recipe 'artcle'.*Did you mean 'article'"),
        ({"dataset": "digit", "data": None}, {}, "no dataset 'digit'.*Did you mean 'digits'"),
        ({"data": "nowhere"}, {}, "no folder nowhere"),
        ({"split": "official"}, {}, "official.*stratified"),
        ({}, {"epoch": 1}, "Did you mean 'epochs'"),
        ({}, {"model.filter": 3}, "no option 'filter'.*Did you mean 'filters'"),
        ({}, {"image_size": 3}, "at least 4x4"),
        ({}, {"model.filters": -1}, "could not be built"),
        ({}, {"optimizer": "sgdd"}, "no optimizer 'sgdd'. Did you mean 'sgd'"),
        ({}, {"loss": "nowhere:Loss"}, "no module 'nowhere' for the loss"),
        ({}, {"metrics": ["AOC"]}, "no metric 'AOC'. Did you mean 'AUC'"),
        ({}, {"callbacks": ["keras.callbacks:CVSLogger"]}, "no 'CVSLogger' for the callback. Did you mean 'CSVLogger'"),
        ({}, {"callbacks": ["keras.callbacks:ReduceLROnPlateau"], "schedule": "cosine"}, "sets the learning rate"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    tiny: str, colours: Path, tmp_path: Path, arguments: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    request: dict[str, Any] = {"model": tiny, "data": colours} | arguments
    with pytest.raises(CnnRegistryError, match=words) as refused:
        train(**request, settings=FAST | settings, out=tmp_path / "runs")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_the_image_size_is_the_settings_then_the_recipes_then_the_datasets_then_the_models(
    tiny: str, colours: Path
) -> None:
    def size(**request: Any) -> int:
        return plan_training(Request(get_spec(tiny), **request)).form.input_shape[0]

    sized = load_recipe("default").with_settings({"image_size": 20})
    assert size(data=colours, recipe=sized, settings={"image_size": 24}) == 24
    assert size(data=colours, recipe=sized) == 20
    assert size(dataset="digits") == 32
    assert size(data=colours) == 16


def test_photographs_have_the_recipes_sizes_scaled_where_the_model_has_another(
    plugins: FakePlugins, colours: Path
) -> None:
    given: dict[str, dict[str, Any]] = {
        "small": {"input_shape": (12, 12, 3), "min_size": 4},
        "large": {"input_shape": (99, 99, 3), "min_size": 30},
        "own": {"input_shape": (12, 12, 3), "recipe_settings": {"default": {"photos.size": 16}}},
    }
    source = "".join(plugins.declaration(name, **facts) for name, facts in given.items())
    plugins.install("cnnreg-two", source=source, entries={name: f"cnnreg_two:{name}" for name in given})

    def sizes(model: str, **settings: Any) -> tuple[Any, Any, Any]:
        recipe = plan_training(Request(get_spec(model), data=colours, settings=settings)).recipe
        return recipe.image_size, recipe.decode_size, recipe.train_sizes

    assert sizes("small") == (12, 16, ())
    assert sizes("large") == (96, 128, ())
    assert sizes("own") == (16, 128, ()), "its spec has a say about photographs"
    assert sizes("large", image_size=40) == (40, None, ())
    assert sizes("small", **{"photos.size": 24}) == (24, 32, ()), "what one writes holds, and the rest is scaled"
    assert sizes("large", **{"photos.size": 48, "photos.decode_size": 50, "photos.train_sizes": [36]}) == (
        48,
        50,
        (36,),
    )
    assert plan_training(Request(get_spec("small"), dataset="digits")).recipe.decode_size is None


def test_the_precision_that_a_machine_is_fast_at_is_recorded_and_computed_in(
    tiny: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = {}
    for short in (True, False):
        flags = {"avx512_bf16"} if short else set()
        monkeypatch.setattr("cnn_registry.backend.precision.cpu_flags", lambda flags=flags: flags)
        run = train(tiny, data=colours, settings=FAST | {"precision": "auto"}, out=tmp_path, report=True)
        assert run.record.recipe.precision == ("bfloat16" if short else "float32")
        assert ("in bfloat16" in capsys.readouterr().err) == short
        losses[short] = run.record.result["last"]["loss"]
        assert run.record.result["report"]["accuracy"] == evaluate(run).accuracy
    assert losses[True] == pytest.approx(losses[False], rel=0.05)
    assert losses[True] != losses[False]


def test_the_models_spec_adjusts_a_recipe_and_the_settings_come_last(tiny: str, colours: Path, tmp_path: Path) -> None:
    def options(recipe: str | Path, **settings: Any) -> dict[str, Any]:
        settings |= {"image_size": 16}
        return dict(plan_training(Request(get_spec(tiny), data=colours, recipe=recipe, settings=settings)).form.options)

    assert options("article") == {"filters": 4}
    assert options("article", **{"model.filters": 5}) == {"filters": 5}
    (tmp_path / "mine.toml").write_text('extends = "article"')
    assert options(tmp_path / "mine.toml") == {"filters": 4}
    settings = FAST | {"image_size": 16}
    trained = train(tiny, data=colours, recipe=tmp_path / "mine.toml", settings=settings, out=tmp_path)
    assert trained.record.model.options == {"filters": 4}


def test_a_folder_that_brings_a_split_is_used_as_it_is_split(tiny: str, colours: Path, tmp_path: Path) -> None:
    root = tmp_path / "parted"
    for part in ("train", "val"):
        shutil.copytree(colours, root / part)
    split = plan_training(Request(get_spec(tiny), data=root)).parts
    assert split.name == "folders"
    assert all(image.startswith("val/") for image in split.val)
    assert len(split.train) == 60


def test_unreadable_images_are_left_out_and_recorded(tiny: str, colours: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(colours, tmp_path / "some_bad"))
    (root / "red" / "empty.jpg").write_bytes(b"")
    run = train(tiny, data=root, settings=FAST, out=tmp_path)
    assert run.record.data.left_out == {"red/empty.jpg": "empty file"}
    with pytest.raises(CnnRegistryError, match=r"empty\.jpg"):
        train(tiny, data=root, settings=FAST, out=tmp_path, on_bad_image="error")


def test_a_batch_larger_than_the_memory_is_refused_before_a_directory_is_made(tmp_path: Path) -> None:
    settings = {"image_size": 8192, "batch_size": 100_000}
    with pytest.raises(DataError, match=r"^A batch of 1797 images of 8192x8192 pixels takes .* smaller image_size"):
        train("lenet5", dataset="digits", settings=settings, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_streamed_image_that_goes_bad_ends_a_training_by_its_name(
    tiny: str, own_colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = backend.keras()
    monkeypatch.setattr(load, "usable_memory", lambda: 50 * 16 * 16 * 3)  # for more than a batch, and less than all

    class Damage(keras.callbacks.Callback):  # type: ignore[misc, name-defined]  # Keras is untyped
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            for image in (own_colours / "red").iterdir():
                image.write_bytes(b"")

    settings = {"epochs": 3, "batch_size": 8, "image_size": 16}
    with pytest.raises(
        BadImageError,
        match=r"/red/\d+\.png cannot be read as an image: its content has changed since it was first read\.$",
    ) as caught:
        train(tiny, data=own_colours, settings=settings, out=tmp_path / "runs", callbacks=[Damage()])
    assert "\n" not in str(caught.value)
    [path] = (tmp_path / "runs").iterdir()
    record = Run.open(path).record
    assert (record.status, record.result["error"]) == ("failed", str(caught.value))


IS_SLOW = "TensorFlow computes bfloat16 without instructions of this processor"


@pytest.mark.parametrize(
    ("flags", "precision", "is_slow"),
    [({"avx2"}, "bfloat16", True), ({"avx2"}, "float32", False), ({"amx_bf16"}, "bfloat16", False)],
)
def test_a_precision_that_the_processor_imitates_is_called_slow_and_can_be_changed(
    tiny: str,
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: set[str],
    precision: str,
    is_slow: bool,
) -> None:
    monkeypatch.setattr("cnn_registry.backend.precision.cpu_flags", lambda: frozenset(flags))
    run = train(tiny, data=colours, settings=FAST | {"precision": precision}, out=tmp_path)
    assert (IS_SLOW in capsys.readouterr().err) == is_slow
    for chosen, slow in ((precision, is_slow), ("auto", False)):
        settings = {"epochs": len(run.history) + 1, "precision": chosen}
        run = cnn_registry.resume(run.path, settings=settings, force=True, report=False)
        assert (IS_SLOW in capsys.readouterr().err) == slow
    assert run.record.recipe.precision == ("bfloat16" if "amx_bf16" in flags else "float32")
