"""What each figure of a report means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A figure's name and its definition."""

    key: str
    title: str
    meaning: str


WORDS = (
    Word(
        "accuracy",
        "Accuracy",
        "Share of the images whose most probable class is the true one; where an image may show several classes, share "
        "of the images of which all labels are right.",
    ),
    Word(
        "balanced_accuracy",
        "Balanced accuracy",
        "Mean of the recalls of all classes: each class counts the same, however many images it has. Always naming one "
        "of n classes gives 1/n.",
    ),
    Word(
        "macro_f1",
        "Macro F1",
        "Mean of the F1 of all classes, each counting the same. From 0 to 1.",
    ),
    Word(
        "mean_average_precision",
        "mAP",
        "Mean of the average precisions of all classes, each counting the same: the area under the curve of precision "
        "over recall, for all thresholds. Guessing gives the share of images that show a class.",
    ),
    Word("micro_f1", "Micro F1", "F1 of all labels of all classes together, so that frequent classes count more."),
    Word(
        "label_accuracy",
        "Label accuracy",
        "Share of the labels, shown or not, that are right. Rare labels hardly count.",
    ),
    Word(
        "threshold",
        "Threshold",
        "The probability from which a class counts as shown. It is where the F1 of the class was highest on these "
        "images, so the figures that depend on it are slightly optimistic.",
    ),
    Word("top_5", "Top-5 accuracy", "Share of the images whose true class is among the five most probable ones."),
    Word(
        "auc",
        "AUC",
        "Area under the ROC curve of each class against all others, averaged over the classes: the probability that an "
        "image of the class gets a higher probability for it than an image of another class. 0.5 is guessing, 1 is "
        "perfect.",
    ),
    Word(
        "cross_entropy",
        "Cross-entropy",
        "Mean of the negative logarithm of the true class's probability, in nats, without label smoothing. 0 is "
        "perfect.",
    ),
    Word(
        "error",
        "Expected calibration error",
        "Images are put into 15 bins by the probability of their predicted class; the difference between mean "
        "probability and accuracy of each bin is averaged, weighted by its images (Guo et al. 2017).",
    ),
    Word(
        "temperature",
        "Temperature",
        "The logarithms of the probabilities are divided by this number before they are normalised again. Above 1 it "
        "makes a network less sure; it never changes which class is the most probable one. It was fitted to the same "
        "images, so the error with it is slightly optimistic.",
    ),
    Word("recall", "Recall", "Share of the images of a class that are predicted as this class."),
    Word("precision", "Precision", "Share of the images predicted as a class that are of this class."),
    Word("f1", "F1", "Harmonic mean of precision and recall."),
    Word(
        "interval",
        "95 % interval",
        "Where the figure would lie for very many images of the same kind, with a certainty of 95 %: Wilson's interval "
        "for shares, and made of these for balanced accuracy (Zou & Donner 2008); the bootstrap's for macro F1; that "
        "of DeLong et al. 1988 for AUC. It does not count that another training would end elsewhere, nor that the best "
        "epoch was chosen on these images.",
    ),
    Word(
        "mcnemar",
        "McNemar's test",
        "Compares two models on the same images by those that only one of them predicts correctly. p is the "
        "probability of a difference at least as large if both were equally good: the exact binomial test for fewer "
        "than 25 such images, else chi-squared with Edwards' correction. With several pairs, p is adjusted for their "
        "number (Holm 1979).",
    ),
)

TITLES = {word.key: word.title for word in WORDS}
"""What figures are called, by their keys."""

COMPARED = ("mcnemar",)
"""Figures of comparisons alone."""
