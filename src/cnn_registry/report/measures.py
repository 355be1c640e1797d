"""What is measured of predictions: figures beside the plain accuracy, each with its 95 % interval, and calibration.

scikit-learn has most of them; here they take a second for ten thousand images of a thousand classes, where it takes
half a minute. The intervals are those of the literature, as each function says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cnn_registry.inference.confusion import Confusion

Z = 1.959963984540054
"""Standard deviations of a normal distribution that hold 95 % of it to both sides."""

RESAMPLES = 1000
"""Bootstrap samples of an interval."""

BINS = 15
"""Bins of the confidence, as in Guo et al. 2017."""

TOP = 5
"""Guesses of which one has to be right."""

MOST_VALUES = 5_000_000
"""Probabilities to which a temperature is fitted; of more, those of every so many images."""

LEAST_LOGARITHM = -30.0
"""Logarithm that stands for a probability of 0."""


@dataclass(frozen=True)
class Measure:
    """A figure and its 95 % interval; ``None`` where there is none to give."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bin:
    """Images whose confidence, the probability of the predicted class, is in one range.

    Attributes:
        images: how many.
        confidence, accuracy: their means; 0 where there are none.
    """

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Whether a network is right as often as it is sure.

    Attributes:
        error: the expected calibration error.
        temperature: the one with the lowest cross-entropy, by which the logarithms of the probabilities are divided.
        error_after, cross_entropy_after: with that temperature, on the same images.
        bins: as many as `BINS`, of equal width, from 0 to 1.
    """

    error: float
    temperature: float
    error_after: float
    cross_entropy_after: float
    bins: tuple[Bin, ...]


def wilson(successes: np.ndarray, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % intervals of shares: Wilson 1927, "Probable inference". From 0 to 1 where there were no trials."""
    n = np.maximum(trials, 1)
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, 1)
    return np.where(trials > 0, low, 0.0), np.where(trials > 0, high, 1.0)


def share(successes: int, trials: int) -> Measure:
    """A share with Wilson's interval."""
    low, high = wilson(np.array(successes), np.array(trials))
    return Measure(successes / max(trials, 1), float(low), float(high))


def measures_of_counts(confusion: Confusion) -> dict[str, Measure]:
    """Accuracy, balanced accuracy and macro F1 of a confusion matrix.

    Classes without images do not count.
    """
    if not confusion.total:
        return {}
    return {
        "accuracy": share(int(confusion.right.sum()), confusion.total),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_f1": macro_f1(confusion),
    }


def balanced_accuracy(confusion: Confusion) -> Measure:
    """The mean of the recalls of all classes.

    The interval is made of Wilson's intervals of the recalls: Zou & Donner 2008, "Construction of confidence limits
    about effect measures", equation 4, for a mean.
    """
    counts = confusion.of_true
    right, counts = confusion.right[counts > 0], counts[counts > 0]
    recalls = right / counts
    low, high = wilson(right, counts)
    mean, classes = float(recalls.mean()), len(counts)
    below, above = (float(np.sqrt(((recalls - limit) ** 2).sum())) / classes for limit in (low, high))
    return Measure(mean, max(mean - below, 0.0), min(mean + above, 1.0))


def macro_f1(confusion: Confusion) -> Measure:
    """The mean of the F1 of all classes.

    The interval is the bootstrap's: the middle 95 % over samples that are drawn from the images of each class. Where
    there is no mistake there is nothing to draw from, and no interval.
    """
    counts = confusion.of_true
    known = np.flatnonzero(counts)
    labels = np.repeat(confusion.true, confusion.images)
    guesses = np.repeat(confusion.predicted, confusion.images)

    def mean(drawn: np.ndarray) -> float:
        right = np.bincount(labels[drawn == labels], minlength=len(counts))
        both = counts + np.bincount(drawn, minlength=len(counts))
        return float((2 * right[known] / both[known]).mean())

    value = mean(guesses)
    if np.array_equal(guesses, labels):
        return Measure(value)
    generator = np.random.default_rng(0)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    sizes = np.repeat(counts, counts)
    samples = [mean(guesses[first + (generator.random(len(labels)) * sizes).astype(int)]) for _ in range(RESAMPLES)]
    low, high = np.percentile(samples, (2.5, 97.5))
    return Measure(value, float(low), float(high))


def measures_of_probabilities(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Measure]:
    """Top-5 accuracy, where there are more classes than that, and the area under the curve.

    Args:
        labels: ``(N,)``, the true classes.
        probabilities: ``(N, num_classes)``.
    """
    found: dict[str, Measure] = {}
    if probabilities.shape[1] > TOP:
        of_true = probabilities[np.arange(len(labels)), labels][:, None]
        is_before = np.arange(probabilities.shape[1]) < labels[:, None]  # of equals, the first one comes first
        better = (probabilities > of_true) | ((probabilities == of_true) & is_before)
        found["top_5"] = share(int((better.sum(axis=1) < TOP).sum()), len(labels))
    if (auc := area_under_curve(labels, probabilities)) is not None:
        found["auc"] = auc
    return found


