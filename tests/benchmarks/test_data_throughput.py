"""The page comes out whole at a tiny size."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_page(tmp_path):
    page = tmp_path / "page.md"
    command = [sys.executable, "benchmarks/data_throughput.py", "--size", "160", "--reads", "24", "--out", str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    speeds = [float(each) for each in re.findall(r"\| (?:pyramid|dis|none) \| ([\d.]+) \|", page.read_text())]
    assert len(speeds) == 6 and min(speeds) > 0
    assert len(re.findall(r"\d/s", page.read_text())) == 9
