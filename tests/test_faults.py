"""A few of each of the faults of docs/reliability.md. (All of them: tests/faults/run.py.)"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Downloads that fail: tests/test_datasets.py; signals: tests/test_interruption.py. A memory limit takes too long.
ROWS = ["kill", "disk-full", "read-only", "two-runs", "flips", "truncated", "foreign", "no-code", "images"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forks")
def test_faults(seed):
    """In a process of its own, which has not run MXNet before it forks."""
    script = Path(__file__).parent / "faults" / "run.py"
    rows = [word for row in ROWS for word in ("--row", row)]
    ended = subprocess.run(
        [sys.executable, str(script), "--share", "0.01", "--seed", str(seed), *rows], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("as it must be") == 2 * len(ROWS)
