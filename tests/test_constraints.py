"""The versions of constraints.txt."""

import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

LINES = (Path(__file__).parents[1] / "constraints.txt").read_text().splitlines()
PINS = [Requirement(line) for line in LINES if not line.startswith("#")]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the pins are for Python 3.11")
def test_pinned_versions_run_on_every_python_3_11():
    refused = {}
    for pin in PINS:
        try:
            of_pin = metadata(pin.name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed
        if not SpecifierSet(of_pin.get("Requires-Python", "")).contains("3.11.0"):
            refused[pin.name] = of_pin["Requires-Python"]
    assert not refused
