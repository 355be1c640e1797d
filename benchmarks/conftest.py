"""Shared by the suites: alternating measurements of two things, and a report of the figures.

The speed of a shared machine varies. A cost is therefore measured alternately with a reference, in the same minutes,
and their ratio per round is what is reported and checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from cnn_registry.data.sources.loaded import LoadedImages

from .common import random_pixels

_FIGURES = pytest.StashKey[list[tuple[str, dict[str, str]]]]()

Measure = Callable[[], float]


@dataclass(frozen=True)
class Comparison:
    """Costs per round, measured alternately, each ``(rounds,)``.

    Attributes:
        costs: the costs of the benchmarked side.
        references: the costs of the side that it is compared with.
    """

    costs: NDArray[np.float64]
    references: NDArray[np.float64]

    @property
    def ratios(self) -> NDArray[np.float64]:
        """Cost divided by reference, per round."""
        ratios: NDArray[np.float64] = self.costs / self.references
        return ratios

    def summary(self, digits: int = 2) -> str:
        """Median and quartiles of the ratios."""
        low, median, high = np.quantile(self.ratios, (0.25, 0.5, 0.75))
        return f"{median:.{digits}f} (quartiles {low:.{digits}f} to {high:.{digits}f})"

    def check(self, limit: float, what: str) -> None:
        """Fail if three out of four rounds exceed ``limit``: other load spoils some rounds, a regression all."""
        assert np.quantile(self.ratios, 0.25) <= limit, f"{what}: expected at most {limit}, got {self.summary(3)}."


Compare = Callable[[Measure, Measure, int], Comparison]


@pytest.fixture
def compare(benchmark: BenchmarkFixture) -> Compare:
    """``compare(ours, reference, rounds)``: benchmark ``ours``, and measure ``reference`` before each of its rounds.

    Both return their cost. The first round of both is a warm-up and does not count.
    """

    def run(ours: Measure, reference: Measure, rounds: int) -> Comparison:
        costs: list[float] = []
        references: list[float] = []
        benchmark.pedantic(  # type: ignore[no-untyped-call]  # pytest-benchmark does not annotate it
            lambda: costs.append(ours()),
            setup=lambda: references.append(reference()),
            rounds=rounds,
            warmup_rounds=1,
        )
        return Comparison(np.array(costs[1:]), np.array(references[1:]))

    return run


@pytest.fixture(scope="session")
def noise() -> Callable[[int, int], LoadedImages]:
    """``noise(count, size)``: random images in memory, with random labels."""
    return random_pixels


@pytest.fixture(autouse=True)
def _figures(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Iterator[None]:
    """Keep each benchmark's ``extra_info``, which the table does not show, for the end of the session."""
    yield
    request.config.stash.setdefault(_FIGURES, []).append((benchmark.name, benchmark.extra_info))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that were kept."""
    terminalreporter.section("figures")
    for name, found in terminalreporter.config.stash.get(_FIGURES, []):
        terminalreporter.line(name)
        for what, value in found.items():
            terminalreporter.line(f"    {what}: {value}")
