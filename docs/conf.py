from importlib.metadata import version as installed

project = "bayes_recsys"
author = "the bayes_recsys developers"
release = version = installed("bayes_recsys")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
nitpicky = True
# Of other packages, whose pages we do not link; type variables; what a signature is cut into.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(argparse|collections|contextlib|functools|matplotlib|numpy|optuna|pandas|pathlib|pyro|scipy|torch"
        r"|types|xarray)\..*",
    ),
    ("py:class", r"bayes_recsys\.threads\.T|(Tensor|Guide|dict\[str|tuple\[int)"),
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "bayes_recsys"
