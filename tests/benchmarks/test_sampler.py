"""The page of steps and quality at a tiny size."""

import pytest
from launching import run_benchmark


@pytest.mark.slow
def test_page(patches, checkpoint, tmp_path):
    command = [
        "sampler.py",
        "--checkpoint",
        checkpoint,
        "--real",
        patches,
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
    tables = page.strip().split("\n\n")[-3:]
    (few, many), others, (plain, guided) = ([row.split(" | ") for row in each.splitlines()[2:]] for each in tables)
    assert [row[0] for row in others[1:3]] == ["| DDIM", "| EulerDiscrete"] and float(others[1][2]) > 0
    assert plain[0] == "| 1" and guided[0] == "| 2" and float(guided[1]) > float(plain[1]) > 0
    assert few[0] == "| 2" and float(few[2]) > 0
    assert many[0] == "| 3" and float(many[2]) == 0
