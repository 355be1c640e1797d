"""The page of a tuning, as a browser sorts it."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest

from cnn_registry.runs.run import load_run
from cnn_registry.tuning.outcome import table
from cnn_registry.tuning.page import write_tuning_page
from cnn_registry.tuning.task import task_of
from tests.conftest import UNVARIED

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SPACE = "optimizer.learning_rate = {low = 1e-3, high = 1.0, log = true}\n"
RATES = {0.05: 0.5, 0.3: 0.9, 0.012: None, 0.5: 1.0}
"""Learning rates of trials, and the accuracy of each; none of one that failed."""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_trials_are_sorted_by_numbers(tiny: str, colours: Path, trained: Path, tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api")
    (tmp_path / "space.toml").write_text(SPACE)
    settings = UNVARIED | {"epochs": 1, "image_size": 16, "best_by": "accuracy"}
    what = task_of(tiny, None, colours, None, settings, tmp_path / "space.toml")
    study = optuna.create_study(direction="maximize")
    for rate, accuracy in RATES.items():
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.FAIL if accuracy is None else optuna.trial.TrialState.COMPLETE,
            value=accuracy,
            params={"optimizer.learning_rate": rate},
            distributions={"optimizer.learning_rate": optuna.distributions.FloatDistribution(1e-3, 1.0, log=True)},
            user_attrs={"error": "no"} if accuracy is None else {"accuracy": accuracy},
        )
        study.add_trial(trial)
    rows = table(study, what.space)
    page_file = write_tuning_page(tmp_path / "tuning.html", what, study, rows, study.best_trial, load_run(trained))
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(page_file.as_uri())

        def sorted_by(column: str) -> list[str]:
            page.locator("thead button").get_by_text(column, exact=True).click()
            return [str(text) for text in page.locator("table.sorts tbody tr").locator("th").all_inner_texts()]

        assert sorted_by("optimizer.learning_rate") == ["3", "1", "0", "2"]
        assert sorted_by("optimizer.learning_rate") == ["2", "0", "1", "3"]
        assert sorted_by("accuracy") == ["3", "1", "0", "2"]
        assert sorted_by("accuracy") == ["0", "1", "3", "2"]  # the one that has none is last
        browser.close()
