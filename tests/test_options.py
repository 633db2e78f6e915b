"""A model's options: recorded by themselves, checked without data, refused by name."""

import copy
import inspect

import numpy as np
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.models import NAIS, Model, Options
from tests.cases import CASES, PUBLISHED_BAMF
from tests.conftest import make


@pytest.mark.parametrize(("model_class", "options"), CASES)
class TestEveryModel:
    def test_its_options_are_those_of_its_signature(self, model_class, options, histories):
        recorded = model_class(histories, **options).options
        assert recorded.model is model_class
        _, _, *parameters = inspect.signature(model_class.__init__).parameters.values()
        defaults = {p.name: p.default for p in parameters}
        assert list(recorded.values) == list(defaults)
        assert recorded.values == {**defaults, **options}

    def test_its_options_make_it_again(self, model_class, options, histories):
        model = make(model_class, histories, **options)
        again = Options.of_record(model.options.record(), Model)
        assert again == model.options
        again.check()
        built = again.build(histories)
        built.load_state_dict(model.state_dict())
        user, item = torch.arange(3), torch.arange(6).expand(3, -1)
        assert torch.equal(built.score(user, item), model.score(user, item))

    def test_a_copy_keeps_all_and_works(self, model_class, options, histories, batch):
        model = make(model_class, histories, **options)
        model.likelihood = br.BradleyTerry(2)
        model.guide(batch)  # what this attended to must not come along
        twin = copy.deepcopy(model)
        assert (twin.options, twin.likelihood) == (model.options, model.likelihood)
        expected = model.expected_logits(batch)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        assert torch.equal(twin.expected_logits(batch), expected)
        torch.manual_seed(0)
        twin.guide(batch)
        assert twin.model(batch).isfinite().all()


class Plain(NAIS):
    """Passes its histories on, and nothing else."""

    def __init__(self, histories, *, beta=0.5, layers=(4, 2)):
        super().__init__(histories)
        self.attention.beta = beta
        self.layers = layers


def test_what_is_not_passed_on_is_recorded_too(histories, tmp_path):
    model = make(Plain, histories, beta=0.9, layers=[3, np.int64(1)])
    assert model.options.values == {"beta": 0.9, "layers": (3, 1)}
    br.save_model(model, tmp_path / "model")
    loaded = br.load_model(tmp_path / "model")
    assert type(loaded) is Plain
    assert (loaded.attention.beta, loaded.layers) == (0.9, (3, 1))
    user, item = torch.arange(4), torch.arange(12).expand(4, -1)
    assert torch.equal(loaded.score(user, item), model.score(user, item))


def test_options_are_shown_where_they_are_not_the_default():
    assert str(Options(NAIS, {"beta": 0.9, "hidden": 16})) == "NAIS(beta=0.9)"


@pytest.mark.parametrize("build", [lambda h, **o: NAIS(h, **o), lambda h, **o: Options(NAIS, o)])
def test_an_unknown_option_is_named(build, histories):
    with pytest.raises(TypeError, match=r"NAIS: .*unexpected keyword argument 'gamma'"):
        build(histories, gamma=0.9)


def test_an_option_without_a_default_is_refused_when_the_class_is_defined():
    for signature in ("self, histories, *, width", "self, histories, width=3", "self, h, **more"):
        names = {"Model": Model}
        with pytest.raises(TypeError, match="must be an option by keyword with a default"):
            exec(f"class Bad(Model):\n def __init__({signature}): pass", names)


CONTRADICTIONS = [
    ({"energy": "cosine"}, "energy must be one of dot, prod, concat"),
    ({"combine": "add"}, "combine must be one of prod, context"),
    ({"item_table": "both"}, "item_table must be"),
    ({"beta": 0.0}, "beta must be in"),
    ({"tau": 0.5}, "tau must be at least 1"),
    ({"embedding_dim": 0}, "at least 1"),
    ({"values": "both"}, "values must be"),
    ({"dropout": 1.0}, "dropout must be in"),
    ({"strength": "item"}, "strength must be"),
    ({"item_scores": br.Scores(scope="user")}, "'user', .* contradicts scores that differ by target"),
    ({"history": "none"}, "history must be one of user, item, both"),
    ({"history": "both", "strength": "both"}, "user and target attend over different entries"),
    ({"history": "item"}, "scope='user', .* contradicts scores that differ by target"),
    ({"history": "item", "item_table": "shared"}, "no item is attended over"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS)
def test_bad_options_are_named(options, message, histories):
    with pytest.raises(ValueError, match=message):
        br.models.BAMF(histories, **options)


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS)
def test_and_without_any_data(options, message):
    with pytest.raises(ValueError, match=message):
        Options(br.models.BAMF, options).check()


def test_a_check_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    assert Options(br.models.BAMF, PUBLISHED_BAMF).check().values["strength"] == "user"
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda h, s: br.models.BAMF(s), "histories must be data.histories"),
        (lambda h, s: br.models.BAMF(h, user_scores=br.LogNormal()), "scores must be Scores"),
        (lambda h, s: br.Scores(prior=br.Gamma), "prior must be a family like"),
        (lambda h, s: br.fit(br.models.BAMF(h), s, br.Bernoulli), "objective must be of the class Objective"),
        (lambda h, s: br.fit(br.models.BAMF(h), s, br.Bernoulli(2)), r"must be Objective\(Bernoulli\(neg"),
        (lambda h, s: br.fit(br.models.BAMF(h), s, training=3), "training must be of the class Training, not 3"),
        (lambda h, s: br.fit(br.models.BAMF(h), s.interactions), "split must be of the class Split, not"),
        (lambda h, s: br.fit(h, s), "model must be of the class Model, not"),
        (lambda h, s: br.Training(monitor="ndcg@10"), r"monitor must be Monitor\(\.\.\)"),
        (lambda h, s: br.evaluate("model", s), r"a scorer, which has score\(user, item\)"),
    ],
)  # fmt: skip
def test_wrong_kinds_of_arguments_are_named(build, message, histories, split):
    with pytest.raises(TypeError, match=message):
        build(histories, split)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guide": br.Point()}, "contradicts Scores"),
        ({"prior": br.Point()}, "contradicts Scores"),
        ({"prior": br.LogNormal("amortised")}, "a prior does not see the query"),
        ({"scope": "item"}, "scope must be one of user, interaction"),
        ({"prior_mean": "zero"}, "prior_mean must be one of"),
    ],
)
def test_contradictory_scores_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        br.Scores(**options)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (br.models.BAMF, {"hidden": "16"}, "BAMF: hidden must be a whole number, not '16'"),
        (br.models.BAMF, {"beta": None}, "beta must be a number, not None"),
        (br.models.BAMF, {"tau": True}, "tau must be a number, not True"),
        (br.models.BAMF, {"energy": 3}, "energy must be text, not 3"),
        (br.models.DRNet, {"layers": 8}, "layers must be a sequence"),
        (br.models.DRNet, {"layers": "64"}, "layers must be a sequence"),
        (br.models.DRNet, {"norm": "no"}, "norm must be True or False"),
    ],
)
def test_another_kind_of_option_is_named(kind, options, message, histories):
    with pytest.raises(TypeError, match=message):
        kind(histories, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": "1e-3"}, "learning_rate must be a finite number above 0, not '1e-3'"),
        ({"weight_decay": "0"}, "weight_decay must be a finite number"),
        ({"sparse": "no"}, "sparse must be True or False"),
        ({"device": None}, "device must be a name"),
    ],
)
def test_another_kind_of_training_is_named(options, message):
    with pytest.raises(TypeError, match=message):
        br.Training(**options)
