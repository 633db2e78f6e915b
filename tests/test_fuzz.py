"""Whatever a file, a frame or an option holds: the right result, or an error of ours that names where and what.

Two thousand cases, the same ones in every run.
"""

import inspect
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bayes_recsys as br
from bayes_recsys import models
from bayes_recsys.data import DataError, Interactions, from_frame, read_ratings
from tests.cases import MODELS


def attempt(kinds, call, *arguments, **options):
    """What a call returns, and the error of these kinds that it raises instead, in words."""
    try:
        return call(*arguments, **options), None
    except kinds as error:
        return None, str(error)


def cases(number):
    return settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


FILES = {
    "r.csv": 'userId,movieId,rating,timestamp,title\n1,10,4.0,5,"A, b"\n1,20,1.0,6,C\n2,10,3.5,7,D\n',
    "r.tsv": "user\titem\tdate\n1\t10\t2001-09-09\n1\t20\t2001-09-10\n2\t10\t2001-09-11\n",
    "r.inter": "user_id:token\titem_id:token\trating:float\n1\t10\t4\n1\t20\t1\n2\t10\t3.5\n",
    "r.dat": "1::10::4::5\n1::20::1::6\n2::10::3.5::7\n",
    "u.data": "1\t10\t4\t5\n1\t20\t1\t6\n2\t10\t3.5\t7\n",
    "user_artists.dat": "userID\tartistID\tweight\r\n1\t10\t4\r\n1\t20\t1\r\n2\t10\t3\r\n",
}
PIECES = (
    b'"', b"'", b",", b"\t", b"::", b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"nan",
    b"NaN", b"inf", b"-1", b"1e400", b" ", b"", b"\xe9", b"user", b"9" * 400, b"1.5", b"007", "ü".encode(), b"#", b"\\",
)  # fmt: skip


@st.composite
def damaged(draw):
    """A file with some of its bytes replaced, doubled, cut or moved."""
    name = draw(st.sampled_from(sorted(FILES)))
    content = FILES[name].encode()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        to = min(len(content), at + draw(st.integers(0, 6)))
        content = content[:at] + draw(st.sampled_from(PIECES)) + content[to:]
    if draw(st.booleans()):
        content = content[: draw(st.integers(0, len(content)))]
    return name, content


@pytest.mark.filterwarnings("ignore::bayes_recsys.data.DataWarning")
@cases(800)
@given(damaged(), st.sampled_from([None, 1.0, 3.0]), st.booleans())
def test_files(tmp_path_factory, file, min_rating, named):
    name, content = file
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(content)
    columns = ("user", "item", "rating", "timestamp") if named else None
    data, refusal = attempt(DataError, read_ratings, path, columns=columns, min_rating=min_rating)
    if refusal is not None:
        assert refusal.startswith(f"{path}: ")
        assert len(refusal.removeprefix(str(path))) > 10
        return
    assert_sound(data)
    assert len(data) <= content.count(b"\n") + content.count(b"\r") + 1


def assert_sound(data):
    """Codes and vocabularies belong together, and no id is blank."""
    assert isinstance(data, Interactions)
    for codes, ids in ((data.user, data.user_ids), (data.item, data.item_ids)):
        assert sorted(set(codes.tolist())) == list(range(len(ids)))
        assert len(set(ids.tolist())) == len(ids)
        assert "" not in ids
        assert not {"nan", "None", "<NA>", "NaT"} & set(ids.tolist())
    assert len(set(zip(data.user.tolist(), data.item.tolist(), strict=True))) == len(data)
    if data.timestamp is not None:
        assert np.isfinite(data.timestamp.astype(float)).all()


IDS = st.one_of(
    st.integers(-3, 3),
    st.floats(allow_nan=True, width=32),
    st.sampled_from(["a", "b", "1", "1.0", "", "ü", "a,b", None, np.int32(1), np.float64(1.0), pd.NA]),
)  # fmt: skip
TIMES = st.one_of(
    st.none(),
    st.integers(-5, 5),
    st.floats(allow_nan=True),
    st.sampled_from(["2001-09-09", "2001-13-09", "late", "5", pd.Timestamp("2001-09-09"), pd.NaT]),
)


def as_id(one):
    """The rule of `from_frame`, written anew: whole numbers as such, all else as it is."""
    if isinstance(one, str):
        return one
    if isinstance(one, (float, np.floating)) and float(one).is_integer() and abs(one) < 2**53:
        return str(int(one))
    return str(one)


@pytest.mark.filterwarnings("ignore::bayes_recsys.data.DataWarning")
@cases(400)
@given(
    st.lists(st.tuples(IDS, IDS, TIMES), max_size=6), st.booleans(), st.sampled_from([None, "item"])
)
def test_frames(rows, timed, titles):
    frame = pd.DataFrame(rows, columns=["user", "item", "t"])
    data, refusal = attempt(
        DataError, from_frame, frame, timestamp="t" if timed else None, titles=titles
    )
    if refusal is not None:
        assert any(part in refusal for part in ("user", "item", "'t'", "no rows")), refusal
        return
    assert_sound(data)
    expected = {(as_id(u), as_id(i)) for u, i in frame[["user", "item"]].itertuples(index=False)}
    found = zip(data.user_ids[data.user], data.item_ids[data.item], strict=True)
    assert set(found) == expected


