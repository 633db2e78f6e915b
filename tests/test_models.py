"""Every model satisfies what the package ships for models; a new one is enrolled by existing."""

import pyro
import pytest

import bayes_recsys as br
from bayes_recsys.models import Options
from bayes_recsys.testing import ModelTests, make
from tests.cases import CASES, MODELS, WITHOUT_HISTORY


class TestEveryModel(ModelTests):
    @pytest.fixture(params=[pytest.param(case.values, id=case.id) for case in CASES])
    def options(self, request):
        return Options(*request.param)

    @pytest.fixture
    def sees_history(self, options):
        over_audiences = options.values.get("history") == "item"
        return options.model not in WITHOUT_HISTORY and not over_audiences

    def test_pyro_draws_the_structure(self, options, histories, batch):
        pytest.importorskip("graphviz")
        model = make(options, histories)
        source = pyro.render_model(model.model, (batch,), render_params=True).source
        sites = [n for n, site in model.attend(batch).items() if site.attention.is_random]
        assert all(f"{name} -> label" in source for name in sites)
        assert "label" in source


def test_discovery_finds_models():
    assert br.models.BAMF in MODELS
