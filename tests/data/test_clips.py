import numpy as np
import pytest
import torch
from datasets import load_dataset
from moving_blobs import blobs

from cellvid_diffusers.data import ClipDataset, ClipStream, ClipTransform, Scales, load_patches, patch_features
from cellvid_diffusers.data.crowding import Crowding, structured_share
from cellvid_diffusers.data.dataset import encode_row, write_patches
from cellvid_diffusers.flow import warp

PLAIN = {"flip": False, "rotate": False, "any_angle": False, "random_window": False, "random_crop": False}


def row(step, size=48):
    """A clip that moves by `step` px a frame, and its exact flow."""
    frames = blobs(6, size, size, step=step)
    return frames, np.broadcast_to(np.float16(step), (*frames.shape, 2))


def residual(clip):
    """Mean difference of warped next frames from frames, over that of unwarped ones; clip `(3, F, H, W)`."""
    clip = torch.from_numpy(clip)
    inner = (slice(None), slice(6, -6), slice(6, -6))
    moved = (warp(clip[0, 1:], clip[1:, :-1].transpose(0, 1)) - clip[0, :-1])[inner].abs().mean()
    return float(moved / (clip[0, 1:] - clip[0, :-1])[inner].abs().mean())


ANGLES = ("rotate", "any_angle")


@pytest.mark.parametrize("names", [(), ("flip",), ("rotate",), ANGLES, ("flip", *ANGLES)])
@pytest.mark.parametrize("step", [(2, 0), (0, 1.5), (-1, 2)])
def test_flow_still_leads_to_the_next_frame(names, step):
    transform = ClipTransform(num_frames=5, size=32, **{**PLAIN, **dict.fromkeys(names, True)})
    assert all(residual(transform(*row(step), np.random.default_rng(seed))) < 0.2 for seed in range(6))


def test_without_turns_no_clip_is_turned():
    frames, flow = row((1, 0))
    options = {"num_frames": 4, "size": 32, "random_window": False, "random_crop": False, "flip": False}
    clip = ClipTransform(**options, rotate=False)(frames, flow, np.random.default_rng(0))
    np.testing.assert_allclose(clip[0], frames[:4, 8:40, 8:40] / 255, atol=1e-6)


