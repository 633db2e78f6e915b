"""What every model, family and likelihood must satisfy, as test classes to inherit.

A model of your own is held to what those of this package are by three lines in a test file::

    from bayes_recsys.testing import ModelTests
    from mine import WeighedHistory

    class TestWeighedHistory(ModelTests):
        model = WeighedHistory

The same with ``FamilyTests`` (``family = ..``) and ``LikelihoodTests`` (``likelihood = ..``).
They need pytest.
"""

import pytest

# Before these are imported, so that what an assertion compared is shown.
pytest.register_assert_rewrite(
    *(f"bayes_recsys.testing.{name}" for name in ("data", "families", "likelihoods", "models"))
)

from bayes_recsys.testing.data import SmallData, make
from bayes_recsys.testing.families import FamilyTests
from bayes_recsys.testing.likelihoods import LikelihoodTests
from bayes_recsys.testing.models import ModelTests

__all__ = ["FamilyTests", "LikelihoodTests", "ModelTests", "SmallData", "make"]
