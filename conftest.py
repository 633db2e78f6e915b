"""What doctests may use without importing it."""

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace, tmp_path):
    torch.manual_seed(0)
    doctest_namespace.update(np=np, torch=torch, tmp_path=tmp_path)