def test_without_options_the_middle_of_the_first_frames_is_taken():
    frames, flow = row((1, 0))
    clip = ClipTransform(num_frames=4, size=32, **PLAIN)(frames, flow, np.random.default_rng(0))
    assert clip.shape == (3, 4, 32, 32) and clip.dtype == np.float32
    np.testing.assert_allclose(clip[0], frames[:4, 8:40, 8:40] / 255, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_flips_and_quarter_turns_move_whole_pixels(seed):
    frames, flow = row((1, 0), size=40)
    transform = ClipTransform(num_frames=6, size=32, any_angle=False)
    clip = transform(frames, flow, np.random.default_rng(seed))
    parts = [frames[0, y : y + 32, x : x + 32] for y in range(9) for x in range(9)]
    turned = [np.rot90(m, k) for part in parts for m in (part, part[::-1]) for k in range(4)]
    first = np.rint(clip[0, 0] * 255).astype(np.uint8)
    assert any((first == candidate).all() for candidate in turned)
    assert set(np.unique(np.abs(clip[1:]))) <= {0, 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve rows of 12 frames of 48 x 48: eight of a neuron that moves right, four of glia that stand still."""
    features = patch_features(["glia", "neuron"])
    rows = []
    for index in range(12):
        step = (1, 0) if index < 8 else (0, 0)
        frames = blobs(12, 48, 48, step=step, seed=index)
        known = {"recording": f"r{index % 2}", "x": index, "y": 0, "t0": 0, "frame_stride": 1}
        known |= {"cell_type": "neuron" if index < 8 else "glia", "density": "sparse" if index % 2 else None}
        flow = np.broadcast_to(np.float16(step), (*frames.shape, 2))
        rows.append(encode_row(features, frames=frames, flow=flow, **known))
    bare = [{**row, "flow": None, "flow_shape": None} for row in rows[:2]]
    return write_patches({"train": rows, "validation": bare}, tmp_path_factory.mktemp("clips") / "set", features)


COLUMNS = {"cell_type": ["neuron", "glia"], "density": ["sparse"]}


def test_patches_barely_wider_than_a_block_can_be_cropped():
    frames = np.random.default_rng(0).integers(0, 255, (2, 23, 23), np.uint8)  # columns 16 to 22 are no whole block
    transform = ClipTransform(num_frames=2, size=4, any_angle=False)
    for seed in range(20):
        assert transform(frames, None, np.random.default_rng(seed)).shape == (1, 2, 4, 4)


def test_a_data_set_can_be_iterated(folder):
    clips = ClipDataset(load_patches(folder), num_frames=5, size=32, scales=Scales(), length=4)
    videos = [item["video"] for item in clips]
    assert len(videos) == 4 and torch.equal(videos[3], clips[3]["video"])


def test_rows_as_datasets_reads_them_can_be_drawn_from(folder):
    pictures = load_dataset(str(folder), split="train")
    options = {"num_frames": 5, "size": 32, "scales": Scales(), "length": 4}
    ours, theirs = (ClipDataset(rows, **options) for rows in (load_patches(folder), pictures))
    assert torch.equal(ours[2]["video"], theirs[2]["video"])


def test_a_measured_density_cannot_be_balanced(folder):
    options = {"num_frames": 5, "size": 32, "class_columns": COLUMNS, "measure_density": True}
    with pytest.raises(ValueError, match="balance must be another column than density"):
        ClipDataset(load_patches(folder), balance="density", **options)


def test_items_depend_on_seed_and_number_alone(folder):
    rows = load_patches(folder)
    options = {"num_frames": 5, "size": 32, "class_columns": COLUMNS, "scales": Scales(), "length": 50}
    kept, read = ClipDataset(rows, **options), ClipDataset(rows, preload=False, **options)
    assert len(kept) == 50
    for index in (0, 7, 49):
        item = kept[index]
        assert item["video"].shape == (3, 5, 32, 32) and item["video"].dtype == torch.float32
        assert item["class_labels"].shape == (2,) and item["class_labels"].dtype == torch.int64
        torch.testing.assert_close(item["video"], kept[index]["video"], atol=0, rtol=0)
        torch.testing.assert_close(item["video"], read[index]["video"], atol=0, rtol=0)
    assert not torch.equal(kept[0]["video"], ClipDataset(rows, seed=1, **options)[0]["video"])


def test_labels_follow_the_row_and_balance_evens_them(folder):
    options = {"num_frames": 5, "size": 32, "class_columns": COLUMNS, "length": 200, "transform": {"any_angle": False}}
    clips = ClipDataset(load_patches(folder), **options)
    items = [clips[i] for i in range(200)]
    for item in items:
        moves = item["video"][1:].abs().max() > 0
        assert item["class_labels"][0] == (0 if moves else 1)
        assert item["class_labels"][1] in (-1, 0)
    even = ClipDataset(load_patches(folder), balance="cell_type", **options)
    share = np.mean([int(even[i]["class_labels"][0]) for i in range(200)])
    assert abs(np.mean([int(i["class_labels"][0]) for i in items]) - 1 / 3) < 0.12 and abs(share - 1 / 2) < 0.12


def test_balance_holds_where_one_class_has_nearly_empty_rows(tmp_path):
    features = patch_features(["empty", "full"])
    rows = []
    for index in range(12):
        empty = index % 2
        frames = (
            np.full((5, 48, 48), 80, np.uint8) if empty and index > 1 else blobs(5, 48, 48, step=(1, 0), seed=index)
        )
        known = {"recording": f"r{index}", "x": 0, "y": 0, "t0": 0, "frame_stride": 1}
        rows.append(encode_row(features, frames=frames, flow=None, cell_type=("full", "empty")[empty], **known))
    data = load_patches(write_patches({"train": rows}, tmp_path / "set", features))
    options = {
        "num_frames": 5,
        "size": 32,
        "flow": False,
        "length": 200,
        "transform": {"any_angle": False, "attempts": 3},
    }
    clips = ClipDataset(data, class_columns={"cell_type": ["empty", "full"]}, balance="cell_type", **options)
    assert abs(np.mean([int(clips[index]["class_labels"][0]) for index in range(200)]) - 0.5) < 0.1


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([2.0, 2.0, 2.0], 2.0),
        ([1.0, 2.0, 2.0], {"flat": 1.0, "high": 2.0}),
        ([1.0, 2.0, 3.0], None),
        ([1.0, None, None], None),
    ],
)
def test_metadata_are_common_or_of_each_cell_type(tmp_path, sizes, expected):
    features = patch_features(["flat", "high"])
    rows = []
    for index, (cell_type, size) in enumerate(zip(("flat", "high", "high"), sizes, strict=True)):
        known = {"recording": f"r{index}", "x": 0, "y": 0, "t0": 0, "frame_stride": 1, "pixel_size_um": size}
        rows.append(encode_row(features, frames=blobs(6, 48, 48), flow=None, cell_type=cell_type, **known))
    data = load_patches(write_patches({"train": rows}, tmp_path / "set", features))
    options = {"num_frames": 5, "size": 32, "flow": False, "scales": Scales()}
    clips = ClipDataset(data, class_columns={"cell_type": ["flat", "high"]}, **options)
    assert clips.common_value("pixel_size_um") == expected
    assert ClipDataset(data, **options).common_value("pixel_size_um") == (2.0 if expected == 2.0 else None)


def test_each_cell_type_has_its_own_video_scale(tmp_path):
    features = patch_features(["flat", "high"])
    rng, rows = np.random.default_rng(0), []
    for index in range(12):
        high = index % 2
        frames = rng.normal(150 if high else 80, 30 if high else 5, (6, 48, 48)).clip(0, 255).astype(np.uint8)
        known = {"recording": f"r{index}", "x": 0, "y": 0, "t0": 0, "frame_stride": 1}
        flow = np.full((*frames.shape, 2), 0.5, np.float16)
        rows.append(encode_row(features, frames=frames, flow=flow, cell_type=("flat", "high")[high], **known))
    data = load_patches(write_patches({"train": rows}, tmp_path / "set", features))
    options = {"num_frames": 5, "size": 32, "length": 40, "transform": {"any_angle": False}}
    columns = {"cell_type": ["flat", "high"]}
    clips = ClipDataset(data, class_columns=columns, scale_by_cell_type=True, **options)
    for index in range(40):
        item = clips[index]
        assert abs(item["video"][0].mean()) < 0.1 and abs(item["video"][0].std() - 1) < 0.1
        scales = clips.scales_of(item["class_labels"])
        assert scales.flow_scale == clips.scales.flow_scale
        grey = scales.denormalize(item["video"])[0].mean() * 255
        assert abs(grey - (80, 150)[int(item["class_labels"][0])]) < 2
    assert clips.scales_of(torch.tensor([-1])) == clips.scales
    with pytest.raises(ValueError, match="scale_by_cell_type needs class_columns with cell_type"):
        ClipDataset(data, scale_by_cell_type=True, **options)
    known = {"flat": Scales(0.3, 0.05, 0.25, 2.0), "high": Scales(0.6, 0.2, 0.25, 2.0)}
    told = ClipDataset(data, class_columns=columns, scale_by_cell_type=True, scales=known, **options)
    assert all(told.scales_of(torch.tensor([kind])) == known[name] for kind, name in enumerate(columns["cell_type"]))
    assert (told.scales.flow_scale, told.scales.flow_clip) == (0.25, 2.0)
    assert (told[0]["video"][1:] == 0.5 / 0.25).all()


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Twelve rows of one cell type, textured in 0 to 11 of their 36 blocks, and blank elsewhere."""
    features = patch_features(["neuron"])
    rng, rows = np.random.default_rng(0), []
    for index in range(12):
        frames = np.full((6, 6, 8, 6, 8), 100, np.uint8)
        for block in range(index):
            frames[:, block // 6, :, block % 6] = rng.integers(0, 255, (6, 8, 8), dtype=np.uint8)
        known = {"recording": f"r{index}", "x": 0, "y": 0, "t0": 0, "frame_stride": 1, "cell_type": "neuron"}
        rows.append(encode_row(features, frames=frames.reshape(6, 48, 48), flow=None, density="dense", **known))
    return write_patches({"train": rows}, tmp_path_factory.mktemp("crowded") / "set", features)


@pytest.mark.parametrize("columns", [{"density": ["sparse", "moderate", "dense"]}, {"cell_type": ["neuron"]}])
def test_measured_density_ranks_clips_by_their_structure(crowded, columns):
    options = {"num_frames": 6, "size": 48, "flow": False, "transform": PLAIN, "length": 60, "measure_density": True}
    rows = load_patches(crowded)
    if "density" not in columns:
        with pytest.raises(ValueError, match=r"measure_density needs class_columns with density, got \['cell_type'\]"):
            ClipDataset(rows, class_columns=columns, **options)
        return
    columns = {"cell_type": ["neuron"], **columns}
    clips = ClipDataset(rows, class_columns=columns, **options)
    classes, shares = [], []
    for index in range(60):
        item = clips[index]
        video = clips.scales.denormalize(item["video"])[0].numpy()
        classes.append(int(item["class_labels"][1]))
        shares.append(structured_share(video, clips.scales.video_std))
    for lower, upper in ((0, 1), (1, 2)):
        most = max(share for share, each in zip(shares, classes, strict=True) if each == lower)
        assert most < min(share for share, each in zip(shares, classes, strict=True) if each == upper)
    assert min(np.bincount(classes)) > 60 / 3 / 2
    assert clips.class_weights() == {"cell_type": [1.0], "density": pytest.approx([1 / 3] * 3)}


def test_crowding_says_what_it_cannot_rank():
    video = np.zeros((2, 16, 16), np.uint8)
    assert Crowding([(0, video, 1.0)], 2)(1, video, 1.0) == -1
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        Crowding([(0, video, 1.0)], 1)
    with pytest.raises(ValueError, match="clips must hold at least one clip, got none"):
        Crowding([], 2)


def test_the_emptiest_class_holds_the_empty_clips_however_many_they_are():
    rng = np.random.default_rng(0)
    empty = np.zeros((2, 16, 16), np.uint8)
    busy = [rng.integers(0, 255, empty.shape, dtype=np.uint8) for _ in range(10)]
    some = Crowding([(0, empty, 100.0)] * 4 + [(0, each, 100.0) for each in busy], 3)
    assert some(0, empty, 100.0) == 0
    most = Crowding([(0, empty, 100.0)] * 30 + [(0, each, 100.0) for each in busy], 3)
    assert most(0, empty, 100.0) == 0 and most(0, busy[0], 100.0) == 2
    assert most.occurs.tolist() == [True, False, True]


def test_stream_refuses_rows_that_are_too_small(folder):
    rows = load_patches(folder, streaming=True)
    for options, message in (
        ({"num_frames": 99, "size": 32}, "num_frames must be at most the rows'"),
        ({"num_frames": 5, "size": 99}, "size must be at most the patches'"),
    ):
        stream = ClipStream(rows, scales=Scales(), transform=ClipTransform(**options))
        with pytest.raises(ValueError, match=message):
            next(iter(stream))


def test_stream_draws_from_each_row(folder):
    rows = load_patches(folder, streaming=True)
    stream = ClipStream(
        rows, scales=Scales(), transform=ClipTransform(num_frames=5, size=32), class_columns=COLUMNS, clips_per_row=2
    )
    first, second = list(stream), list(stream)
    assert len(first) == 24 and first[0]["video"].shape == (3, 5, 32, 32)
    assert [int(item["class_labels"][0]) for item in first] == [0] * 16 + [1] * 8
    assert all(torch.equal(a["video"], b["video"]) for a, b in zip(first, second, strict=True))
    stream.set_epoch(1)
    third = list(stream)
    assert [int(item["class_labels"][0]) for item in third] == [0] * 16 + [1] * 8
    assert not any(torch.equal(a["video"], b["video"]) for a, b in zip(first[:16], third[:16], strict=True))


def test_loader_workers_give_the_same_batches(folder):
    clips = ClipDataset(load_patches(folder), num_frames=5, size=32, scales=Scales(), length=8)
    here = list(torch.utils.data.DataLoader(clips, batch_size=4))
    there = list(torch.utils.data.DataLoader(clips, batch_size=4, num_workers=1))
    assert all(torch.equal(a["video"], b["video"]) for a, b in zip(here, there, strict=True))


def test_video_alone_and_the_papers_scaling(folder):
    bare = load_patches(folder, "validation")
    clip = ClipDataset(bare, num_frames=5, size=32, flow=False, normalization="paper")[0]["video"]
    assert clip.shape == (1, 5, 32, 32) and clip.min() == -1 and clip.max() == 1
    with pytest.raises(ValueError, match="rows must hold flow for clips with motion, got none"):
        ClipDataset(bare, num_frames=5, size=32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 13}, "num_frames must be at most the rows' 12, got 13"),
        ({"size": 49}, "size must be at most the patches' 48, got 49"),
        ({"normalization": "z"}, "normalization must be 'fixed' or 'paper', got z"),
        ({"balance": "density"}, "balance must be one of class_columns"),
    ],
)
def test_options_that_do_not_fit_the_rows(folder, options, message):
    with pytest.raises(ValueError, match=message):
        ClipDataset(load_patches(folder), **{"num_frames": 5, "size": 32, **options})


