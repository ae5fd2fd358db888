"""`prepare` end to end, at sizes of a few patches."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from moving_blobs import blobs

from cellvid_diffusers.data import decode_flow, decode_frames, load_patches, prepare, readers
from cellvid_diffusers.data.motion import video_flow

OPTIONS = {"patch_size": 32, "num_frames": 4, "progress": False}


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_rows_are_the_recording_and_its_flow(stacks, tmp_path):
    report = prepare([stacks / "a.tif"], tmp_path / "out", equalize=False, **OPTIONS)
    video = tifffile.imread(stacks / "a.tif")
    flow = video_flow(video, "pyramid")
    rows = load_patches(tmp_path / "out")
    assert len(rows) == report.rows["train"] == report.candidates == 3 * 2 * 2  # windows at 0, 4, 5; 2 x 2 patches
    assert {row["t0"] for row in rows} == {0, 4, 5}
    for row in rows:
        t0, y, x = row["t0"], row["y"], row["x"]
        np.testing.assert_array_equal(decode_frames(row["frames"]), video[t0 : t0 + 4, y : y + 32, x : x + 32])
        stored = decode_flow(row)
        known = flow[t0 : t0 + 4, y : y + 32, x : x + 32]
        assert stored.dtype == np.float16 and stored.shape == (4, 32, 32, 2)
        np.testing.assert_allclose(stored[: len(known)], known, atol=2e-3)
        if len(known) < 4:  # the recording ends: the last flow is repeated
            np.testing.assert_array_equal(stored[3], stored[2])
        assert row["recording"] == "a" and row["culture"] is None and row["density"] is None
    u, v = np.median(stored.astype(np.float32), axis=(0, 1, 2))
    assert abs(u - 1) < 0.1 and abs(v) < 0.1  # blobs move to the right by 1 px a frame


def test_sixteen_bits_are_measured_once_and_not_for_each_window(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", blobs(40).astype(np.uint16) * 100, metadata={"axes": "TYX"})
    reads, opened = [], readers.open_source

    def counting(path, **options):
        source = opened(path, **options)
        return replace(source, plane=lambda *index: reads.append(index) or source.plane(*index))

    monkeypatch.setattr(readers, "open_source", counting)
    prepare([tmp_path / "a.tif"], tmp_path / "out", equalize=False, flow="none", **OPTIONS)
    windows = len({row["t0"] for row in load_patches(tmp_path / "out")})
    assert windows == 10
    # the size (a frame at each opening), the 32 samples for range and contrast, and a window's 4 frames and the next
    assert len(reads) <= 1 + 2 * 32 + windows * (1 + 5)


def test_stride_reduction_and_no_flow(stacks, tmp_path):
    options = {**OPTIONS, "patch_size": 16, "frame_stride": 2, "downscale": 2, "flow": "none", "equalize": False}
    prepare([stacks / "a.tif"], tmp_path / "out", **options)
    row = load_patches(tmp_path / "out")[0]
    mean = tifffile.imread(stacks / "a.tif")[:, :32, :32].reshape(9, 16, 2, 16, 2).mean((2, 4))
    assert np.abs(decode_frames(row["frames"]) - mean[[0, 2, 4, 6]]).max() <= 0.5
    assert row["flow"] is None and row["flow_shape"] is None and row["frame_stride"] == 2


def test_each_recording_can_be_reduced_in_its_own_way(stacks, tmp_path):
    entries = "recordings:\n- {file: a.tif, downscale: 2, pixel_size_um: 0.5}\n- {file: b.tif, pixel_size_um: 1.0}\n"
    (stacks / "scales.yaml").write_text(entries)
    options = {**OPTIONS, "patch_size": 16, "flow": "none", "equalize": False}
    prepare([], tmp_path / "out", sidecar=stacks / "scales.yaml", downscale=1, **options)
    rows = {row["recording"]: row for row in reversed(list(load_patches(tmp_path / "out")))}
    mean = tifffile.imread(stacks / "a.tif")[:4, :32, :32].reshape(4, 16, 2, 16, 2).mean((2, 4))
    assert np.abs(decode_frames(rows["a"]["frames"]) - mean).max() <= 0.5
    np.testing.assert_array_equal(decode_frames(rows["b"]["frames"]), tifffile.imread(stacks / "b.tif")[:4, :16, :16])
    assert {row["pixel_size_um"] for row in rows.values()} == {1.0}


SIDECAR = """
recordings:
- {file: a.tif, culture: one, cell_type: neuron, density: sparse, maturity: mature, day: 7, pixel_size_um: 0.5,
   frame_interval_min: 2, stride: 2, num_frames: 3, region: [0, 48, 0, 64]}
