"""A few examples of each fault in docs/reliability.md. (tests/faults/run.py has all of them.)"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# tests/test_datasets.py has failed downloads, and tests/test_interruption.py has signals. The row
# of the memory limit takes too long.
ROWS = ["kill", "disk-full", "read-only", "two-runs", "flips", "truncated", "foreign", "no-code", "images"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forks")
def test_faults(seed):
    """The script runs in a process of its own, because MXNet must not run before a fork."""
    script = Path(__file__).parent / "faults" / "run.py"
    rows = [word for row in ROWS for word in ("--row", row)]
    ended = subprocess.run(
        [sys.executable, str(script), "--share", "0.01", "--seed", str(seed), *rows], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("as it must be") == 2 * len(ROWS)