SPLIT = br.data.split(
    br.data.synthetic(n_users=20, n_items=40, length=(10, 12), seed=0).interactions
)
HISTORIES = br.data.histories(SPLIT)
MODEL = models.BAMF(HISTORIES, embedding_dim=4)
POSTERIOR = br.Posterior(MODEL, draws=3)


def build(model):
    return lambda **options: model(HISTORIES, **options)


def numbers_of(model):
    """The constructor's options but for objects."""
    parameters = list(inspect.signature(model.__init__).parameters.values())[2:]
    plain = (int, float, str, bool, tuple)
    return {one.name: one.default for one in parameters if isinstance(one.default, plain)}


CALLS = {
    "Objective": (br.Objective, {"kl_weight": 1.0, "penalty": 0.0, "kl_reduction": "sum"}),
    "LinearWarmup": (br.LinearWarmup, {"weight": 1.0, "epochs": 3}),
    "CyclicWarmup": (br.CyclicWarmup, {"weight": 1.0, "period": 3}),
    "Training": (
        br.Training,
        {
            "learning_rate": 1e-3, "weight_decay": 0.1, "pairs": 10, "max_epochs": 3, "patience": 2, "seed": 0,
            "negatives_exclude": "train", "device": "cpu", "sparse": False, "distributed": False,
        },
    ),
    "Monitor": (
        br.Monitor,
        {
            "metric": "ndcg", "k": 5, "part": "validation", "protocol": "full", "every": 1, "draws": 0,
        },
    ),
    "Bernoulli": (br.Bernoulli, {"negatives": 4}),
    "BradleyTerry": (br.BradleyTerry, {"negatives": 4}),
    "Softmax": (br.Softmax, {"negatives": 4}),
    **{family.__name__: (family, {"scale": 1.0}) for family in (br.LogNormal, br.Gamma, br.Weibull)},
    "Scores": (br.Scores, {"scope": "user", "prior_mean": "constant"}),
    "synthetic": (br.data.synthetic, {"n_users": 20, "n_items": 40, "dim": 2, "scale": 0.1, "seed": 0}),
    "split": (lambda **o: br.data.split(SPLIT.interactions, **o), {"ratio": (8, 1, 1), "seed": 0}),
    "leave_one_out": (lambda **o: br.data.leave_one_out(SPLIT.interactions, **o), {"seed": 0}),
    "histories": (lambda **o: br.data.histories(SPLIT, **o), {"max_length": 5}),
    "evaluate": (
        lambda **o: br.evaluate(POSTERIOR, SPLIT, **o),
        {"ks": (5,), "seed": 0, "protocol": "sampled", "part": "test"},
    ),
    "recommend": (lambda **o: br.recommend(POSTERIOR, **{"users": ["0"], **o}), {"k": 5, "users": ["0"]}),
    "Posterior": (lambda **o: br.Posterior(MODEL, **o), {"draws": 3, "seed": 0, "source": "posterior"}),
    "predictive_nll": (
        lambda **o: br.predictive_nll(POSTERIOR, SPLIT, **o),
        {"seed": 0, "part": "test", "negatives": 3},
    ),
    "posterior_tree": (
        lambda **o: br.posterior_tree(MODEL, **{"users": ["0"], **o}),
        {"draws": 3, "seed": 0, "users": ["0"], "k": 2},
    ),
    "score_summary": (lambda **o: br.score_summary(MODEL, **o), {"users": 3, "items": 3, "seed": 0}),
    **{model.__name__: (build(model), numbers_of(model)) for model in MODELS},
}  # fmt: skip
OPTIONS = [(name, option) for name, (_, options) in CALLS.items() for option in options]
# What no option takes.
NEVER = ("x", math.nan, math.inf, -math.inf, object(), torch.ones(2, 2), {}, print, b"1", 1j)
OTHERS = (
    None, -1, -0.5, 0, 0.5, 1, 2.5, True, np.float32(0.5), np.int64(2), np.bool_(True), [1], "1", (1, 2), 10**30,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::bayes_recsys.data.DataWarning")
@cases(800)
@given(st.sampled_from(OPTIONS), st.sampled_from(range(len(NEVER) + len(OTHERS))))
def test_options(where, number):
    (name, option), value = where, [*NEVER, *OTHERS][number]
    call, good = CALLS[name]
    kinds = (ValueError, TypeError, MemoryError, KeyError)
    _, refusal = attempt(kinds, call, **{**good, option: value})
    if refusal is None:
        assert (option, value) == ("kl_weight", print) or not any(value is one for one in NEVER), (
            f"{name}({option}={value!r}) was taken"
        )
    else:
        assert option.removesuffix("s") in refusal, f"{name}({option}={value!r}): {refusal}"
