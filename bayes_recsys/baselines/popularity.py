"""What everyone chooses."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_recsys.arguments import check_kind
from bayes_recsys.data.splits import Split


class Popularity:
    """Score = number of training interactions of the item, the same for everyone.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> Popularity(split).score(torch.tensor([0]), torch.tensor([[3, 4]])).shape
        torch.Size([1, 2])
    """

    def __init__(self, split: Split):
        check_kind(split, Split, "a split (data.split(..))")
        self.split = split
        items = torch.from_numpy(split.interactions.item[split.train])
        self.counts = torch.bincount(items, minlength=split.interactions.n_items).float()

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores ``[G, C]`` of candidates ``item [G, C]``."""
        return self.counts[item]
