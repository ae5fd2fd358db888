"""Run a script of `benchmarks/` as a user does, on one thread."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_script(*words: object) -> None:
    """`run_script("tasks.py", "--out", path)`; the end of what it printed if it fails."""
    command = [sys.executable, f"benchmarks/{words[0]}", *map(str, words[1:])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
