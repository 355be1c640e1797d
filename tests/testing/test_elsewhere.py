"""Another process computes what this one does from a model's saved weights, however its builder makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cnn_registry.testing import check_model

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

pytestmark = pytest.mark.slow

LAST = "    return keras.Model("


@pytest.mark.parametrize(
    "last",
    [
        "    model = keras.Model({})\n    model.set_weights([2 * weight for weight in model.get_weights()])\n",
        "    scale = keras.Variable([2.0])\n    model = keras.Model({})\n",
    ],
)
def test_a_builder_may_use_and_set_values(plugins: FakePlugins, last: str) -> None:
    declared, _, arguments = plugins.declaration("given").rpartition(LAST)
    source = declared + last.format(arguments.rstrip().removesuffix(")")) + "    return model\n"
    plugins.install("kit-given", source=source, entries={"given": "kit_given:given"})
    [result] = check_model("given", only=["weights-file"])
    assert result.outcome == "passed"
