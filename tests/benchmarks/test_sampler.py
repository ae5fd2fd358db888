"""The page of steps and quality at a tiny size."""

import pytest
from launching import run_benchmark

from cellvid_diffusers.data import write_simulated


@pytest.mark.slow
def test_page(tmp_path):
    write_simulated(tmp_path / "data", num_videos=40, size=64, num_frames=10, seed=0)
    command = [
        "sampler.py",
        "--real",
        tmp_path / "data",
        "--clips",
        "2",
        "--steps",
        "3",
        "2",
        "--motion-guidance",
        "1",
        "2",
    ]
    run_benchmark(*command, "--out", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    few, many = (line.split(" | ") for line in page.splitlines()[-7:-5])
    plain, guided = (line.split(" | ") for line in page.splitlines()[-2:])
    assert plain[0] == "| 1" and guided[0] == "| 2" and float(guided[1]) > float(plain[1]) > 0
    assert few[0] == "| 2" and float(few[2]) > 0
    assert many[0] == "| 3" and float(many[2]) == 0
