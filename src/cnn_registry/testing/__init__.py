"""The conformance kit: named checks that every model and every data set should pass.

In the tests of a plugin::

    from cnn_registry.testing import parametrize_with_checks

    @parametrize_with_checks(["mynet"])
    def test_conformance(check):
        check()

``cnnreg check mynet`` does the same from the command line. Importing this package imports neither Keras nor pytest.
"""

from .marks import parametrize_with_checks
from .outcome import CheckFailed, CheckResult
from .run import check_dataset, check_model

__all__ = ["CheckFailed", "CheckResult", "check_dataset", "check_model", "parametrize_with_checks"]
