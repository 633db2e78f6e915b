"""Metrics against other libraries."""

import sys

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
import torch
from sklearn.metrics import average_precision_score, ndcg_score
from torchmetrics.functional.retrieval import (
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_precision,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

import bayes_recsys as br
from bayes_recsys.evaluation import metrics
from bayes_recsys.evaluation.protocols import cases
from tests.conftest import Tied

RNG = np.random.default_rng(0)


def ranking(n, n_relevant):
    """Random scores without ties, relevance, and the hits in order of score."""
    score, relevant = 1.0 + RNG.permutation(n), np.zeros(n, dtype=bool)
    relevant[RNG.choice(n, n_relevant, replace=False)] = True
    return score, relevant, relevant[np.argsort(-score)][None]


@pytest.mark.parametrize("n_relevant", [1, 3, 15])
@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_metrics_agree_with_torchmetrics_and_sklearn(n_relevant, k):
    for _ in range(20):
        score, relevant, hits = ranking(20, n_relevant)
        n = np.array([n_relevant])
        theirs = torch.from_numpy(score), torch.from_numpy(relevant)
        for ours, other in (
            (metrics.hit_rate, retrieval_hit_rate),
            (metrics.precision, retrieval_precision),
            (metrics.recall, retrieval_recall),
            (metrics.ndcg, retrieval_normalized_dcg),
            (metrics.reciprocal_rank, retrieval_reciprocal_rank),
        ):
            assert ours(hits, n, k)[0] == pytest.approx(other(*theirs, top_k=k).item(), abs=1e-6)
        by_sklearn = ndcg_score(relevant[None].astype(int), score[None], k=k)
        assert metrics.ndcg(hits, n, k)[0] == pytest.approx(by_sklearn, abs=1e-6)
        whole = average_precision_score(relevant, score)
        assert metrics.average_precision(hits, n, 20)[0] == pytest.approx(whole, abs=1e-6)


def test_evaluation_agrees_with_trec_eval_and_torchmetrics(monkeypatch):
    """Scores with ties, users without test items, fewer candidates than k: what ``evaluate`` reports for
    each user against two libraries that are given the lists it ranked."""
    rng = np.random.default_rng(0)
    # Too short to test; usual; hardly anything left to rank.
    lengths = [2] * 5 + [15] * 20 + [28] * 5
    rows = [(u, i) for u, n in enumerate(lengths) for i in rng.choice(30, n, replace=False)]
    data = br.data.from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    with pytest.warns(br.data.DataWarning, match="left out"):
        split = br.data.split(data, seed=0)
    seen = []

    def recorded(hits, n_relevant, ks):
        seen.append((hits, n_relevant))
        return metrics.all_metrics(hits, n_relevant, ks)

    module = sys.modules["bayes_recsys.evaluation.ranking"]
    monkeypatch.setattr(module, "all_metrics", recorded)
    ks = (1, 5, 10, 20)
    per_user = br.evaluate(Tied(split), split, ks=ks).per_user
    assert len(per_user) == 25
    candidates = {
        split.interactions.user_ids[u]: len(c) for u, c, _ in cases(split, "full", "test", 0)
    }
    assert min(candidates.values()) < 10
    ((hits, n_relevant),) = seen
    for user, row, n in zip(per_user.index, hits, n_relevant, strict=True):
        relevant = np.append(
            row, np.ones(n - row.sum(), dtype=bool)
        )  # those not in the list come last
        ranked = {f"d{i}": float(-i) for i in range(len(relevant))}
        qrel = {user: {f"d{i}": 1 for i in np.flatnonzero(relevant)}}
        for k in ks:
            run = {user: dict(list(ranked.items())[: min(k, len(row))])}
            trec = pytrec_eval.RelevanceEvaluator(
                qrel,
                {
                    f"success.{k}",
                    f"ndcg_cut.{k}",
                    f"P.{k}",
                    f"recall.{k}",
                    f"map_cut.{k}",
                    "recip_rank",
                },
            ).evaluate(run)[user]
            ours = per_user.loc[user]
            for name, theirs in (
                (f"hr@{k}", f"success_{k}"), (f"ndcg@{k}", f"ndcg_cut_{k}"), (f"precision@{k}", f"P_{k}"),
                (f"recall@{k}", f"recall_{k}"), (f"map@{k}", f"map_cut_{k}"), (f"mrr@{k}", "recip_rank"),
            ):  # fmt: skip
                assert ours[name] == pytest.approx(trec[theirs], abs=1e-6)
            scores = torch.arange(len(relevant), 0, -1).float(), torch.from_numpy(relevant)
            for name, function in (
                ("hr", retrieval_hit_rate),
                ("ndcg", retrieval_normalized_dcg),
                ("precision", retrieval_precision),
                ("recall", retrieval_recall),
                ("mrr", retrieval_reciprocal_rank),
            ):
                theirs = function(*scores, top_k=k).item()
                assert ours[f"{name}@{k}"] == pytest.approx(theirs, abs=1e-6)


def test_novelty_coverage_and_gini_against_loops():
    top = np.array([[0, 1, 2], [1, 0, 3], [1, 4, -1]])
    counts, n_users, n_items = np.array([9, 3, 0, 1, 4, 2]), 9, 6
    for k in (1, 2, 3):
        lists = [[i for i in row[:k] if i >= 0] for row in top]
        bits = [np.mean([-np.log2((counts[i] + 1) / 10) for i in row]) for row in lists]
        np.testing.assert_allclose(metrics.novelty(top, counts, n_users, k), bits)
        flat = [i for row in lists for i in row]
        assert metrics.coverage(top, n_items, k) == len(set(flat)) / n_items
        often = np.array([flat.count(i) for i in range(n_items)], float)
        apart = np.abs(often[:, None] - often).mean() / (2 * often.mean())
        assert metrics.gini(top, n_items, k) == pytest.approx(apart)


def test_average_precision_by_hand():
    hits = np.array([[True, False, True, False], [False, False, False, True]])
    n = np.array([3, 1])
    np.testing.assert_allclose(metrics.average_precision(hits, n, 3), [(1 + 2 / 3) / 3, 0])
    np.testing.assert_allclose(metrics.average_precision(hits, n, 4), [(1 + 2 / 3) / 3, 1 / 4])
