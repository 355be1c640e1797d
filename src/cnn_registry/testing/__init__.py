"""The conformance kit: named checks that every model and every dataset should pass.

In the tests of a plugin::

    from cnn_registry.testing import parametrize_with_checks

    @parametrize_with_checks(["mynet"])
    def test_conformance(check):
        check()

``cnnreg check mynet`` does the same on the command line. Importing this module imports neither Keras nor pytest.
"""

from .checks import DATASET_CHECKS, MODEL_CHECKS, check_dataset, check_model
from .marks import parametrize_with_checks
from .outcome import Check, CheckFailed, CheckResult, CheckSkipped

__all__ = [
    "DATASET_CHECKS",
    "MODEL_CHECKS",
    "Check",
    "CheckFailed",
    "CheckResult",
    "CheckSkipped",
    "check_dataset",
    "check_model",
    "parametrize_with_checks",
]
