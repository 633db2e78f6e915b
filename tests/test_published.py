"""The documents to the letter, by one name: against loops, on the command line, and half of it refused."""

import numpy as np
import pyro.poutine as poutine
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.data.batches import TrainingBatches
from bayes_recsys.experiments.options import parse
from bayes_recsys.experiments.published import PUBLIC_CODE, PUBLISHED
from bayes_recsys.models import Options
from tests.conftest import make
from tests.reference import neighbours, paper

LEARNING = {
    "pointwise": (br.Bernoulli(), paper.pointwise),
    "pairwise": (br.BradleyTerry(), paper.pairwise),
}


def published(histories, **choices):
    """With random weights far from their initial values."""
    options = Options.as_published(br.models.BAMF, choices)
    return make(br.models.BAMF, histories, **options.values)


@pytest.mark.parametrize("learning", LEARNING)
@pytest.mark.parametrize(
    ("energy", "beta", "tau"), [("concat", 0.5, 1.0), ("prod", 0.5, 1.0), ("concat", 0.7, 1.5)]
)
def test_the_objective_is_the_document_s(energy, beta, tau, learning, split, histories):
    """NLL of every pair, the divergence of each of its two times L scores, and the penalty, one by one."""
    likelihood, nll = LEARNING[learning]
    model = published(histories, embedding_dim=5, hidden=3, energy=energy, beta=beta, tau=tau)
    model.likelihood = likelihood
    batches = TrainingBatches(
        split.items_by_user("train"),
        histories,
        br.data.negative_sampler(split),
        likelihood.negatives,
        pairs=60,
    )
    batch = next(batches.epoch(1))
    guide = poutine.trace(model.guide).get_trace(batch)
    joint = poutine.trace(poutine.replay(model.model, trace=guide)).get_trace(batch)
    ours = guide.log_prob_sum() - joint.log_prob_sum()

    weights = {k: v.double().numpy() for k, v in model.state_dict().items()}
    drawn = {
        side: guide.nodes[f"{side}_attention"]["value"].detach().double().numpy()
        for side in ("user", "item")
    }
    theirs = 0.0
    for g, user in enumerate(batch.user.tolist()):
        history, logits, labels = histories.history.row(user).tolist(), [], []
        for c in batch.mask[g].nonzero()[:, 0].tolist():
            scores = {side: values[g, c] for side, values in drawn.items()}
            item = int(batch.item[g, c])
            x, divergence = paper.pair(
                weights, energy, user, item, history, scores, beta, tau, 0.1, 1.0
            )
            logits.append(x)
            labels.append(int(batch.label[g, c]))
            theirs += divergence
        theirs += nll(logits, labels)
    assert ours.item() == pytest.approx(batch.scale * theirs, rel=1e-5)


def test_the_penalty_is_lambda_times_the_square_of_all_parameters(split, histories):
    model = published(histories)
    with_penalty = br.Objective(br.BradleyTerry(), penalty=0.3)
    without = br.Objective(br.BradleyTerry())
    batch = next(batches_of(split, histories))
    losses = []
    for objective in (with_penalty, without):
        torch.manual_seed(3)
        model.likelihood = objective.likelihood
        losses.append(objective.loss_and_grads(model, batch))
    square = sum(p.detach().square().sum().item() for p in model.parameters())
    assert losses[0] - losses[1] == pytest.approx(0.3 * square, rel=1e-4)


def batches_of(split, histories, negatives=1):
    sampler, positives = br.data.negative_sampler(split), split.items_by_user("train")
    return TrainingBatches(positives, histories, sampler, negatives, pairs=60).epoch(1)


@pytest.mark.parametrize("name", ["Affection", "Association", "DRNet"])
def test_drnet_is_plain_layers(name, histories):
    """No layer norm, no dropout: the loops' MLP without norms."""
    kind = getattr(br.models, name)
    model = make(kind, histories, **Options.as_published(kind, {}).values)
    assert not any(
        isinstance(part, torch.nn.LayerNorm | torch.nn.Dropout) for part in model.modules()
    )
    weights = {k: v.numpy() for k, v in model.state_dict().items()}
    for user, item in ((0, 11), (7, 12), (3, int(histories.history.row(3)[0]))):
        history = histories.history.row(user).tolist()
        theirs = neighbours.drnet(name, weights, 0.5, user, item, history, neighbours.mlp)
        ours = model.score(torch.tensor([user]), torch.tensor([[item]])).item()
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", ["ARL", "AML", "DACR"])
def test_dacr_reads_rows_and_columns_whole(name, split):
    """Though histories are cut: both are of one matrix, and of the target too."""
    histories = br.data.histories(split, max_length=3)
    kind = getattr(br.models, name)
    model = make(kind, histories, **Options.as_published(kind, {"dim": 4}).values)
    weights = {k: v.numpy() for k, v in model.state_dict().items()}
    rows = split.items_by_user("train")
    for user, item in ((0, 11), (7, 12), (3, int(rows.row(3)[0]))):
        row, column = rows.row(user).tolist(), histories.audience.row(item).tolist()
        # Nobody is user or item -1: nothing is left out.
        theirs = neighbours.ensemble(name, weights, -1, -1, row, column)
        ours = model.score(torch.tensor([user]), torch.tensor([[item]])).item()
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_delf_s_audience_may_have_random_scores(histories, batch):
    """Drawn ones pool the audience as the formula does; at their expectation they are the softmax."""
    scores = br.Scores(br.LogNormal(0.3), scope="interaction")
    model = make(br.models.DELF, histories, audience_scores=scores)
    point = make(br.models.DELF, histories)
    point.load_state_dict(model.state_dict())
    user, item = torch.tensor([2, 3]), torch.tensor([[1, 5, 9], [2, 5, 8]])
    torch.testing.assert_close(model.score(user, item), point.score(user, item))
    trace = poutine.trace(model.guide).get_trace(batch)
    assert set(trace.stochastic_nodes) == {"audience_attention"}
    with pytest.raises(ValueError, match="one score for all of a user's targets"):
        br.models.DELF(histories, audience_scores=br.Scores())


