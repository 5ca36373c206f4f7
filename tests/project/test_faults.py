"""A short run of tests/tools/faults.py, longer with N2VLIB_FAULTS: all ends in a clear error, or goes on well."""

import faulthandler
import os
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("cases run in forks of a process that has torch: safe on Linux alone", allow_module_level=True)

import faults
from conftest import SIZE

CASES = int(os.environ.get("N2VLIB_FAULTS", 60 if SIZE == "thorough" else 20))  # of each part


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", faults.PARTS)
def test_every_fault_ends_well(part, tmp_path):
    counts = faults.run(CASES, [part], folder=tmp_path)
    print(counts.table())
    assert counts.kinds and not counts.bad, "\n".join(counts.bad)


@pytest.mark.parametrize(
    "action, ending",
    [
        (lambda: None, faults.WENT_ON),
        (lambda: faults.N2VConfig(depth=99), faults.CLEAR),
        (lambda: 1 / 0, "BAD: ZeroDivisionError in test_faults.py"),
        (lambda: open("/no/such/file"), faults.CLEAR),  # the system's own words name the file
        (lambda: int("x"), "BAD: ValueError in test_faults.py"),  # the right kind, but not a sentence of ours
        (lambda: faults.np.ones(2 * faults.MEMORY), "BAD: MemoryError"),
        (lambda: (faulthandler.disable(), os.abort()), "BAD: ended by SIGABRT"),  # this one need not be reported
        (lambda: os._exit(0), "BAD: ended without a word"),
    ],
)
def test_endings_are_told_apart(action, ending):
    assert faults.attempt(action).startswith(ending)
