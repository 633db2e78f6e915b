"""Both likelihoods satisfy what the package ships for likelihoods."""

import bayes_recsys as br
from bayes_recsys.testing import LikelihoodTests


class TestBernoulli(LikelihoodTests):
    likelihood = br.Bernoulli(negatives=2)


class TestBradleyTerry(LikelihoodTests):
    likelihood = br.BradleyTerry(negatives=2)