- {file: b.tif, culture: two, cell_type: glia, split: validation}
"""


def test_a_culture_in_two_splits_is_told(stacks, tmp_path):
    (stacks / "recordings.yaml").write_text(SIDECAR.replace("culture: two", "culture: one"))
    report = prepare([], tmp_path / "out", sidecar=stacks / "recordings.yaml", downscale=1, **OPTIONS)
    assert any(note.startswith("culture one is in train and validation") for note in report.notes)


def test_sidecar_metadata_and_splits_by_recording(stacks, tmp_path):
    (stacks / "recordings.yaml").write_text(SIDECAR)
    prepare([], tmp_path / "out", sidecar=stacks / "recordings.yaml", downscale=1, **OPTIONS)
    train, held_out = load_patches(tmp_path / "out"), load_patches(tmp_path / "out", "validation")
    assert set(train["recording"]) == {"a"} and set(held_out["recording"]) == {"b"}
    row = train[0]
    assert (row["culture"], row["day"], row["frame_stride"], row["frame_interval_min"]) == ("one", 7, 2, 4)
    assert train.features["cell_type"].names == ["glia", "neuron"]
    assert train.features["cell_type"].int2str(row["cell_type"]) == "neuron"
    assert train.features["density"].int2str(row["density"]) == "sparse"
    assert len(row["frames"]) == 3
    assert held_out[0]["day"] is None and held_out[0]["pixel_size_um"] is None
    assert "| a | train |" in (tmp_path / "out" / "README.md").read_text()


def test_contradictions_are_said_and_the_sidecar_counts(tmp_path):
    metadata = {"axes": "TYX", "PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", blobs(4), metadata=metadata)
    (tmp_path / "recordings.yaml").write_text("- {file: a.ome.tif, pixel_size_um: 0.5}")
    report = prepare([], tmp_path / "out", sidecar=tmp_path / "recordings.yaml", flow="none", **OPTIONS)
    assert report.notes == ["a.ome.tif: pixel_size_um is 0.5 in the sidecar, which counts, and 0.65 in the file"]
    assert load_patches(tmp_path / "out")[0]["pixel_size_um"] == 0.5


def test_recordings_that_the_sidecar_does_not_list_are_told(stacks, tmp_path):
    (stacks / "recordings.yaml").write_text("- {file: a.tif, cell_type: neuron}\n- {file: B.TIF, cell_type: glia}\n")
    paths = [stacks / "a.tif", stacks / "b.tif"]
    report = prepare(paths, tmp_path / "out", sidecar=stacks / "recordings.yaml", flow="none", **OPTIONS)
    assert report.notes == ["b: not in the sidecar, so nothing is known of its cells"]
    assert report.notes[0] in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
def test_two_runs_and_two_workers_give_the_same_bytes(stacks, tmp_path):
    files = [stacks / "a.tif", stacks / "b.tif"]
    prepare(files, tmp_path / "first", **OPTIONS)
    prepare(files, tmp_path / "second", **OPTIONS)
    prepare(files, tmp_path / "workers", workers=2, **OPTIONS)
    assert digests(tmp_path / "first") == digests(tmp_path / "second") == digests(tmp_path / "workers")
    assert not list(tmp_path.glob(".*parts*"))


@pytest.mark.slow
def test_kill_and_resume_give_the_same_bytes(stacks, tmp_path):
    """The process is killed when two of seven windows are there."""
    code = f"""
