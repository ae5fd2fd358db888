import cv2
import numpy as np
import pytest
import tifffile

from cellvid_diffusers.evaluation.segment import drop_unsure, see_cells, segment_cells, typical_width
from cellvid_diffusers.evaluation.segmentation_network import WEIGHTS, load_network, predict, standardize
from cellvid_diffusers.evaluation.segmentation_scores import foreground_dice, instance_f1

TEST_FRAMES = (*(f"train_set{k}" for k in (3, 13, 23, 33, 43)), "val_set47", "val_set49")
"""`training/train_segmentation.py` learns from none of them; thresholds were chosen on others, too."""


@pytest.mark.parametrize(
    ("video", "rule"),
    [
        (np.zeros((0, 32, 32)), "none of them 0"),
        (np.zeros((32, 32)), "frames, height, width"),
        (np.zeros((2, 8, 32)), "at least 16 x 16"),
        (np.full((2, 32, 32), np.nan), "NaN or infinity in frame 0"),
        (np.full((2, 32, 32), 2.0), "lie in"),
        (np.zeros((2, 32, 32), np.int64), "uint8 or float"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(video, rule):
    with pytest.raises(ValueError, match=rule) as error:
        segment_cells(video)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [0, -1.0, np.nan])
def test_a_pixel_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match="pixel_size_um must be positive, got"):
        segment_cells(np.zeros((2, 32, 32), np.uint8), pixel_size_um=size)


@pytest.mark.parametrize("noise", [0, 1, 4])
def test_frames_without_cells_have_no_labels(noise):
    rng = np.random.default_rng(0)
    video = np.clip(110 + noise * rng.normal(size=(3, 64, 64)), 0, 255).astype(np.uint8)
    assert not segment_cells(video).any()


def test_bytes_and_floats_agree_and_contrast_does_not_matter(make_clips):
    video = make_clips(1, seed=3, size=64)[0][:2]
    labels = segment_cells(video)
    assert np.array_equal(labels, segment_cells(video / 255.0))
    z = standardize(video / 255)
    assert np.allclose(z, standardize(0.2 + 0.5 * (video / 255)), atol=1e-4)


def test_glare_at_an_edge_does_not_make_the_rest_faint(make_clips):
    video = make_clips(1, seed=3, size=96)[0][:2] / 255
    glaring = video.copy()
    glaring[:, :9] = np.where(np.arange(9)[:, None] % 2, 1, 0)
    assert standardize(glaring)[:, 12:].std() > 1.5 * (glaring[:, 12:] / glaring.std()).std()


def test_wide_cells_are_also_seen_from_farther_away():
    y, x = np.mgrid[:64, :64]
    for radius, width in ((12, 16), (25, 33.3)):  # four times a third of the radius
        assert typical_width((np.hypot(y - 32, x - 32) < radius)[None]) == pytest.approx(width, rel=0.15)
    assert typical_width(np.zeros((2, 64, 64), bool)) == 0
    video = np.random.default_rng(0).random((2, 37, 61), np.float32)
    assert see_cells(video, narrow=0).shape == (2, 3, 37, 61)


class TestWhatTheNetworkIsNotSureOf:
    @staticmethod
    def squares(*places):
        """A frame of squares of 8 px at columns, each with its mean foreground: labels and foreground."""
        labels, foreground = np.zeros((16, 64), np.int32), np.zeros((16, 64))
        for number, (column, sure) in enumerate(places, start=1):
            labels[4:12, column : column + 8] = number
            foreground[4:12, column : column + 8] = sure
        return labels, foreground

    def dropped(self, *frames, **options):
        labels, foreground = zip(*(self.squares(*frame) for frame in frames), strict=True)
        return drop_unsure(np.stack(labels), np.stack(foreground), **options)

    def test_is_no_cell(self):
        found = self.dropped([(10, 0.65), (40, 0.95)], confidence=0.8)
        assert found.dtype == np.int32 and found.max() == 1
        assert found[0, 8, 44] == 1 and found[0, 8, 14] == 0
        assert self.dropped([(10, 0.65), (40, 0.95)], confidence=0.6).max() == 2

    def test_is_a_cell_where_it_was_one_before_or_will_be(self):
        frames = [[(10, 0.6)], [(12, 0.6)], [(13, 0.9)], [(14, 0.6)]]
        assert [frame.max() for frame in self.dropped(*frames, confidence=0.8)] == [1, 1, 1, 1]

    def test_is_none_where_the_sure_one_has_gone_elsewhere(self):
        frames = [[(10, 0.9)], [(15, 0.6)], []]
        assert [frame.max() for frame in self.dropped(*frames, confidence=0.8)] == [1, 0, 0]
        assert self.dropped(*frames, confidence=0.8, share=0.3)[1].max() == 1

    def test_neighbours_do_not_vouch_for_each_other(self):
        found = self.dropped([(10, 0.9), (40, 0.6)], [(10, 0.9), (40, 0.6)], confidence=0.8)
        assert (found[:, 8, 14] == 1).all() and not found[:, :, 30:].any()


def test_any_size_of_frame_keeps_its_size():
    video = np.random.default_rng(0).random((2, 37, 61), np.float32)
    assert segment_cells(video).shape == video.shape
    assert segment_cells(video, pixel_size_um=0.3).shape == video.shape
    assert predict(video).shape == (2, 3, 37, 61)


def test_weights_are_small_and_complete():
    assert WEIGHTS.stat().st_size < 5 * 2**20
    assert all(np.isfinite(value.numpy()).all() for value in load_network().state_dict().values())


@pytest.fixture(scope="module", params=[1.0, 0.5])
def annotated_scores(request, shared_data):
    """Mean foreground Dice and instance F1 of the hand-annotated frames kept for testing, at full and half scale."""
    scores = []
    for name in TEST_FRAMES:
        frame, truth = (tifffile.imread(shared_data / f"usiigaci_annotated/{name}{end}.tif") for end in ("", "_masks"))
        size = round(frame.shape[1] * request.param), round(frame.shape[0] * request.param)
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        truth = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(int)
        found = segment_cells(frame[None])[0]
        scores.append((foreground_dice(found, truth), instance_f1(found, truth)))
    return dict(zip(("dice", "f1"), np.mean(scores, axis=0), strict=True)) | {"scale": request.param}


@pytest.mark.slow
def test_cells_of_hand_annotated_frames_that_were_not_used_for_tuning(annotated_scores):
    assert annotated_scores["f1"] >= 0.7
    assert annotated_scores["dice"] >= (0.85 if annotated_scores["scale"] == 1 else 0.82)


@pytest.mark.slow
def test_astrocytomas_of_the_cell_tracking_challenge(shared_data):
    frame, truth = (
        tifffile.imread(shared_data / f"u373/u373_train01_aspect_restored{end}.tif")[45] for end in ("", "_masks")
    )
    assert foreground_dice(segment_cells(frame[None])[0], truth) > 0.8


def test_scores_of_known_overlaps():
    truth = np.zeros((20, 40), int)
    truth[2:12, 2:12], truth[2:12, 20:30] = 5, 9
    assert (foreground_dice(truth, truth), instance_f1(truth, truth)) == (1, 1)
    shifted = np.roll(truth, 5, axis=1)  # overlap over union 1 / 3
    assert (foreground_dice(shifted, truth), instance_f1(shifted, truth)) == (0.5, 0)
    merged = np.where(truth, 1, 0)
    assert (foreground_dice(merged, truth), instance_f1(merged, truth)) == (1, 0)
    assert instance_f1(np.where(truth == 5, 1, 0), truth) == pytest.approx(2 / 3)
    assert (foreground_dice(0 * truth, 0 * truth), instance_f1(0 * truth, 0 * truth)) == (1, 1)