def area_under_curve(labels: np.ndarray, probabilities: np.ndarray) -> Measure | None:
    """The mean, over the classes, of the area under the ROC curve of each class against all others.

    The interval is that of DeLong et al. 1988, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", for a mean of areas: each image has its share in the variance of all of them.

    Returns:
        ``None`` where no class has both images and images of others.
    """
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    known = np.flatnonzero((counts > 0) & (counts < len(labels)))
    if not len(known):
        return None
    areas, influence = [], np.zeros(len(labels))
    for label in known:
        own = labels == label
        scores, positives, negatives = probabilities[:, label], int(counts[label]), len(labels) - int(counts[label])
        order = np.sort(scores[own])
        # How many images of this class are below each image of another one, and how many are not above it.
        below, not_above = (np.searchsorted(order, scores[~own], side) for side in ("left", "right"))
        passed = np.empty(len(labels))  # the share of the other kind that has the lower place; ties count half
        passed[~own] = 1 - (below + not_above) / (2 * positives)
        counted = np.bincount(below, minlength=positives + 1) + np.bincount(not_above, minlength=positives + 1)
        wins = np.cumsum(counted)[:-1]
        passed[own] = wins[np.searchsorted(order, scores[own])] / (2 * negatives)
        areas.append(passed[own].mean())
        influence += (passed - areas[-1]) / np.where(own, positives, negatives)
    mean = float(np.mean(areas))
    # A class with one image has no variance among its own; it counts as if it had none.
    deviation = float(np.sqrt((influence**2).sum())) / len(known)
    if not deviation:
        return Measure(mean)
    return Measure(mean, max(mean - Z * deviation, 0.0), min(mean + Z * deviation, 1.0))


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> Calibration:
    """How well the confidence fits the accuracy, and what the best temperature makes of it.

    Guo et al. 2017, "On calibration of modern neural networks", sections 2 and 4.2. The temperature is the one with the
    lowest cross-entropy on the same images.
    """
    from scipy.optimize import minimize_scalar

    logarithms = np.log(np.maximum(probabilities, np.exp(LEAST_LOGARITHM)), dtype=np.float32)
    logarithms -= logarithms.max(axis=1, keepdims=True)
    step = -(-probabilities.size // MOST_VALUES)

    def cross_entropy(temperature: float, step: int) -> float:
        rows, true = logarithms[::step], labels[::step]
        sums = np.log(np.exp(rows / np.float32(temperature)).sum(axis=1))
        return float((sums - rows[np.arange(len(true)), true] / temperature).mean())

    found = minimize_scalar(lambda log: cross_entropy(float(np.exp(log)), step), bounds=(-4, 4), method="bounded")
    temperature = float(np.exp(found.x))
    powers = np.exp(logarithms / np.float32(temperature))
    after = powers / powers.sum(axis=1, keepdims=True)
    bins = _bins(labels, probabilities)
    return Calibration(
        _expected_error(bins),
        temperature,
        _expected_error(_bins(labels, after)),
        cross_entropy(temperature, 1),
        bins,
    )


def _bins(labels: np.ndarray, probabilities: np.ndarray) -> tuple[Bin, ...]:
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    images = np.bincount(place, minlength=BINS)
    n = np.maximum(images, 1)
    sure = np.bincount(place, weights=confidence, minlength=BINS) / n
    accurate = np.bincount(place, weights=right, minlength=BINS) / n
    return tuple(
        Bin(int(count), float(mean), float(share)) for count, mean, share in zip(images, sure, accurate, strict=True)
    )


def _expected_error(bins: tuple[Bin, ...]) -> float:
    total = max(sum(bin.images for bin in bins), 1)
    return sum(bin.images * abs(bin.confidence - bin.accuracy) for bin in bins) / total


@dataclass(frozen=True)
class McNemar:
    """Which of two models is right where the other is wrong, on the same images.

    Attributes:
        only_first, only_second: images that only this one predicts correctly.
        p: probability of a difference at least as large if both were equally good.
        exact: whether ``p`` is the binomial distribution's, or the chi-squared approximation.
    """

    only_first: int
    only_second: int
    p: float
    exact: bool


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's test for two models on the same images.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions"; the exact binomial
    test for fewer than 25 images that only one of them predicts correctly, else chi-squared with Edwards' correction.

    Args:
        first, second: bool ``(N,)``, whether each image is predicted correctly.
    """
    from scipy.stats import binomtest, chi2

    one, other = int((first & ~second).sum()), int((~first & second).sum())
    differ = one + other
    if differ < 25:
        p = float(binomtest(one, differ).pvalue) if differ else 1.0
        return McNemar(one, other, p, exact=True)
    return McNemar(one, other, float(chi2.sf((abs(one - other) - 1) ** 2 / differ, 1)), exact=False)


def holm(p: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    """The p-values of several tests, adjusted for their number: Holm 1979, "A simple sequentially rejective test"."""
    adjusted, highest = {}, 0.0
    for place, (key, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p) - place) * value))
        adjusted[key] = highest
    return adjusted
