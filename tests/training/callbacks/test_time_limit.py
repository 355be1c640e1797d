"""Trainings that end in time; the clock is the test's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cnn_registry import backend
from cnn_registry.recipes.schema import Recipe
from cnn_registry.runs.training_progress import TrainingProgress
from cnn_registry.training.callbacks import time_limit
from cnn_registry.training.callbacks.time_limit import TimeLimit

keras = backend.keras()

STEPS = 10
"""Steps of an epoch."""


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time_limit, "time", clock)
    return clock


class Training:
    """Steps and validations of an invented training, whose seconds the test gives."""

    def __init__(self, clock: Clock, limit: str = "100s", epochs: int = 100, **schedule: Any) -> None:
        settings = {"time_limit": limit, "optimizer.learning_rate": 1.0}
        schedule = {"name": "polynomial"} | schedule
        recipe = Recipe(name="timed", epochs=epochs).with_settings(settings | {"schedule": schedule})
        self.clock, self.progress = clock, TrainingProgress(STEPS)
        self.limit = TimeLimit(recipe, self.progress, val_steps=2)
        self.model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=-1.0), stop_training=False)
        self.limit.set_model(self.model)
        self.limit.on_train_begin()

    def run(self, a_step: float, validation: float, *, first: float = 5.0, at_most: int = 10**6) -> list[float]:
        """Train until it is over; the rates of the steps."""
        rates: list[float] = []
        while not self.model.stop_training and self.progress.epochs < self.limit.epochs and len(rates) < at_most:
            self.limit.on_train_batch_begin(0)
            rates.append(self.model.optimizer.learning_rate)
            self.clock.now += a_step if rates[1:] else first
            self.progress.step += 1
            self.limit.on_train_batch_end(0)
            if self.progress.batch == STEPS or self.model.stop_training:
                self.limit.on_test_begin()
                self.clock.now += validation
                self.limit.on_test_end()
                self.progress.history.append(SimpleNamespace())  # type: ignore[arg-type]  # only their number counts
                if not self.limit.has_time():
                    break
        return rates


def test_the_schedule_is_laid_over_the_time(clock: Clock) -> None:
    training = Training(clock)
    rates = training.run(a_step=0.5, validation=1.0)
    # 100 s less the tracing (5 s), twice the validation and the report, at 6 s an epoch.
    assert clock.now == pytest.approx(100 - 5 - 5 - 2 + 1, abs=1.0)
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert rates[len(rates) // 2] == pytest.approx(0.5, abs=0.05)
    assert rates[-1] < 0.03
    assert training.limit.is_over


def test_a_training_with_time_to_spare_is_that_without_a_limit(clock: Clock) -> None:
    training = Training(clock, epochs=2)
    rates = training.run(a_step=0.1, validation=0.1)
    assert rates == pytest.approx([1 - step / 20 for step in range(20)])
    assert not training.limit.is_over


def test_a_training_that_slows_down_still_ends_in_time(clock: Clock) -> None:
    training = Training(clock)
    training.run(a_step=0.1, validation=0.1, at_most=100)
    before = clock.now
    rates = training.run(a_step=2.0, validation=2.0, first=2.0)
    assert before < 30 < clock.now <= 100 - 5
    assert rates[-1] < 0.1


def test_what_is_planned_follows_from_the_speed_so_far(clock: Clock) -> None:
    training = Training(clock)
    assert training.limit.epochs_in_all == 100
    training.run(a_step=0.5, validation=1.0, at_most=4 * STEPS)
    assert 13 <= training.limit.epochs_in_all <= 17


def test_a_resumed_training_has_what_is_left(clock: Clock) -> None:
    first = Training(clock)
    first.run(a_step=0.5, validation=1.0, at_most=5 * STEPS)
    state, spent = first.limit.get_state(), clock.now
    clock.now = 10_000.0
    second = Training(clock)
    second.progress.step, second.progress.history = first.progress.step, first.progress.history
    second.limit.set_state(state)
    second.limit.start(clock.now)
    second.limit.on_train_begin()
    rates = second.run(a_step=0.5, validation=1.0)
    assert clock.now - 10_000 + spent == pytest.approx(100 - 5 - 5 - 2 + 1, abs=1.0)
    assert rates[0] == pytest.approx(1 - state["share"], abs=0.01)
    assert rates[-1] < 0.03


def test_there_is_always_one_step(clock: Clock) -> None:
    assert len(Training(clock, limit="1s").run(a_step=1.0, validation=1.0)) == 1


def test_a_constant_rate_is_left_alone(clock: Clock) -> None:
    assert set(Training(clock, name="constant").run(a_step=0.5, validation=1.0)) == {-1.0}
