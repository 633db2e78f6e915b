"""Every model there is, found by looking; and the variants of each that tests run over."""

import pytest

import bayes_recsys.models as models
from bayes_recsys import Gamma, LogNormal, Point, Scores, Weibull

MODELS = [getattr(models, name) for name in models.__all__ if name != "Model"]

VARIANTS = [
    (models.BAMF, {"energy": "prod", "combine": "prod"}),
    (models.BAMF, {"energy": "concat", "combine": "prod", "beta": 1.0}),
    (models.BAMF, {"combine": "sum", "item_table": "shared"}),
    (models.BAMF, {"combine": "cat", "tau": 2.0}),
    (models.BAMF, {"combine": "att", "user_scores": Scores(Gamma(0.5), scope="user")}),
    (models.BAMF, {"user_scores": Point(), "item_scores": Scores(Weibull(0.2), Gamma(1.0))}),
    (models.BAMF, {"combine": "mean", "user_scores": Point(), "item_scores": Point()}),
    (
        models.BAMF,
        {
            "values": "separate",
            "user_scores": Scores(
                Weibull("amortised"), Gamma("learned"), scope="user", prior_mean="learned"
            ),
            "item_scores": Scores(Gamma("amortised"), LogNormal("learned"), prior_mean="constant"),
        },
    ),
]

CASES = [pytest.param(model, {}, id=model.__name__) for model in MODELS] + [
    pytest.param(model, options, id=f"{model.__name__}-{'-'.join(map(str, options.values()))}")
    for model, options in VARIANTS
]
