"""The page of a report, as a browser shows it, and what becomes of it where something is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cnn_registry import train
from cnn_registry.errors import RunError
from cnn_registry.inference.confusion import Confusion
from cnn_registry.report.gallery import Thumbnail
from cnn_registry.report.page import report_page
from cnn_registry.report.render import write_page
from cnn_registry.report.summary import read_summary, summary_text
from cnn_registry.runs.history import read_history
from cnn_registry.runs.run import load_run
from cnn_registry.text import printable
from tests.report.conftest import fabricated

if TYPE_CHECKING:
    from tests.conftest import Cnnreg
    from tests.report.conftest import Fabricate

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

NAMES: tuple[Callable[[int], str], ...] = (
    lambda number: f"class {number}",
    lambda number: f"{number:04}-" + "a_name_of_very_many_letters_" * 6,
    lambda number: f"{number}号" + "鬱金香花" * 9,
    lambda number: f"\N{TULIP}{number}\N{MAN}\u200d\N{WOMAN}",
    lambda number: f"</script><script>window.hacked = {number}</script>",
    lambda number: f"\"'><img src=x onerror='window.hacked = {number}'>",
    lambda number: f"{{{{ 7 * {number} }}}} \x1b[2J \u202e \udcff",
)


def names_of(classes: int) -> list[str]:
    return [NAMES[number % len(NAMES)](number) for number in range(classes)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def made(fabricate: Fabricate, trained: Path, classes: int, folder: Path) -> Path:
    run, summary = fabricate(names_of(classes))
    thumbnails = {number: Thumbnail(PIXEL, PIXEL, tiny=False) for number in range(classes)}
    page = report_page(run, read_history(trained / "history.csv"), summary, thumbnails, ["a note of <b>somebody</b>"])
    write_page(folder / "report.html", page)
    return folder / "report.html"


@pytest.mark.parametrize("classes", [2, 17, 100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_browser_shows_it_at_any_width(
    browser: Any, fabricate: Fabricate, trained: Path, tmp_path: Path, classes: int
) -> None:
    file = made(fabricate, trained, classes, tmp_path)
    page = browser.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if request.url.startswith("http") else None)
    page.goto(file.as_uri())
    for width in (400, 720, 800, 1600) if classes < 1000 else (400, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        for medium, scheme in (("screen", "light"), ("screen", "dark"), ("print", "light")):
            page.emulate_media(media=medium, color_scheme=scheme)
            if medium == "screen" or width >= 720:  # an A4 page has 720 pixels between its margins
                assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(media="screen")
    assert faults == []
    assert page.evaluate("window.hacked") is None
    shown = page.locator("#class-table tbody th").all_inner_texts()
    assert shown == [" ".join(printable(name).split()) for name in names_of(classes)]
    page.close()


def test_the_keyboard_sorts_finds_and_reads(browser: Any, fabricate: Fabricate, trained: Path, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(made(fabricate, trained, 50, tmp_path).as_uri())
    recall = page.locator("#class-table th").filter(has_text="recall")
    recall.get_by_role("button").focus()
    values = []
    for direction in ("descending", "ascending"):
        page.keyboard.press("Enter")
        assert recall.get_attribute("aria-sort") == direction
        values.append([float(value) for value in page.eval_on_selector_all("#class-table tbody td:nth-child(4)", DATA)])
    assert values[0] == sorted(values[0], reverse=True)
    assert values[1] == sorted(values[0])
    assert len(set(values[0])) > 2
    page.get_by_label("Find a class").first.fill("CLASS 4")
    assert set(page.locator("#class-table tbody tr:visible th").all_inner_texts()) == {"class 42", "class 49"}
    page.locator("#whole img").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert page.locator("#whole output").inner_text().startswith(f"true: {NAMES[1](1)} · predicted: {NAMES[2](2)} · ")
    page.close()


DATA = "cells => cells.map(cell => cell.dataset.v)"


def test_a_temperature_that_makes_the_calibration_worse_is_not_said_to_reduce_it(
    fabricate: Fabricate, trained: Path
) -> None:
    run, summary = fabricate(["a", "b", "c"])
    assert summary.calibration
    worse = summary.model_copy(update={"calibration": replace(summary.calibration, error=0.011, error_after=0.022)})
    page = report_page(run, read_history(trained / "history.csv"), worse, {}, [])
    assert "The expected calibration error is 1.1 %. With a temperature of " in page
    assert "it is 2.2 %." in page


def test_only_one_script_may_run_and_nothing_may_be_loaded(
    browser: Any, fabricate: Fabricate, trained: Path, tmp_path: Path
) -> None:
    file = made(fabricate, trained, 2, tmp_path)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("</main>", "<script>window.hacked = 1</script></main>"), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    assert page.evaluate("window.hacked") is None
    page.close()
    assert "http://" not in text
    assert "https://" not in text


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory, colours: Path) -> Iterator[tuple[Path, str]]:
    """A run that has hardly learned, so that it makes mistakes, and what its training printed."""
    from cnn_registry.registry.current import Registry, use_registry
    from tests.conftest import TINY, FakePlugins

    root = tmp_path_factory.mktemp("poor")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("CNNREG_CACHE", str(root / "cache"))
        fakes = FakePlugins(root, monkeypatch)
        fakes.install("cnnreg-tiny", source=TINY, entries={"tiny": "cnnreg_tiny:tiny"})
        own = shutil.copytree(colours, root / "own" / "colours")
        with use_registry(Registry()):
            settings = {"epochs": 1, "image_size": 16, "optimizer.learning_rate": 1e-6, "schedule.warmup_epochs": 0}
            yield train("tiny", data=own, settings=settings, out=root / "runs").path, str(own)


def test_training_writes_it_with_thumbnails_and_maps(poor: tuple[Path, str]) -> None:
    page = (poor[0] / "report.html").read_text(encoding="utf-8")
    summary = read_summary(load_run(poor[0]))
    assert summary is not None
    assert summary.predictions is not None
    wrong = sum(a != b for a, b in zip(summary.predictions.labels, summary.predictions.predicted, strict=True))
    assert wrong > 0
    assert page.count('alt="Grad-CAM for ') >= wrong
    for text in (
        "The surest mistakes",
        "The most confused classes",
        "Balanced accuracy",
        "temperature",
        "<code>epochs",
    ):
        assert text in page
    assert summary.data is not None
    assert summary.data.train == (16, 16, 16)
    assert summary.data.sizes is not None
    assert summary.data.sizes.width == (22.0, 22.0, 22.0)
    assert summary.data.sizes.common == ((22, 18, 1.0),)
    assert set(summary.measures) == {"accuracy", "balanced_accuracy", "macro_f1", "auc"}


def own_run(poor: tuple[Path, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(poor[0], tmp_path / "run"))


def test_the_command_makes_it_again(cnnreg: Cnnreg, tiny: str, poor: tuple[Path, str], tmp_path: Path) -> None:
    run = own_run(poor, tmp_path)
    before = (run / "report.html").read_text(encoding="utf-8")
    ended = cnnreg("report", run)
    assert (ended.code, ended.out) == (0, f"report: {run / 'report.html'}\n")
    again = (run / "report.html").read_text(encoding="utf-8")
    assert again.replace(str(run), str(poor[0])) == before
    ended = cnnreg("report", run, "-o", tmp_path / "other.html", "--json")
    assert json.loads(ended.out) == {"run": str(run), "report": str(tmp_path / "other.html")}


def test_moved_images_take_one_line(cnnreg: Cnnreg, tiny: str, poor: tuple[Path, str], tmp_path: Path) -> None:
    run, data = own_run(poor, tmp_path), Path(poor[1])
    data.rename(tmp_path / "moved")
    try:
        ended = cnnreg("report", run)
        assert ended.code == 0
        [line] = ended.err.splitlines()
        assert f"no longer at {data}" in line
        assert line.endswith("This report has no thumbnails.")
        page = (run / "report.html").read_text(encoding="utf-8")
        assert "<img" not in page
        assert "The surest mistakes" in page
        assert "no longer at" in page
        assert cnnreg("report", run, "--data", tmp_path / "moved").code == 0
        assert 'alt="Grad-CAM for ' in (run / "report.html").read_text(encoding="utf-8")
    finally:
        shutil.copytree(tmp_path / "moved", data)


def test_a_wrong_place_of_the_images_leaves_the_page_as_it_is(
    cnnreg: Cnnreg, tiny: str, poor: tuple[Path, str], tmp_path: Path
) -> None:
    run, other = own_run(poor, tmp_path), Path(shutil.copytree(poor[1], tmp_path / "other"))
    before = (run / "report.html").read_bytes()
    shutil.rmtree(next(other.iterdir()))
    for place, said in (tmp_path / "mistyped", "There is no folder"), (other, "images are not in"):
        ended = cnnreg("report", run, "--data", place)
        assert (ended.code, ended.out) == (1, "")
        assert said in ended.err
        assert (run / "report.html").read_bytes() == before


def test_a_run_without_its_network_has_thumbnails_without_maps(
    cnnreg: Cnnreg, tiny: str, poor: tuple[Path, str], tmp_path: Path
) -> None:
    run = own_run(poor, tmp_path)
    (run / "best.weights.h5").unlink()
    ended = cnnreg("report", run)
    assert ended.code == 0
    assert "there is no Grad-CAM: " in ended.err
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<img" in page
    assert 'alt="Grad-CAM for ' not in page


def test_a_run_of_an_earlier_version_is_evaluated_again(
    cnnreg: Cnnreg, tiny: str, poor: tuple[Path, str], tmp_path: Path
) -> None:
    run = own_run(poor, tmp_path)
    report = json.loads((run / "report.json").read_text())
    older = {key: report[key] for key in ("part", "images", "accuracy", "loss", "classes", "confusion")}
    (run / "report.json").write_text(json.dumps(older))
    kept = (run / "report.json").read_bytes()
    assert cnnreg("report", run).code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "The surest mistakes" in page
    assert "Calibration" in page
    assert (run / "report.json").read_bytes() == kept
    (run / "best.weights.h5").unlink()
    ended = cnnreg("report", run)
    assert ended.code == 0
    assert "could not be evaluated again" in ended.err
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Balanced accuracy" in page
    assert "taken for" in page
    (run / "report.json").unlink()
    (run / "history.csv").unlink()
    assert cnnreg("report", run).code == 0
    assert "Provenance" in (run / "report.html").read_text(encoding="utf-8")


def test_a_file_of_somebody_else_is_refused_before_the_work(
    cnnreg: Cnnreg, trained: Path, colours: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<h1>mine</h1>")
    (trained / "best.weights.h5").unlink()  # of which report and compare would print a line
    pictures = Path(shutil.copytree(colours, tmp_path / "pictures"))
    (pictures / "notes.txt").write_text("notes")  # of which data would
    for command in (["report", trained], ["compare", trained, trained], ["data", pictures]):
        ended = cnnreg(*command, "-o", mine)
        assert (ended.code, ended.out) == (1, "")
        assert "was not written by cnnreg" in ended.err
        assert not any(said in ended.err for said in ("Grad-CAM", "measured", "passed over"))
    assert mine.read_text() == "<h1>mine</h1>"


def test_a_file_of_somebody_else_stays(cnnreg: Cnnreg, trained: Path) -> None:
    (trained / "report.html").write_text("<h1>mine</h1>")
    ended = cnnreg("report", trained)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "was not written by cnnreg" in ended.err
    assert (trained / "report.html").read_text() == "<h1>mine</h1>"
    (trained / "report.html").unlink()
    (trained / "report.html").symlink_to(trained / "labels.txt")
    assert cnnreg("report", trained).code == 1


@pytest.mark.parametrize(
    "change",
    [
        {"confusion": [[1]]},
        {"confusion": [[-1, 0, 0]] * 3},
        {"confusion": {"classes": 3, "cells": [[0, 3, 1]]}},
        {"confusion": {"classes": 3, "cells": [[1, 0, 1], [1, 0, 1]]}},
        {"confusion": {"classes": 3, "cells": [[0, 0, 0]]}},
        {"confusion": {"classes": 9, "cells": []}},
        {"accuracy": "high"},
        {"classes": []},
        {"images": 1e400},
        {"predictions": {"labels": [7], "predicted": [0], "confidence": [0], "of_true": [0], "hashes": []}},
        {"predictions": {"labels": [0], "predicted": [], "confidence": [0], "of_true": [0], "hashes": []}},
        {"predictions": {"labels": [0], "predicted": [0], "confidence": [0], "of_true": [0], "hashes": []}},
    ],
)
def test_a_damaged_summary_is_refused_in_one_line(trained: Path, change: dict[str, Any]) -> None:
    data = json.loads((trained / "report.json").read_text())
    (trained / "report.json").write_text(json.dumps(data | change))
    with pytest.raises(RunError, match=r"report\.json is damaged: "):
        read_summary(load_run(trained))


def test_what_is_written_is_read_again(trained: Path) -> None:
    names = [name.replace("\udcff", "") for name in names_of(17)]
    run, summary = fabricated(load_run(trained), names)
    (trained / "report.json").write_text(summary_text(summary))
    assert read_summary(run) == summary
    assert json.loads(summary_text(summary))["loss"] == summary.cross_entropy


def test_the_matrix_of_many_classes_has_the_worst_as_a_table() -> None:
    from cnn_registry.report.matrix import TABLE, show_matrix

    counts = np.eye(TABLE + 1, dtype=int) * 9
    counts[3, 30], counts[30, 7] = 5, 2
    shown = show_matrix(Confusion.of_rows(counts))
    assert {3, 7, 30} <= set(shown.labels)
    assert len(shown.labels) == len(shown.rows) == 20
    assert (3, 30, 5) in shown.cells
    assert shown.image.startswith("data:image/png")
    small = show_matrix(Confusion.of_rows(counts[:TABLE, :TABLE]))
    assert (len(small.labels), small.image) == (TABLE, "")
