# make demo    train BAMF on MovieLens-100K, print a table, write posterior and pictures into demo/
# make test    run the tests
# make slow    run the studies that take minutes
# make truth   reproduce docs/truth.md: divergences, NUTS, calibration, designs
# make speed   reproduce docs/speed.md, but for the time to a quality and the table of tables
# make lint    check style and types
# make docs    build the documentation into docs/_build/html
# make clean   remove everything these made

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python -m
# Threads that wait do not spin: beside another busy process they would take most of its time, and ours.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test slow truth speed lint docs clean

# The environment is rebuilt when what it is made from changes.
$(VENV)/package: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/tools: $(VENV)/package
	$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,docs,dev,benchmarks]"
	touch $@

demo: $(VENV)/package
	$(VENV)/bin/python examples/train_bamf.py --data 100k --epochs 45 --out demo

test: $(VENV)/tools
	$(RUN) pytest --quiet --durations=5 --numprocesses auto --maxprocesses 4 --dist loadgroup

slow: $(VENV)/tools
	$(RUN) pytest --quiet -m slow

truth: $(VENV)/tools
	$(VENV)/bin/python benchmarks/kl.py --figure docs/kl.png
	$(VENV)/bin/python benchmarks/nuts.py --figure docs/nuts.png
	$(VENV)/bin/python benchmarks/calibration.py --figure docs/calibration.png
	$(VENV)/bin/python benchmarks/designs.py

speed: $(VENV)/tools
	$(VENV)/bin/python benchmarks/speed.py --data latest-small
	$(VENV)/bin/python benchmarks/contention.py --data latest-small
	$(VENV)/bin/python benchmarks/scaling.py --figure docs/scaling.png

lint: $(VENV)/tools
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

docs: $(VENV)/tools
	$(RUN) sphinx --quiet --fail-on-warning --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) demo runs build dist docs/_build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
