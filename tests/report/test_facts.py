"""Datasets in figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnn_registry.data import load_folder
from cnn_registry.data.dataset import Split
from cnn_registry.data.form import Form, Resize
from cnn_registry.report.facts import data_facts


@pytest.mark.parametrize(
    ("size", "resize", "crop_share", "enlarged"),
    [
        (20, "squash", 1.0, 1),  # the images have 22x18 pixels
        (20, "crop", 1.0, 1),
        (20, "letterbox", 1.0, 0),
        (24, "letterbox", 1.0, 1),
        (18, "crop", 1.0, 0),
        (18, "crop", 0.9, 1),  # fitted to 20x20 pixels first
    ],
)
def test_images_are_enlarged_by_the_rule_that_fits_them(
    colours: Path, size: int, resize: Resize, crop_share: float, enlarged: float
) -> None:
    dataset, nothing = load_folder(colours), np.empty(0, np.int64)
    form = Form(size, size, resize=resize, crop_share=crop_share)
    facts = data_facts(dataset, Split(np.arange(len(dataset)), nothing, nothing), form)
    assert facts.sizes
    assert facts.sizes.enlarged == enlarged
