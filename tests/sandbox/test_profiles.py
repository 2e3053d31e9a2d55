from __future__ import annotations

import time

import pytest

from sandbox.profiles import profile_of


@pytest.mark.parametrize(
    ("source", "profile"),
    [
        ("", "bare"),
        ("import math, os\nfrom typing import List\n", "bare"),
        ("import numpy as np", "numpy"),
        ("import numpy", "numpy"),
        ("from numpy.linalg import norm", "numpy"),
        ("import os, numpy as np", "numpy"),
        ("def f():\n\tfrom numpy import array\n", "numpy"),
        ("import os; import numpy", "numpy"),
        ("try: import numpy\nexcept ImportError: pass", "numpy"),
        ("import numpy\r\nimport pandas as pd\r\n", "pandas"),
        ("import scipy.stats\nimport numpy", "pandas"),
        ("from sklearn import svm", "pandas"),
        ("import numpyish\nimport my_numpy\nfrom mynumpy import numpy", "bare"),
        ("# import numpy\nx = 'import numpy'\nimport ,", "bare"),
        ("from . import numpy\nimportnumpy = 1\nimport\nnumpy", "bare"),
        ("not python ( import numpy", "bare"),
    ],
)
def test_the_richest_import_wins(source: str, profile: str) -> None:
    assert profile_of(source) == profile


@pytest.mark.parametrize("piece", ["import ", "from ", ";" + " " * 999, "import a," + " " * 999, ": import\t", "\n \n"])
def test_any_source_is_scanned_quickly(piece: str) -> None:
    started = time.process_time()
    assert profile_of(piece * (10**6 // len(piece))) == "bare"
    assert time.process_time() - started < 2