def test_no_row_may_be_shorter_than_a_clip(tmp_path):
    features = patch_features(["neuron"])
    rows = [
        encode_row(features, frames=np.zeros((length, 32, 32), np.uint8), recording="dish") for length in (12, 12, 5)
    ]
    patches = load_patches(write_patches({"train": rows}, tmp_path / "set", features))
    with pytest.raises(ValueError, match="num_frames must be at most row 2's 5, got 10"):
        ClipDataset(patches, num_frames=10, size=32, flow=False)


def test_a_row_of_an_unknown_class_is_no_class_that_is_balanced(tmp_path):
    features = patch_features(["a", "b"])
    kinds = ["a"] * 10 + ["b"] * 10 + [None]
    frames = blobs(4, 24, 24)
    rows = [encode_row(features, frames=frames, recording=str(i), cell_type=kind) for i, kind in enumerate(kinds)]
    data = load_patches(write_patches({"train": rows}, tmp_path / "p", features))
    options = {"num_frames": 3, "size": 16, "flow": False, "class_columns": {"cell_type": ["a", "b"]}}
    clips = ClipDataset(data, balance="cell_type", **options)
    labels = [int(clips[i]["class_labels"][0]) for i in range(200)]
    assert -1 not in labels and 60 < sum(labels) < 140
    with pytest.raises(ValueError, match="rows must have the label column density, got"):
        ClipDataset(data.remove_columns("density"), **options | {"class_columns": {"density": ["dense"]}})
    assert ClipDataset(data.remove_columns("pixel_size_um"), **options).common_value("pixel_size_um") is None
