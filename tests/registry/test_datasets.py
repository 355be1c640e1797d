from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cnn_registry.registry.datasets import embedded_datasets, get_dataset_spec, list_datasets
from cnn_registry.registry.spec import DatasetSpec

if TYPE_CHECKING:
    from tests.conftest import RunPython

HEAVY = ("keras", "matplotlib", "numpy", "PIL", "scipy", "sklearn", "tensorflow")


def test_the_cores_own_datasets_are_described() -> None:
    assert {"digits", "oxflower17"} <= set(list_datasets())
    flowers = get_dataset_spec("oxflower17")
    assert isinstance(flowers, DatasetSpec)
    assert flowers.is_default
    assert not flowers.embedded
    assert flowers.provider.distribution == "cnn-registry"
    assert embedded_datasets() == ["digits"]


def test_describing_datasets_imports_nothing_heavy(
    run_python: RunPython,
) -> None:
    code = (
        "import json, sys; from cnn_registry.data.pipeline import augment; "
        "from cnn_registry.registry.datasets import describe_datasets; describe_datasets(); "
        f"print(json.dumps(sorted(set(sys.modules) & set({HEAVY!r}))))"
    )
    finished = run_python("-c", code)
    assert json.loads(finished.stdout) == [], finished.stderr
