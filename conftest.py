"""What all tests share: one thread, and what doctests may use without importing it."""

import numpy as np
import pytest
import torch

# Toy tensors gain nothing from a second, whose waiting slows down everything beside it.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace, tmp_path):
    torch.manual_seed(0)
    doctest_namespace.update(np=np, torch=torch, tmp_path=tmp_path)
