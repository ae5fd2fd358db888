"""The benchmark's script runs from end to end at tiny sizes. How fast it finds us is for a quiet machine to say."""

import json
import re

import pytest
from launching import run_benchmark


@pytest.mark.slow
def test_quick_run_writes_both_files(tmp_path):
    pytest.importorskip("pyoptflow", reason="the extra bench is not installed")
    run_benchmark("run.py", "--quick", "--out", tmp_path)
    results = json.loads((tmp_path / "benchmarks.json").read_text())
    assert {"networks", "limits", "memory", "samples", "flow", "start_up", "data", "scaling"} <= results.keys()
    assert results["flow"]["paper_against_pyoptflow"] < 1e-4
    for row in results["networks"].values():
        assert row["forward"]["seconds"] > 0 and row["training"]["seconds"] > 0
    page = (tmp_path / "benchmarks.md").read_text()
    assert "Quick mode" in page and "Optical flow" in page
    results["parts"]["networks"]["commit"] = "earlier"
    (tmp_path / "benchmarks.json").write_text(json.dumps(results))
    run_benchmark("run.py", "--quick", "--out", tmp_path, "--only", "scaling")
    page = (tmp_path / "benchmarks.md").read_text()
    assert re.search(r"^\* networks: .*, commit earlier,", page, re.MULTILINE)
    assert re.search(r"^\* flow, whole, scaling: ", page, re.MULTILINE)


def test_scaling_alone_projects_nothing_without_a_measured_step(tmp_path):
    run_benchmark("run.py", "--quick", "--only", "scaling", "--out", tmp_path)
    results = json.loads((tmp_path / "benchmarks.json").read_text())
    assert "scaling" in results and "projection" not in results and results["parts"]["scaling"]["quick"]
