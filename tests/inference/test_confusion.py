"""Confusion matrices as the cells that have images."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from cnn_registry.inference.confusion import FEW, Confusion
from cnn_registry.inference.evaluation import Evaluation
from cnn_registry.report.matrix import EDGE, most_confused, show_matrix
from cnn_registry.report.measures import measures_of_counts
from cnn_registry.report.summary import Summary, summary_text


def drawn(classes: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted classes, half of them the same."""
    generator = np.random.default_rng(3)
    labels, guesses = generator.integers(0, classes, (2, images))
    return labels, np.where(generator.random(images) < 0.5, labels, guesses)


def test_it_is_the_matrix_of_scikit_learn() -> None:
    labels, predictions = drawn(7, 60)
    expected = confusion_matrix(labels, predictions, labels=range(9))  # two classes have no images
    for found in (Confusion.of_predictions(labels, predictions, 9), Confusion.of_rows(expected)):
        np.testing.assert_array_equal(found.rows(), expected)
        np.testing.assert_array_equal(found.of_true, expected.sum(axis=1))
        np.testing.assert_array_equal(found.right, np.diag(expected))
        np.testing.assert_allclose(
            found.laid_out(found.shares, 100), expected / np.maximum(expected.sum(axis=1, keepdims=True), 1)
        )
        assert found.total == 60
        assert found.written() == expected.tolist()


def test_of_more_classes_than_a_picture_has_room_for_the_largest_share_is_seen() -> None:
    found = Confusion.of_cells(100, [(0, 0, 1), (0, 1, 3), (99, 0, 2)])
    picture = found.laid_out(found.shares, 10)
    expected = np.zeros((10, 10))
    expected[0, 0], expected[9, 0] = 0.75, 1
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize(("classes", "images", "sparse"), [(FEW, 50, False), (FEW + 1, 50, True), (101, 9000, False)])
def test_it_is_written_as_cells_where_that_is_shorter(classes: int, images: int, sparse: bool) -> None:
    found = Confusion.of_predictions(*drawn(classes, images), classes)
    assert isinstance(found.written(), dict) is sparse
    as_rows, as_cells = json.dumps(found.rows().tolist()), json.dumps(found.written())
    assert len(as_cells) <= len(as_rows)


def test_thousands_of_classes_take_little_room() -> None:
    labels, predictions = drawn(3000, 4000)
    probabilities = np.zeros((4000, 3000), np.float32)
    probabilities[np.arange(4000), predictions] = 1
    names = tuple(map(str, range(3000)))
    evaluation = Evaluation(names, labels, probabilities, "validation images")
    summary = Summary.model_validate(evaluation.report())
    text = summary_text(summary)
    assert len(text) < 1_000_000
    read = Summary.model_validate_json(text)
    assert read == summary
    np.testing.assert_array_equal(read.matrix.rows(), confusion_matrix(labels, predictions, labels=range(3000)))
    shown = show_matrix(read.matrix)
    assert len(shown.cells) == len(read.matrix.images)
    assert len(shown.image) < 40 * EDGE


def test_rows_and_cells_say_the_same() -> None:
    labels, predictions = drawn(120, 300)
    matrix = Confusion.of_predictions(labels, predictions, 120)
    figures = [{"class": str(n), "precision": 0, "recall": 0, "f1": 0, "images": 0} for n in range(120)]
    rest = {"part": "images", "images": 300, "accuracy": 0.5, "classes": figures}
    rows, cells = (
        Summary.model_validate(rest | {"confusion": value}) for value in (matrix.rows().tolist(), matrix.written())
    )
    assert measures_of_counts(rows.matrix) == measures_of_counts(cells.matrix)
    assert most_confused(rows.matrix) == most_confused(cells.matrix)
    assert show_matrix(rows.matrix) == show_matrix(cells.matrix)
