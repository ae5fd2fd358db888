"""The benchmark's script runs from end to end at tiny sizes. How fast it finds us is for a quiet machine to say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_quick_run_writes_both_files(tmp_path):
    pytest.importorskip("pyoptflow", reason="the extra bench is not installed")
    command = [sys.executable, ROOT / "benchmarks" / "run.py", "--quick", "--out", tmp_path]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    results = json.loads((tmp_path / "benchmarks.json").read_text())
    assert {"networks", "limits", "memory", "samples", "flow", "start_up", "data", "scaling"} <= results.keys()
    assert results["flow"]["paper_against_pyoptflow"] < 1e-4
    for row in results["networks"].values():
        assert row["forward"]["seconds"] > 0 and row["training"]["seconds"] > 0
    page = (tmp_path / "benchmarks.md").read_text()
    assert "Quick mode" in page and "Optical flow" in page
    results["parts"]["networks"]["commit"] = "earlier"
    (tmp_path / "benchmarks.json").write_text(json.dumps(results))
    subprocess.run([*command, "--only", "scaling"], check=True, cwd=ROOT, capture_output=True)
    page = (tmp_path / "benchmarks.md").read_text()
    assert re.search(r"^\* networks: .*, commit earlier,", page, re.MULTILINE)
    assert re.search(r"^\* flow, whole, scaling: ", page, re.MULTILINE)


def test_scaling_alone_projects_nothing_without_a_measured_step(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "run.py", "--quick", "--only", "scaling", "--out", tmp_path]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    results = json.loads((tmp_path / "benchmarks.json").read_text())
    assert "scaling" in results and "projection" not in results
