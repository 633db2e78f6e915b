"""Every model there is, found by looking; and the variants of each that tests run over."""

import pytest

import bayes_recsys.models as models
from bayes_recsys import Gamma, LogNormal, Point, Scores, Weibull

EVERYTHING = [getattr(models, name) for name in models.__all__]
MODELS = [
    one
    for one in EVERYTHING
    if isinstance(one, type) and issubclass(one, models.Model) and one is not models.Model
]

# The scores as first published: random on both sides, anew for every target, of given width.
PUBLISHED = Scores(LogNormal(0.1), LogNormal(1.0), scope="interaction", prior_mean="contextual")
PUBLISHED_BAMF = {"user_scores": PUBLISHED, "item_scores": PUBLISHED, "strength": "user"}

VARIANTS = [
    (models.BAMF, {"energy": "prod", "combine": "prod", **PUBLISHED_BAMF}),
    (models.BAMF, {"energy": "concat", "combine": "prod", "beta": 1.0}),
    (models.BAMF, {"combine": "sum", "item_table": "shared", "item_scores": PUBLISHED}),
    (models.BAMF, {"combine": "cat", "tau": 2.0, "strength": "user"}),
    (models.BAMF, {"combine": "att", "user_scores": Scores(Gamma(0.5), prior_mean="contextual")}),
    (
        models.BAMF,
        {
            "user_scores": Point(),
            "item_scores": Scores(Weibull(0.2), Gamma(1.0), scope="interaction"),
        },
    ),
    (models.BAMF, {"history": "both"}),
    (
        models.BAMF,
        {
            "history": "both",
            "energy": "prod",
            "values": "separate",
            "item_scores": Scores(
                Gamma("amortised"), Weibull(1.0), scope="interaction", prior_mean="contextual"
            ),
        },
    ),
    (
        models.BAMF,
        {"history": "item", "energy": "concat", "user_scores": PUBLISHED, "item_scores": Point()},
    ),
    (models.NAIS, {"energy": "concat", "scores": PUBLISHED}),
    (models.FISM, {"alpha": 0.0}),
    (models.ItemSimilarity, {"scores": Scores(Gamma("learned"), Weibull(1.0)), "embedding_dim": 8}),
    (models.DRNet, {"scores": Scores(Gamma("learned"), Weibull(1.0)), "dropout": 0.0}),
    (models.Association, {"scores": PUBLISHED}),
    (models.DELF, {"scores": Scores(LogNormal("amortised"), prior_mean="contextual")}),
    (models.BAMF, {"combine": "mean", "user_scores": Point(), "item_scores": Point()}),
    (
        models.BAMF,
        {
            "values": "separate",
            "user_scores": Scores(Weibull("amortised"), Gamma("learned"), prior_mean="learned"),
            "item_scores": Scores(Gamma("learned"), LogNormal("learned"), scope="interaction"),
        },
    ),
]

# They see a user and an item, never a history.
WITHOUT_HISTORY = {models.GMF, models.MLP, models.NeuMF, models.Affection}

CASES = [pytest.param(model, {}, id=model.__name__) for model in MODELS] + [
    pytest.param(model, options, id=f"{model.__name__}-{number}")
    for number, (model, options) in enumerate(VARIANTS)
]