def test_first_they_ranked_every_fifth_epoch_by_averaged_draws(split, histories):
    monitor = br.Monitor.as_published(every=2, draws=3)
    training = br.Training.as_published(monitor=monitor, max_epochs=4)
    model = br.models.BAMF.as_published(histories)
    found = br.fit(model, split, training=training, progress=False).history["ndcg@10"]
    assert found.isna().tolist() == [True, False, True, False]
    drawn = monitor.measure(model, split, 0)
    logits = br.Posterior(model, draws=3, seed=0)

    class Mean:
        def score(self, user, item):
            return logits.draw_logits(user, item).mean(0)

    expected = br.evaluate(Mean(), split, protocol="sampled", part="leave_one_out", ks=(10,))
    assert drawn == pytest.approx(expected.per_user["ndcg@10"].mean())
    with pytest.raises(ValueError, match="draws must be"):
        br.Monitor(draws=-1)


@pytest.mark.parametrize("energy", ["concat", "prod"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "bradley-terry"])
def test_one_name_is_the_same_on_the_command_line(energy, likelihood):
    given = ["--data", "synthetic", "--as", "published", "--energy", energy]
    setting = parse([*given, "--likelihood", likelihood]).setting
    learning = "pointwise" if likelihood == "bernoulli" else "pairwise"
    assert setting.record() == PUBLISHED[f"BAMF, {energy}, {learning}"].record()


def test_the_public_code_is_another(capsys):
    public = parse(["--data", "synthetic", "--as", "public-code"]).setting
    assert public.record() == PUBLIC_CODE["BAMF"].record()
    assert public.objective.kl_weight == 0.01
    assert public.options.values["combine"] == "context"
    assert public.training.weight_decay == 1e-5


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--combine context", "--combine contradicts --as published"),
        ("--scope user", "--scope contradicts"),
        ("--sides user", "--sides contradicts"),
        ("--strength both", "--strength contradicts"),
        ("--weight-decay 0.1", "--weight-decay contradicts"),
        ("--kl-weight 0.01", "--kl-weight contradicts"),
        ("--kl-warmup 3", "--kl-warmup contradicts"),
        ("--energy dot", "concat and prod"),
        ("--negatives 1", "--negatives contradicts"),
        ("--max-length 10", "--max-length contradicts"),
        ("--prior-mean learned", "contextual, or constant"),
        ("--guide point --prior point", "random scores"),
    ],
)
def test_half_of_it_is_refused(more, message, capsys):
    with pytest.raises(SystemExit):
        parse(["--data", "synthetic", "--as", "published", *more.split()])
    assert message in capsys.readouterr().err


def test_what_the_paper_leaves_open_may_be_given():
    more = ["--guide", "gamma", "--prior", "weibull", "--guide-scale", "0.3", "--prior-mean"]
    setting = parse(
        ["--data", "synthetic", "--as", "published", *more, "constant", "--penalty", "0.1"]
    ).setting
    scores = setting.options.values["user_scores"]
    assert scores == br.Scores(br.Gamma(0.3), br.Weibull(1.0), "interaction", "constant")
    assert setting.objective.penalty == 0.1


def test_each_side_has_its_own_families():
    more = "--scope interaction --guide gamma --prior weibull --item-guide weibull"
    values = parse(["--data", "synthetic", *more.split()]).setting.options.values
    assert values["user_scores"].guide == br.Gamma("learned")
    assert values["user_scores"].prior == br.Weibull(1.0)
    assert values["item_scores"].guide == br.Weibull("learned")
    assert values["item_scores"].prior == br.Weibull(1.0)


def test_random_scores_on_both_sides_do_not_multiply_unless_asked(histories):
    scores = br.Scores(scope="interaction")
    both = {"user_scores": scores, "item_scores": scores}
    assert br.models.BAMF(histories, **both).strength == "user"
    assert br.models.BAMF(histories, **both, strength="both").strength == "both"
    assert br.models.BAMF(histories).strength == "both"
    with pytest.raises(ValueError, match="'concat' or 'prod'"):
        br.models.BAMF.as_published(histories, energy="dot")


def test_every_published_setting_trains(split, histories):
    for name, setting in PUBLISHED.items():
        training = br.Training.as_published(max_epochs=1)
        model = setting.build(histories)
        fit = br.fit(model, split, setting.objective, training, progress=False)
        assert np.isfinite(fit.history["loss"]).all(), name
