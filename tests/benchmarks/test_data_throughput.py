"""The page comes out whole at a tiny size."""

import re

import pytest
from launching import run_benchmark


@pytest.mark.slow
def test_page(tmp_path):
    page = tmp_path / "page.md"
    run_benchmark("data_throughput.py", "--size", 160, "--frames", 30, "--reads", 24, "--out", page)
    speeds = [float(each) for each in re.findall(r"\| (?:pyramid|dis|none) \| ([\d.]+) \|", page.read_text())]
    assert len(speeds) == 6 and min(speeds) > 0
    assert len(re.findall(r"\d/s", page.read_text())) == 9
