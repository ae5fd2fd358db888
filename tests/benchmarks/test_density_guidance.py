"""The count and the correlation against known answers; the whole page at a tiny size."""

import sys

import numpy as np
import pytest
from launching import ROOT, run_benchmark

sys.path.insert(0, str(ROOT / "benchmarks"))

import density_guidance
from density_guidance import DENSITIES, correlation, count_cells, make_data


@pytest.mark.parametrize("cells", [0, 1, 9])
def test_dark_bodies_are_counted(cells):
    rows, columns = np.mgrid[:64, :64]
    frame = 128 + np.random.default_rng(0).normal(0, 2, (64, 64))
    for index in range(cells):
        y, x = 10 + 20 * (index // 3), 10 + 20 * (index % 3)
        frame -= 40 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 2**2))
    assert count_cells(frame) == cells


def test_correlation():
    rising = {"few": [1, 2, 3], "some": [5, 6, 7], "many": [9, 10, 11]}
    value, low, high = correlation(rising)
    assert value > 0.9 and low > 0.7 and high <= 1
    value, low, high = correlation({"few": [5, 1, 9], "some": [9, 5, 1], "many": [1, 9, 5]})
    assert abs(value) < 1e-9 and low < 0 < high


def test_data_are_made_anew_where_some_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(density_guidance, "HELD_OUT", 1)
    first, again = (make_data(tmp_path, cultures=2, field=64) for _ in range(2))
    assert first == again and len(first) == len(DENSITIES)
    assert (tmp_path / "data" / "README.md").exists()


@pytest.mark.slow
def test_page(tmp_path):
    command = [
        "density_guidance.py",
        "--work",
        tmp_path / "work",
        "--out",
        tmp_path / "d.md",
    ]
    command += ["--picture", tmp_path / "images" / "d.png", "--cultures", "5", "--field", "64", "--clips", "2"]
    command += ["--steps", "2", "--guidance", "1", "--max_train_steps", "2", "--train_batch_size", "2"]
    command += ["--mixed_precision", "no"]
    run_benchmark(*command)
    page = (tmp_path / "d.md").read_text()
    assert "| simulated, held out |" in page and "| generated, guidance 1 |" in page and "(images/d.png)" in page
    assert (tmp_path / "images" / "d.png").exists()
