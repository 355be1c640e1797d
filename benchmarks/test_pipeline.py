"""The input pipeline alone: from decoded images in memory to augmented batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cnn_registry import get_spec
from cnn_registry.data.cache import LoadedImages
from cnn_registry.data.pipeline import training_batches
from cnn_registry.training.loop import build_trainable
from cnn_registry.training.recipe import load_recipe
from cnn_registry.training.run import ModelRecord

if TYPE_CHECKING:
    from benchmarks.conftest import Compare
