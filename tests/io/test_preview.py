import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from cellvid_diffusers.io import contact_sheet, write_gif, write_mp4

GREY = np.random.default_rng(0).integers(0, 256, (4, 20, 31), np.uint8)
COLOUR = np.broadcast_to(np.array([200, 40, 90], np.uint8), (3, 20, 31, 3))


def gif_frames(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)])


def test_a_gif_keeps_grey_values_exactly(tmp_path):
    write_gif(tmp_path / "clip.gif", GREY, fps=10, scale=2)
    frames = gif_frames(tmp_path / "clip.gif")
    np.testing.assert_array_equal(frames, GREY.repeat(2, 1).repeat(2, 2)[..., None].repeat(3, -1))
    with Image.open(tmp_path / "clip.gif") as image:
        assert image.info["duration"] == 100 and image.info["loop"] == 0


def test_small_clips_are_enlarged_by_a_whole_factor(tmp_path):
    write_gif(tmp_path / "clip.gif", GREY)
    assert gif_frames(tmp_path / "clip.gif").shape[1:3] == (20 * 9, 31 * 9)


def test_a_gif_of_colour(tmp_path):
    write_gif(tmp_path / "clip.gif", COLOUR, scale=1)
    np.testing.assert_array_equal(gif_frames(tmp_path / "clip.gif")[0], COLOUR[0])


@pytest.mark.parametrize("video", [GREY, COLOUR, GREY.astype(np.float32) / 255])
def test_an_mp4_plays_in_every_player(tmp_path, video):
    write_mp4(tmp_path / "clip.mp4", video, fps=7, scale=3)
    with av.open(tmp_path / "clip.mp4") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == pytest.approx(7)
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert frames.shape == (len(video), 60, 94, 3)  # 93 columns and one repeated
    pixels = GREY[..., None] if video is not COLOUR else COLOUR
    enlarged = pixels.repeat(3, 1).repeat(3, 2).astype(int)
    assert np.abs(frames[:, :, :93].astype(int) - enlarged).mean() < 12


@pytest.mark.parametrize(
    ("write", "options", "rule"),
    [
        (write_gif, {"fps": 0}, "fps must lie in"),
        (write_gif, {"fps": 51}, "fps must lie in"),
        (write_mp4, {"fps": -1}, "fps must be above 0"),
        (write_mp4, {"scale": 0}, "scale must be at least 1"),
    ],
)
def test_bad_options_are_told(tmp_path, write, options, rule):
    with pytest.raises(ValueError, match=rule):
        write(tmp_path / "clip", GREY, **options)
    assert not any(tmp_path.iterdir())


def test_contact_sheet_has_room_for_its_labels():
    clip = np.zeros((1, 2, 16, 16), np.uint8)
    plain, long = (contact_sheet(clip, labels=[label]) for label in ("clip 0", "a name of many words\nshort"))
    assert long.shape[1] > plain.shape[1]
    assert (long[:, :4] == long[0, 0]).all()  # nothing is cut at the edge


def test_contact_sheet_shows_every_frame_and_its_motion(tmp_path):
    flow = np.zeros((3, 20, 32, 2), np.float32)
    flow[..., 0] = 2.0
    videos = [GREY[:, :, :31], GREY[::-1, :, :31]]
    flows = [flow[:, :, :31], -flow[:, :, :31]]
    sheet = contact_sheet(videos, flows, path=tmp_path / "sheet.png", labels=["seed 0", "seed 1"], scale=2)
    assert sheet.dtype == np.uint8 and sheet.shape[-1] == 3
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), sheet)
    for video in videos:
        for frame in video:
            enlarged = frame.repeat(2, 0).repeat(2, 1)
            windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], enlarged.shape[1], axis=1)
            assert (windows == enlarged[0]).all(-1).any(), "a frame is missing from the sheet"
    assert sheet.shape[0] > contact_sheet(videos, scale=2).shape[0]


def test_contact_sheet_of_a_long_clip_has_ten_columns():
    long = np.zeros((120, 16, 16), np.uint8)
    assert contact_sheet([long]).shape == contact_sheet([long[:10]]).shape


@pytest.mark.parametrize(
    ("videos", "options", "rule"),
    [
        ([], {}, "at least one"),
        ([GREY, GREY[:2]], {}, "of one shape"),
        ([GREY], {"labels": ["a", "b"]}, "labels must be one for each of the 1 clips"),
        ([GREY], {"flows": [np.zeros((2, 20, 31, 2))]}, "flow must be"),
    ],
)
def test_clips_that_do_not_fit_are_refused(videos, options, rule):
    with pytest.raises(ValueError, match=rule):
        contact_sheet(videos, **options)