from pathlib import Path
from cellvid_diffusers.data import prepare
prepare([Path({str(stacks)!r}) / "a.tif", Path({str(stacks)!r}) / "b.tif"], {str(tmp_path / "out")!r},
        patch_size=32, num_frames=2, progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob(".out.parts-*/*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob(".out.parts-*/*.parquet")) and not (tmp_path / "out").exists()
    for name in ("out", "once"):
        prepare([stacks / "a.tif", stacks / "b.tif"], tmp_path / name, patch_size=32, num_frames=2, progress=False)
    assert digests(tmp_path / "out") == digests(tmp_path / "once")


def test_masks_that_changed_after_an_interruption_are_taken_anew(tmp_path, monkeypatch):
    video = blobs(9, 64, 80)
    tifffile.imwrite(tmp_path / "a.tif", video, metadata={"axes": "TYX"}, photometric="minisblack")
    (tmp_path / "s.yaml").write_text("- {file: a.tif, masks: m.tif}\n")

    def write_masks(number):
        masks = np.where(video > 150, number, 0).astype(np.uint16)
        tifffile.imwrite(tmp_path / "m.tif", masks, metadata={"axes": "TYX"}, photometric="minisblack")

    def stop(*_):
        raise KeyboardInterrupt

    arguments = {"sidecar": tmp_path / "s.yaml", "flow": "none", **OPTIONS}
    write_masks(1)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(sys.modules["cellvid_diffusers.data.prepare"], "_assemble", stop)
        prepare([], tmp_path / "out", **arguments)
    write_masks(700)
    prepare([], tmp_path / "out", **arguments)
    assert np.unique(decode_frames(load_patches(tmp_path / "out")[0]["masks"])).tolist() == [0, 700]


def test_bad_recordings_are_named_and_the_rest_prepared(stacks, tmp_path):
    (stacks / "bad.tif").write_bytes((stacks / "a.tif").read_bytes()[:2000])
    tifffile.imwrite(stacks / "small.tif", blobs(9, 20, 64), metadata={"axes": "TYX"})
    tifffile.imwrite(stacks / "short.tif", blobs(3), metadata={"axes": "TYX"})
    (stacks / "recordings.yaml").write_text("- {file: ../outside.tif}\n- {file: a.tif}\n- {file: small.tif}\n")
    names = ["bad.tif", "short.tif"]
    report = prepare(
        [stacks / n for n in names] + [stacks / "a.tif", stacks / "small.tif"], tmp_path / "out", **OPTIONS
    )
    assert [error.split(":")[0] for error in report.errors] == ["bad.tif", "short.tif", "small.tif"]
    assert "frames must be at least 32 px a side, got 20x64" in report.errors[2]
    assert "recording must hold 4 frames for 4 at stride 1, got 3" in report.errors[1]
    assert set(load_patches(tmp_path / "out")["recording"]) == {"a"}
    outside = prepare([], tmp_path / "two", sidecar=stacks / "recordings.yaml", **OPTIONS)
    assert "../outside.tif: file must lie inside the data root" in outside.errors


def test_recordings_of_one_name_in_different_folders(stacks, tmp_path):
    for day, seed in (("day1", 1), ("day2", 2)):
        (stacks / day).mkdir()
        tifffile.imwrite(stacks / day / "video.tif", blobs(4, seed=seed), metadata={"axes": "TYX"})
    (stacks / "day3").mkdir()
    (stacks / "day3" / "video.tif").write_bytes(b"no TIFF")
    paths = [stacks / day / "video.tif" for day in ("day1", "day2", "day3")]
    report = prepare(paths, tmp_path / "out", validation=["day2_video"], **OPTIONS)
    assert set(load_patches(tmp_path / "out", "train")["recording"]) == {"day1_video"}
    assert set(load_patches(tmp_path / "out", "validation")["recording"]) == {"day2_video"}
    assert len(report.errors) == 1 and report.errors[0].startswith("day3/video.tif: ")
    with pytest.raises(ValueError, match=r"day1/video\.tif: a file may be listed twice"):
        prepare([*paths, paths[0]], tmp_path / "twice", **OPTIONS)


def test_nothing_is_left_when_all_fails(tmp_path):
    with pytest.raises(ValueError, match=r"no recording could be prepared: none.tif: recording must exist"):
        prepare([tmp_path / "none.tif"], tmp_path / "out", **OPTIONS)
    flat = np.random.default_rng(0).normal(100, 3, (4, 40, 40)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "flat.tif", flat, metadata={"axes": "TYX"}, photometric="minisblack")
    with pytest.raises(ValueError, match=r"no patch was worth keeping \(rejected: \{'empty': 4\}\)"):
        prepare([tmp_path / "flat.tif"], tmp_path / "out", **OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["flat.tif"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match="out must be a new or empty folder"):
        prepare([tmp_path / "flat.tif"], tmp_path / "out", **OPTIONS)


def test_duplicated_patches_are_kept_once(stacks, tmp_path):
    (stacks / "copy.tif").write_bytes((stacks / "b.tif").read_bytes())
    report = prepare([stacks / "b.tif", stacks / "copy.tif"], tmp_path / "out", flow="none", **OPTIONS)
    assert report.rejected["duplicated"] == report.rows["train"] == report.candidates // 2


@pytest.mark.parametrize("flow", ["pyramid", "none"])
def test_a_black_frame_costs_its_window_and_is_told(tmp_path, flow):
    video = blobs(13)
    video[8] = 0  # in the window at 4 only as the frame that its last flow leads to
    tifffile.imwrite(tmp_path / "a.tif", video, metadata={"axes": "TYX"})
    report = prepare([tmp_path / "a.tif"], tmp_path / "out", flow=flow, **OPTIONS)
    kept = {0, 9} if flow == "pyramid" else {0, 4, 9}
    assert {row["t0"] for row in load_patches(tmp_path / "out")} == kept  # of the windows at 0, 4, 8 and 9
    assert report.rejected == {"blank": 4 * (4 - len(kept))}
    assert "| blank |" in (tmp_path / "out" / "README.md").read_text()


def test_a_shutter_that_fails_for_good(tmp_path):
    video = blobs(12)
    video[4:] = np.random.default_rng(0).normal(10, 1, video[4:].shape)
    tifffile.imwrite(tmp_path / "a.tif", video, metadata={"axes": "TYX"})
    report = prepare([tmp_path / "a.tif"], tmp_path / "out", flow="none", **OPTIONS)
    assert report.rejected == {"blank": 8} and report.rows["train"] == 4


@pytest.mark.parametrize(
    ("options", "bright"),
    [({"equalize": True}, np.s_[:4]), ({"equalize": False, "flatten": True}, np.s_[:, :, :32])],
)
def test_saturation_is_seen_behind_the_corrections(tmp_path, options, bright):
    video = blobs(8)
    video[bright] = np.clip(video[bright] * 2.0, 0, 255)
    tifffile.imwrite(tmp_path / "a.tif", video, metadata={"axes": "TYX"})
    report = prepare([tmp_path / "a.tif"], tmp_path / "out", flow="none", **options, **OPTIONS)
    assert report.rejected == {"saturated": 4}  # a window of 2 x 2 patches, or two columns of two windows


def test_masks_and_challenge_folders(tmp_path):
    video = blobs(4)
    masks = (video > 150).astype(np.uint16) * 300
    (tmp_path / "01").mkdir()
    (tmp_path / "01_ST" / "SEG").mkdir(parents=True)
    for t in range(4):
        tifffile.imwrite(tmp_path / "01" / f"t{t:03d}.tif", video[t])
        tifffile.imwrite(tmp_path / "01_ST" / "SEG" / f"man_seg{t:03d}.tif", masks[t])
    prepare([tmp_path / "01"], tmp_path / "out", flow="none", equalize=False, **OPTIONS)
    row = load_patches(tmp_path / "out")[1]
    y, x = row["y"], row["x"]
    np.testing.assert_array_equal(decode_frames(row["masks"]), masks[:, y : y + 32, x : x + 32])


def test_automatic_stride_meets_the_target_speed(tmp_path):
    tifffile.imwrite(tmp_path / "slow.tif", blobs(17, step=(0.5, 0)), metadata={"axes": "TYX"})
    prepare([tmp_path / "slow.tif"], tmp_path / "out", frame_stride="auto", target_speed=1.4, **OPTIONS)
    row = load_patches(tmp_path / "out")[0]
    assert row["frame_stride"] == 3
    assert abs(np.median(decode_flow(row)[..., 0].astype(np.float32)) - 1.5) < 0.15


@pytest.mark.parametrize("frame_range", [(0.9, 1.1), None])
def test_automatic_stride_is_of_what_is_left_once_flicker_and_drift_are_gone(tmp_path, frame_range):
    """Blobs of 0.5 px/frame: the lamp flickers, or the stage drifts by 2 px/frame over them."""
    if frame_range:
        video, options = blobs(17, step=(0.5, 0)), {"equalize": True}
        gain = np.random.default_rng(0).uniform(*frame_range, 17)[:, None, None]
        video = (video * gain).clip(0, 255).astype(np.uint8)
    else:
        video, options = blobs(17, 64, 120, step=(2, 0)), {"register": True}
    tifffile.imwrite(tmp_path / "slow.tif", video, metadata={"axes": "TYX"})
    prepare([tmp_path / "slow.tif"], tmp_path / "out", frame_stride="auto", target_speed=1.4, **(OPTIONS | options))
    assert load_patches(tmp_path / "out")[0]["frame_stride"] == (3 if frame_range else 5)  # 5: the most there is


def test_bright_cells_of_a_16_bit_recording_are_not_saturated(tmp_path):
    """The stretch to 8 bits clips the brightest thousandth, which the camera did not."""
    video = 257 * blobs(3, 200, 200).astype(np.uint16) // 4
    y, x = np.mgrid[:200, :200]
    cell = np.hypot(y - 24, x - 24) < 5
    video[:, cell] = 20000 + 100 * np.arange(cell.sum())
    tifffile.imwrite(tmp_path / "bright.tif", video, metadata={"axes": "TYX"}, photometric="minisblack")
    options = {**OPTIONS, "patch_size": 16, "overlap": 0.0, "num_frames": 3, "equalize": False}
    assert "saturated" not in prepare([tmp_path / "bright.tif"], tmp_path / "out", **options).rejected
    video[:, cell] = 40000
    tifffile.imwrite(tmp_path / "limit.tif", video, metadata={"axes": "TYX"}, photometric="minisblack")
    assert prepare([tmp_path / "limit.tif"], tmp_path / "limited", **options).rejected["saturated"] > 0


def test_registration_passes_over_a_black_frame(tmp_path):
    video = blobs(13, 64, 80, step=(1, 0))
    video[8] = 0
    tifffile.imwrite(tmp_path / "drifts.tif", video, metadata={"axes": "TYX"}, photometric="minisblack")
    report = prepare([tmp_path / "drifts.tif"], tmp_path / "out", **{**OPTIONS, "register": True})
    assert report.rejected["blank"] > 0
    flow = np.stack([decode_flow(row) for row in load_patches(tmp_path / "out")]).astype(np.float32)
    assert np.abs(np.median(flow, axis=(0, 1, 2, 3))).max() < 0.2


def test_registration_and_flat_light(tmp_path):
    video = blobs(4, 64, 80, step=(3, 1))
    tifffile.imwrite(tmp_path / "drifts.tif", video, metadata={"axes": "TYX"}, photometric="minisblack")
    options = {**OPTIONS, "register": True, "flatten": True, "reject": False}
    prepare([tmp_path / "drifts.tif"], tmp_path / "out", **options)
    flow = decode_flow(load_patches(tmp_path / "out")[0]).astype(np.float32)
    assert np.abs(np.median(flow, axis=(0, 1, 2))).max() < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 4}, "patch_size must be at least 8, got 4"),
        ({"num_frames": 1}, "num_frames must be at least 2, got 1"),
        ({"overlap": 1.0}, r"overlap must lie in \[0, 1\), got 1.0"),
        ({"frame_stride": 0}, "frame_stride must be 'auto' or at least 1, got 0"),
        ({"patch_size": 64.0}, "patch_size must be a whole number, got 64.0"),
        ({"downscale": 0}, "downscale must be at least 1, got 0"),
        ({"stillness": 1.0, "flow": "dis"}, "stillness must be at least 0, of flow pyramid, got 1.0 of dis"),
        ({"flow": "raft"}, "flow must be one of pyramid, paper, dis, none, got raft"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"engine": "ray"}, "engine must be one of local, dask, got ray"),
        ({"validation": ["c"]}, r"validation must name recordings among \['a'\], got c"),
    ],
)
def test_options_out_of_range(stacks, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        prepare([stacks / "a.tif"], tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == [stacks]


@pytest.mark.slow
def test_dask_survives_the_loss_of_a_worker(stacks, tmp_path):
    distributed = pytest.importorskip("distributed")
    files = [stacks / "a.tif", stacks / "b.tif"]
    options = {"patch_size": 32, "num_frames": 2, "progress": False}
    prepare(files, tmp_path / "here", **options)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        lost = cluster.workers[0].pid

        def lose_a_worker():
            while not list(tmp_path.glob(".dask.parts-*/*")):
                time.sleep(0.002)
            os.kill(lost, signal.SIGKILL)

        threading.Thread(target=lose_a_worker, daemon=True).start()
        prepare(files, tmp_path / "dask", engine="dask", scheduler=cluster.scheduler_address, **options)
        assert cluster.workers[0].pid != lost
    assert digests(tmp_path / "dask") == digests(tmp_path / "here")
