"""The whole way from two folders to a report."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellvid_diffusers.evaluation import evaluate


def write(folder, clips):
    folder.mkdir()
    for i, clip in enumerate(clips):
        tifffile.imwrite(folder / f"video_{i:05d}.ome.tif", clip, metadata={"axes": "TYX"})
    return folder


@pytest.fixture(scope="module")
def sides(tmp_path_factory, make_clips):
    folder = tmp_path_factory.mktemp("sides")
    real, synth = make_clips(10, 0), make_clips(10, 1)
    synth[:3] = real[:3, :, ::-1]  # three of them copied, upside down
    synth = write(folder / "synth", synth)
    np.save(synth / "flow_00000.npy", np.zeros((10, 48, 48, 2), np.float32))
    return write(folder / "real", real), synth


@pytest.fixture(scope="module")
def report(sides, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    return out, evaluate(*sides, out, train=sides[0], progress=False)


def test_report_holds_what_it_promises(report):
    out, found = report
    assert json.loads((out / "report.json").read_text()) == found
    assert set(found) == {"distances", "verdicts", "memorisation", "events", "controls", "mix"}
    nothing = {"left_out": 0, "left_out_types": [], "matched": False}
    assert found["mix"] == {"real": {"unknown": 10}, "synth": {"unknown": 10}} | nothing
    assert list(found["distances"]) == ["appearance", "spectrum", "motion"]
    for distance in found["distances"].values():
        assert set(distance) == {"value", "floor", "ratio", "interval"}
        assert distance["ratio"] == pytest.approx(distance["value"] / distance["floor"])
        assert distance["interval"][0] <= distance["ratio"] <= distance["interval"][1]
    assert set(found["verdicts"].values()) <= {"equivalent", "different", "inconclusive"}
    assert found["memorisation"]["copy_share"] == pytest.approx(3 / 10)
    assert set(found["controls"]) == {
        "blurred", "noised", "frozen", "shuffled", "half speed", "copied training set"
    }  # fmt: skip


def test_a_file_in_place_of_the_report_is_told_first(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"out must be a folder, got the file .*notes\.txt"):
        evaluate(tmp_path / "none", tmp_path / "none", tmp_path / "notes.txt", progress=False)


def test_tables_carry_units(report):
    cells, neurites, tracks = (pd.read_csv(report[0] / f"{name}.csv") for name in ("cells", "neurites", "tracks"))
    assert {"side", "video", "frame", "area_px2", "perimeter_px"} <= set(cells.columns)
    assert set(cells["side"]) == {"real", "synthetic"}
    assert {"side", "video", "frame", "track", "length_px"} <= set(neurites.columns)
    assert {"side", "video"} <= set(tracks.columns)


def test_page_needs_no_network_and_knows_light_and_dark(report):
    page = (report[0] / "report.html").read_text()
    assert "prefers-color-scheme: dark" in page
    links = re.findall(r"""(?:src|href)=["']?([^"'\s>]+)""", page) + re.findall(r"url\(([^)]+)\)", page)
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "{{" not in page
    for heading in ("Three distances", "Verdict by measure", "Table 2", "Figure 6", "What to distrust", "Memory"):
        assert heading in page


def test_recorded_frames_can_be_left_out(report, sides, tmp_path):
    evaluate(*sides, tmp_path, train=sides[0], omit_real_frames=True, progress=False)
    full, bare = ((folder / "report.html").read_text() for folder in (report[0], tmp_path))
    assert full.count("data:image/png") == 8 + 8 + 16
    assert bare.count("data:image/png") == 8


def test_cells_can_be_found_by_another_segmentation(sides, tmp_path):
    def growing_square(video):
        labels = np.zeros(video.shape, np.uint8)
        for frame, size in enumerate(range(10, 10 + len(video))):
            labels[frame, 10 : 10 + size, 10 : 10 + size] = 1
        return labels

    evaluate(*sides, tmp_path, segment=growing_square, progress=False)
    cells = pd.read_csv(tmp_path / "cells.csv")
    assert cells["area_px2"].tolist() == 2 * 10 * [size**2 for size in range(10, 20)]


@pytest.mark.parametrize("deep, told", [(["synth"], "One side"), (["real", "synth"], "a range of their own each")])
def test_sides_of_unlike_scales_are_told(tmp_path, make_clips, deep, told):
    for name, seed, pixel, interval in (("real", 0, 1.0, 5.0), ("synth", 1, 4.0, 60.0)):
        (tmp_path / name).mkdir()
        for i, clip in enumerate(make_clips(4, seed)):
            clip = clip.astype(np.uint16) * 16 if name in deep else clip
            path = tmp_path / name / f"{i}.tif"
            about = {"axes": "TYX", "unit": "um", "finterval": 60 * interval, "tunit": "sec"}
            tifffile.imwrite(path, clip, imagej=True, resolution=(1 / pixel, 1 / pixel), metadata=about)
    evaluate(tmp_path / "real", tmp_path / "synth", tmp_path / "out", progress=False)
    page = (tmp_path / "out" / "report.html").read_text()
    for sentence in ("differ in their pixel size (1 and 4 µm)", "interval of frames (5 and 60 min)", told):
        assert sentence in page


def test_clips_without_a_single_cell_still_make_a_report(tmp_path):
    rng = np.random.default_rng(0)
    blank = [np.clip(110 + rng.normal(0, 2, (10, 48, 48)), 0, 255).astype(np.uint8) for _ in range(12)]
    found = evaluate(
        write(tmp_path / "real", blank[:6]), write(tmp_path / "synth", blank[6:]), tmp_path / "out", progress=False
    )
    assert "cell area" not in found["verdicts"]
    assert "Too few" in (tmp_path / "out" / "report.html").read_text()
