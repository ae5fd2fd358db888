import av
import cv2
import numpy as np
import pytest
import tifffile
from moving_blobs import blobs

from cellvid_diffusers.data import read_recording
from cellvid_diffusers.data.readers import read_masks
from cellvid_diffusers.data.sources import video

VIDEO = blobs(5, 32, 40)


def write_video(path, video, codec="ffv1", pix_fmt="gray", options=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=5, options=options)
        stream.height, stream.width, stream.pix_fmt = video.shape[1], video.shape[2], pix_fmt
        for frame in video:
            grey = "gray16le" if frame.dtype == np.uint16 else "gray"
            picture = av.VideoFrame.from_ndarray(frame, format=grey if frame.ndim == 2 else "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_is_read_lazily_and_exactly(tmp_path, compression, dtype, byteorder):
    stack = VIDEO.astype(dtype) * (257 if dtype == np.uint16 else 1)
    tifffile.imwrite(tmp_path / "r.tif", stack, compression=compression, byteorder=byteorder, photometric="minisblack")
    recording = read_recording(tmp_path / "r.tif")
    assert recording.frames.shape == VIDEO.shape and recording.frames.dtype == dtype
    np.testing.assert_array_equal(recording.frames[1:4], stack[1:4])
    np.testing.assert_array_equal(recording.frames[-1], stack[-1])
    assert recording.pixel_size_um is None and recording.frame_interval_min is None


def test_eight_bits_are_kept_and_sixteen_scaled_by_percentiles(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VIDEO)
    np.testing.assert_array_equal(read_recording(tmp_path / "a.tif").read([0, 2]), VIDEO[[0, 2]])
    deep = VIDEO.astype(np.uint16) * 50 + 1000
    deep[0, 0, 0] = 65535  # a hot pixel
    tifffile.imwrite(tmp_path / "b.tif", deep)
    low, high = np.percentile(deep, (0.1, 99.9))
    expected = np.clip(np.rint((deep - low) * (255 / (high - low))), 0, 255)
    assert np.abs(read_recording(tmp_path / "b.tif").read(slice(None)).astype(float) - expected).max() <= 1


def test_metadata_of_ome_tiff_and_imagej(tmp_path):
    ome = {
        "axes": "TYX",
        "PhysicalSizeX": 650,
        "PhysicalSizeXUnit": "nm",
        "TimeIncrement": 15,
        "TimeIncrementUnit": "min",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", VIDEO, metadata=ome)
    imagej = {"axes": "TYX", "unit": "um", "finterval": 90.0}
    tifffile.imwrite(tmp_path / "b.tif", VIDEO, imagej=True, resolution=(2.0, 2.0), metadata=imagej)
    a, b = read_recording(tmp_path / "a.ome.tif", downscale=2), read_recording(tmp_path / "b.tif")
    assert (a.name, a.pixel_size_um, a.frame_interval_min) == ("a", 1.3, 15)
    assert (b.name, b.pixel_size_um, b.frame_interval_min) == ("b", 0.5, 1.5)


@pytest.mark.parametrize(("unit", "minutes"), [("minutes", 5), ("hr", 300), ("msec", 5 / 60_000), ("Sec", 5 / 60)])
def test_imagej_writes_units_of_time_as_it_pleases(tmp_path, unit, minutes):
    about = {"axes": "TYX", "finterval": 5.0, "tunit": unit}
    tifffile.imwrite(tmp_path / "a.tif", VIDEO, imagej=True, metadata=about)
    assert read_recording(tmp_path / "a.tif").frame_interval_min == pytest.approx(minutes, abs=1e-6)


def test_pixels_that_are_not_square_are_refused(tmp_path):
    sides = {"PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 1.3, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", VIDEO, metadata={"axes": "TYX", **sides})
    imagej = {"axes": "TYX", "unit": "um"}
    tifffile.imwrite(tmp_path / "b.tif", VIDEO, imagej=True, resolution=(1 / 0.65, 1 / 1.3), metadata=imagej)
    for name in ("a.ome.tif", "b.tif"):
        with pytest.raises(ValueError, match=r"pixels must be square, got 0.65 x 1.3 um"):
            read_recording(tmp_path / name)
    sides |= {"PhysicalSizeY": 650, "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(tmp_path / "c.ome.tif", VIDEO, metadata={"axes": "TYX", **sides})
    assert read_recording(tmp_path / "c.ome.tif").pixel_size_um == 0.65


def test_interval_from_the_times_of_the_planes(tmp_path):
    times = {"DeltaT": [0, 900, 1800, 2710, 3600], "DeltaTUnit": ["s"] * 5}
    tifffile.imwrite(tmp_path / "a.ome.tif", VIDEO, metadata={"axes": "TYX", "Plane": times})
    assert read_recording(tmp_path / "a.ome.tif").frame_interval_min == 15


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("numbered", [False, True])
def test_white_is_white_where_zero_stands_for_it(tmp_path, dtype, numbered):
    stack = VIDEO.astype(dtype)
    stored = np.iinfo(dtype).max - stack if dtype != np.float32 else -stack
    options = {"photometric": "miniswhite", "metadata": None}
    if numbered:
        for number, frame in enumerate(stored):
            tifffile.imwrite(tmp_path / f"t{number}.tif", frame, **options)
    else:
        tifffile.imwrite(tmp_path / "r.tif", stored, **options)
    np.testing.assert_array_equal(read_recording(tmp_path if numbered else tmp_path / "r.tif").frames[:], stack)


@pytest.mark.parametrize("falling", [False, True])
def test_a_palette_of_greys_is_applied_where_it_turns_them_round(tmp_path, falling):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[:: -1 if falling else 1]
    options = {"photometric": "palette", "colormap": np.stack([ramp] * 3), "metadata": None}
    tifffile.imwrite(tmp_path / "r.tif", VIDEO, **options)
    np.testing.assert_array_equal(read_recording(tmp_path / "r.tif").frames[:], 255 - VIDEO if falling else VIDEO)


def test_numbered_pictures_know_their_scale_and_leave_out_what_a_mac_adds(tmp_path):
    for number, frame in enumerate(VIDEO):
        metadata = {"axes": "YX", "unit": "um"}
        path = tmp_path / f"t{number}.tif"
        tifffile.imwrite(path, frame, imagej=True, resolution=(2.0, 2.0), metadata=metadata)
        (tmp_path / f"._t{number}.tif").write_bytes(b"what a Mac leaves on a stick")
    recording = read_recording(tmp_path)
    np.testing.assert_array_equal(recording.frames[:], VIDEO)
    assert recording.pixel_size_um == 0.5


def test_numbered_pictures_may_hold_a_second_series(tmp_path):
    for number, frame in enumerate(VIDEO):
        with tifffile.TiffWriter(tmp_path / f"t{number}.ome.tif", ome=True) as file:
            file.write(frame, metadata={"axes": "YX"})
            file.write(255 - frame, metadata={"axes": "YX"})
    np.testing.assert_array_equal(read_recording(tmp_path).frames[:], VIDEO)


def test_an_unknown_unit_of_time_is_no_second(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VIDEO, imagej=True, metadata={"axes": "TYX", "finterval": 5, "tunit": "week"})
    assert read_recording(tmp_path / "a.tif").frame_interval_min is None


def test_positions_of_one_file_are_not_dropped(tmp_path):
    with tifffile.TiffWriter(tmp_path / "positions.ome.tif", ome=True) as file:
        for _ in range(3):
            file.write(VIDEO, metadata={"axes": "TYX"})
    one_line(lambda: read_recording(tmp_path / "positions.ome.tif"), "positions.ome.tif: file must hold one recording")
    with tifffile.TiffWriter(tmp_path / "thumbnail.ome.tif", ome=True) as file:
        file.write(VIDEO, metadata={"axes": "TYX"})
        file.write(VIDEO[0, ::4, ::4], metadata={"axes": "YX"})
    assert len(read_recording(tmp_path / "thumbnail.ome.tif").frames) == len(VIDEO)


def test_a_plain_tiff_resolution_is_not_a_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VIDEO, resolution=(72, 72), resolutionunit="INCH")
    assert read_recording(tmp_path / "a.tif").pixel_size_um is None


def test_hyperstack_channel_and_depth(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (3, 4, 2, 16, 20), np.uint8)
    tifffile.imwrite(tmp_path / "h.tif", stack, imagej=True, metadata={"axes": "TZCYX"})
    np.testing.assert_array_equal(read_recording(tmp_path / "h.tif", channel=1, z=2).frames[:], stack[:, 2, 1])
    np.testing.assert_array_equal(
        read_recording(tmp_path / "h.tif", channel=0, z="max").frames[:], stack[:, :, 0].max(1)
    )
    mean = read_recording(tmp_path / "h.tif", channel=0, z="mean")
    assert mean.intensity_range == (0, 255)  # as of any 8-bit file
    np.testing.assert_array_equal(mean.read(slice(None)), np.rint(stack[:, :, 0].mean(1)))
    with pytest.raises(ValueError, match=r"^h.tif: channel must be chosen from 0..1"):
        read_recording(tmp_path / "h.tif", z=0)
    with pytest.raises(ValueError, match=r"^h.tif: z must be chosen from 0..3"):
        read_recording(tmp_path / "h.tif", channel=0)


def test_slices_without_time_are_time(tmp_path):
    tifffile.imwrite(tmp_path / "z.tif", VIDEO, imagej=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_recording(tmp_path / "z.tif").frames[:], VIDEO)


def test_region_and_area_mean(tmp_path):
    tifffile.imwrite(tmp_path / "r.tif", VIDEO)
    frames = read_recording(tmp_path / "r.tif", region=(4, 25, 6, 30), downscale=2).frames
    mean = VIDEO[:, 4:24, 6:30].reshape(5, 10, 2, 12, 2).mean((2, 4))
    assert frames.shape == (5, 10, 12)
    assert np.abs(frames[:] - mean).max() <= 0.5


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [("v.avi", "ffv1", "gray"), ("v.mp4", "mpeg4", "yuv420p")])
def test_video(tmp_path, name, codec, pix_fmt):
    write_video(tmp_path / name, VIDEO, codec, pix_fmt)
    recording = read_recording(tmp_path / name)
    assert recording.frames.shape == VIDEO.shape and recording.pixel_size_um is None
    tolerance = 0 if codec == "ffv1" else 40
    assert np.abs(recording.frames[3].astype(int) - VIDEO[3]).max() <= tolerance
    assert np.abs(recording.frames[1].astype(int) - VIDEO[1]).max() <= tolerance


def test_grey_video_keeps_more_than_eight_bits(tmp_path):
    stack = 64 * np.random.default_rng(0).integers(0, 1024, (5, 32, 40), np.uint16)
    for kind in ("gray16le", "gray10le"):
        write_video(tmp_path / f"{kind}.mkv", stack, "ffv1", kind)
        frames = read_recording(tmp_path / f"{kind}.mkv").frames
        assert frames.dtype == np.uint16
        assert np.abs(frames[:].astype(int) - stack).max() <= (0 if kind == "gray16le" else 64)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("v.avi", "ffv1", {}),
        ("v.avi", "mpeg4", {"g": "6"}),
        ("v.mp4", "mpeg4", {"g": "6", "bf": "2"}),
        ("v.mp4", "libx264", {"g": "6", "bf": "2"}),
        ("v.mkv", "libx264", {"g": "250"}),
        ("v.mov", "mpeg4", {"g": "6"}),
    ],
)
def test_frames_of_a_video_in_any_order(tmp_path, name, codec, options):
    video = blobs(40, seed=3)
    write_video(tmp_path / name, video, codec, "gray" if codec == "ffv1" else "yuv420p", options)
    with av.open(str(tmp_path / name)) as container:
        expected = [frame.to_ndarray(format="rgb24")[..., 1] for frame in container.decode(video=0)]
    assert len(expected) == len(read_recording(tmp_path / name).frames) == 40
    for order in ([39, 0, 17, 17, 18, 5, 6, 30, 8], range(0, 40, 3)):
        frames = read_recording(tmp_path / name).frames
        for t in order:
            np.testing.assert_array_equal(frames[t], expected[t], err_msg=f"frame {t}")


def test_a_late_frame_of_a_video_is_not_decoded_from_the_beginning(tmp_path, monkeypatch):
    write_video(tmp_path / "v.mp4", blobs(60, seed=3), "mpeg4", "yuv420p", {"g": "6"})
    decoded = []

    class Counting(video._VideoFrames):
        def _seek(self, key):
            super()._seek(key)
            self._decoder = (decoded.append(0) or frame for frame in self._decoder)

    monkeypatch.setattr(video, "_VideoFrames", Counting)
    frames = read_recording(tmp_path / "v.mp4").frames
    decoded.clear()
    frames[50:56]
    assert 0 < len(decoded) <= 12


def test_numbered_pictures(tmp_path):
    for folder, suffix in (("tif", "tif"), ("png", "png")):
        (tmp_path / folder).mkdir()
        for t in range(12):  # t10 after t9
            picture = VIDEO[t % 5]
            path = tmp_path / folder / f"t{t}.{suffix}"
            tifffile.imwrite(path, picture) if suffix == "tif" else cv2.imwrite(str(path), picture)
        frames = read_recording(tmp_path / folder).frames
        assert frames.shape == (12, 32, 40)
        np.testing.assert_array_equal(frames[10], VIDEO[0])
    (tmp_path / "tif" / "t4.tif").unlink()
    with pytest.raises(ValueError, match="number 4 is missing"):
        read_recording(tmp_path / "tif")


@pytest.mark.slow
def test_ome_zarr(tmp_path):
    pytest.importorskip("bioio_ome_zarr")
    from bioio_ome_zarr.writers import OMEZarrWriter

    stack = np.random.default_rng(0).integers(0, 60000, (3, 2, 1, 24, 32), np.uint16)
    writer = OMEZarrWriter(
        str(tmp_path / "r.zarr"),
        level_shapes=[stack.shape],
        dtype=stack.dtype,
        zarr_format=2,
        physical_pixel_size=[90.0, 1.0, 1.0, 0.5, 0.5],
        axes_units=["second", None, "micrometer", "micrometer", "micrometer"],
    )
    writer.write_full_volume(stack)
    recording = read_recording(tmp_path / "r.zarr", channel=1)
    np.testing.assert_array_equal(recording.frames[:], stack[:, 1, 0])
    assert (recording.pixel_size_um, recording.frame_interval_min) == (0.5, 1.5)


def one_line(call, *match):
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300, message
    for part in match:
        assert part in message


def test_bad_files_get_one_line(tmp_path):
    one_line(lambda: read_recording(tmp_path / "none.tif"), "none.tif", "must exist")
    (tmp_path / "notes.txt").write_text("x")
    one_line(lambda: read_recording(tmp_path / "notes.txt"), "notes.txt: recording must be a folder or one of")
    (tmp_path / "noise.tif").write_bytes(b"nothing of a TIFF")
    one_line(lambda: read_recording(tmp_path / "noise.tif"), "noise.tif: ")
    (tmp_path / "empty.mp4").write_bytes(b"")
    one_line(lambda: read_recording(tmp_path / "empty.mp4"), "empty.mp4: ")
    (tmp_path / "folder").mkdir()
    one_line(lambda: read_recording(tmp_path / "folder"), "folder: recording must hold at least one frame, got none")
    tifffile.imwrite(tmp_path / "odd.tif", np.zeros((2, 3, 4, 8, 8), np.uint8), metadata={"axes": "TQAYX"})
    one_line(lambda: read_recording(tmp_path / "odd.tif"), "odd.tif: ", "axes")
    nan = VIDEO.astype(np.float32)
    nan[0, 3, 3] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", nan)
    one_line(lambda: read_recording(tmp_path / "nan.tif"), "nan.tif: pixels must be finite")
    one_line(lambda: read_recording(tmp_path / "nan.tif", downscale=0), "downscale must be at least 1, got 0")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_truncated_file(tmp_path, compression):
    tifffile.imwrite(tmp_path / "t.tif", VIDEO, compression=compression)
    whole = (tmp_path / "t.tif").read_bytes()
    (tmp_path / "t.tif").write_bytes(whole[: len(whole) // 2])
    one_line(lambda: read_recording(tmp_path / "t.tif").frames[:], "t.tif: ", "truncated")


def test_colour(tmp_path):
    grey = np.repeat(VIDEO[..., None], 3, axis=-1)
    tifffile.imwrite(tmp_path / "grey.tif", grey, photometric="rgb")
    np.testing.assert_array_equal(read_recording(tmp_path / "grey.tif").frames[:], VIDEO)
    colour = grey.copy()
    colour[..., 0] = 255 - colour[..., 0] // 2
    tifffile.imwrite(tmp_path / "colour.tif", colour, photometric="rgb")
    one_line(lambda: read_recording(tmp_path / "colour.tif"), "colour.tif: frames must be grey", "choose a channel")
    np.testing.assert_array_equal(read_recording(tmp_path / "colour.tif", channel=2).frames[:], VIDEO)


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint16, 16), (np.uint16, 257), (np.float32, 1 / 255)])
def test_colour_is_told_by_the_range_of_the_picture(tmp_path, dtype, scale):
    """12 and 16 bits, and floats of 0..1."""
    noise = np.random.default_rng(0).normal(0, 2, (*VIDEO.shape, 3))
    grey = VIDEO[..., None] + noise
    colour = grey.copy()
    colour[..., 0] = 255 - colour[..., 0]
    colour[0, 0, 0] = 65535 / scale  # a hot pixel
    for name, picture in (("grey", grey), ("flat", noise + 50), ("dark", noise.clip(0)), ("colour", colour)):
        tifffile.imwrite(tmp_path / f"{name}.tif", (picture * scale).astype(dtype), photometric="rgb")
    for name in ("grey", "flat", "dark"):
        assert read_recording(tmp_path / f"{name}.tif").frames[:].shape == VIDEO.shape
    one_line(lambda: read_recording(tmp_path / "colour.tif"), "colour.tif: frames must be grey", "choose a channel")


RGB = np.random.default_rng(0).integers(0, 255, (3, 16, 20, 3), np.uint8)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("frames", [1, 3])
def test_colours_apart_are_channels_and_not_frames(tmp_path, compression, frames):
    apart = np.moveaxis(RGB[:frames], -1, 1)
    stack = apart[0] if frames == 1 else apart
    tifffile.imwrite(tmp_path / "p.tif", stack, photometric="rgb", planarconfig="separate", compression=compression)
    for channel in range(3):
        recording = read_recording(tmp_path / "p.tif", channel=channel)
        np.testing.assert_array_equal(recording.frames[:], RGB[:frames, ..., channel])


@pytest.mark.parametrize("kind", ["rgb.tif", "planar.tif", "rgb.png", "alpha.png"])
def test_numbered_colour_pictures_are_red_green_and_blue(tmp_path, kind):
    for t, picture in enumerate(RGB):
        path = tmp_path / f"{t}_{kind[-4:]}"
        if kind == "rgb.tif":
            tifffile.imwrite(path, picture, photometric="rgb")
        elif kind == "planar.tif":
            tifffile.imwrite(path, np.moveaxis(picture, -1, 0), photometric="rgb", planarconfig="separate")
        elif kind == "rgb.png":
            cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        else:
            opaque = np.dstack((picture, np.full(picture.shape[:2], 255, np.uint8)))
            cv2.imwrite(str(path), cv2.cvtColor(opaque, cv2.COLOR_RGBA2BGRA))
    for channel in range(3):
        np.testing.assert_array_equal(read_recording(tmp_path, channel=channel).frames[:], RGB[..., channel])
    last = 3 if kind == "alpha.png" else 2
    with pytest.raises(ValueError, match=f"channel must lie in 0..{last}, got {last + 1}$"):
        read_recording(tmp_path, channel=last + 1)


def test_a_channel_that_a_colour_file_lacks(tmp_path):
    tifffile.imwrite(tmp_path / "c.tif", RGB, photometric="rgb")
    write_video(tmp_path / "v.avi", RGB, pix_fmt="bgr0")
    for name in ("c.tif", "v.avi"):
        message = f"{name}: channel must lie in 0..2, got 3"
        one_line(lambda name=name: read_recording(tmp_path / name, channel=3), message)


def test_colours_beside_channels_are_not_guessed(tmp_path):
    tifffile.imwrite(tmp_path / "c.tif", np.stack((RGB, RGB), 1), photometric="rgb", metadata={"axes": "TCYXS"})
    one_line(lambda: read_recording(tmp_path / "c.tif", channel=0), "c.tif: axes must be among", "got TCYXS")


def test_compressed_by_opencv(tmp_path):
    cv2.imwritemulti(str(tmp_path / "a.tif"), list(VIDEO))  # LZW
    np.testing.assert_array_equal(read_recording(tmp_path / "a.tif").frames[:], VIDEO)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_written_frame_by_frame(tmp_path, compression):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for frame in VIDEO:
            file.write(frame, compression=compression)
    np.testing.assert_array_equal(read_recording(tmp_path / "a.tif").frames[:], VIDEO)


def test_numbered_pictures_with_an_axis_of_one(tmp_path):
    for t, frame in enumerate(VIDEO):
        tifffile.imwrite(tmp_path / f"t{t}.tif", frame[None], metadata={"axes": "ZYX"}, photometric="minisblack")
    np.testing.assert_array_equal(read_recording(tmp_path).frames[:], VIDEO)


@pytest.mark.parametrize("planes", [3, 5])
def test_numbered_pictures_hold_one_plane_each(tmp_path, planes):
    for t in range(2):
        tifffile.imwrite(tmp_path / f"t{t}.tif", np.zeros((planes, 16, 20), np.uint8), photometric="minisblack")
    message = f"numbered pictures must hold one plane each, got shape ({planes}, 16, 20)"
    one_line(lambda: read_recording(tmp_path), f"{tmp_path.name}: {message}")


def test_mixed_sizes(tmp_path):
    tifffile.imwrite(tmp_path / "t0.tif", VIDEO[0])
    tifffile.imwrite(tmp_path / "t1.tif", VIDEO[0, :20])
    one_line(lambda: read_recording(tmp_path).frames[:], "frames must be of one size")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("places", [(slice(None), None), (None, slice(None)), (..., None), (None, ..., None)])
def test_axes_of_one_in_a_plain_tiff_count_no_pictures(tmp_path, places, compression):
    tifffile.imwrite(tmp_path / "a.tif", VIDEO[places], photometric="minisblack", compression=compression)
    np.testing.assert_array_equal(read_recording(tmp_path / "a.tif").frames[:], VIDEO)


@pytest.mark.parametrize("brightest", [1, 3000])
def test_range_of_sixteen_bits_is_that_of_the_sorted_values(tmp_path, brightest):
    """Also where objects cover less than a thousandth."""
    video = np.random.default_rng(0).normal(9000, 800, (40, 60, 70)).clip(0).astype(np.uint16)
    video[:, :8, :8] += np.uint16(brightest)
    tifffile.imwrite(tmp_path / "a.tif", video, photometric="minisblack")
    recording = read_recording(tmp_path / "a.tif")
    sample = video[recording.sample_indices(32)]
    np.testing.assert_allclose(recording.intensity_range, np.percentile(sample, (0.1, 99.9)))
    assert recording.saturated_values == ()
    flat = np.full((3, 60, 70), 500, np.uint16)
    flat[1, 0, 0] = 900
    tifffile.imwrite(tmp_path / "flat.tif", flat, photometric="minisblack")
    assert read_recording(tmp_path / "flat.tif").intensity_range == (500, 900)


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("dtype", [np.uint16, bool])
def test_masks_are_read_as_stored_where_zero_stands_for_white(tmp_path, dtype, numbered):
    masks = (VIDEO > 128).astype(dtype)
    for number, frame in enumerate(masks if numbered else [masks]):
        tifffile.imwrite(tmp_path / f"m{number}.tif", frame, photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(read_masks(tmp_path if numbered else tmp_path / "m0.tif")[:], masks)


def test_pages_of_another_size_are_not_dropped(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number, frame in enumerate(VIDEO):
            file.write(frame if number < 3 else frame[:-2], metadata=None, contiguous=False)
    with pytest.raises(ValueError, match=r"a.tif: pages must be of one size"):
        read_recording(tmp_path / "a.tif")


def test_numbered_pictures_of_another_bit_depth_are_refused(tmp_path):
    for number, frame in enumerate(VIDEO):
        tifffile.imwrite(tmp_path / f"t{number}.tif", frame.astype(np.uint16) if number < 3 else frame)
    with pytest.raises(ValueError, match="frames must be of one type, got uint16 and, in frame 3, uint8"):
        read_recording(tmp_path).frames[:]


@pytest.mark.parametrize("name", ["img_{:09d}_Phase_000.tif", "img_channel000_position002_time{:09d}_z000.tif"])
def test_numbered_pictures_are_ordered_by_the_number_that_differs(tmp_path, name):
    for number, frame in enumerate(VIDEO):
        tifffile.imwrite(tmp_path / name.format(number), frame)
    np.testing.assert_array_equal(read_recording(tmp_path).frames[:], VIDEO)


@pytest.mark.parametrize("names", ["VID1_A1_2_{:02d}d{:02d}h{:02d}m.tif", "A1-2-2024y02m{:02d}d_{:02d}h{:02d}m.tif"])
def test_pictures_are_ordered_by_the_time_in_their_names(tmp_path, names):
    """As an Incucyte exports them: time elapsed, or date and time."""
    paths = [names.format(29 + minutes // 1440, minutes // 60 % 24, minutes % 60) for minutes in range(1360, 1441, 20)]
    if "y02m" in names:
        paths[-1] = "A1-2-2024y03m01d_00h00m.tif"
    for path, frame in zip(paths, VIDEO, strict=True):
        tifffile.imwrite(tmp_path / path, frame)
    recording = read_recording(tmp_path)
    np.testing.assert_array_equal(recording.frames[:], VIDEO)
    assert recording.frame_interval_min == 20
    (tmp_path / paths[2]).unlink()
    with pytest.raises(ValueError, match=r"leave no gap, the step after .*23h00m\.tif is 40 min instead of 20"):
        read_recording(tmp_path)


@pytest.mark.parametrize("minutes", [(0, 30, 90), (0, 30, 60, 65)])
def test_pictures_at_uneven_times_are_refused(tmp_path, minutes):
    for minute, frame in zip(minutes, VIDEO[: len(minutes)], strict=True):
        tifffile.imwrite(tmp_path / f"A1_00d{minute // 60:02d}h{minute % 60:02d}m.tif", frame)
    with pytest.raises(ValueError, match="min instead of 30"):
        read_recording(tmp_path)


@pytest.mark.parametrize("name", ["a_2024y02m29d_01h30m_{:03d}.tif", "a_2024y02m30d_01h30m_{}.tif", "00d00h00m_{}.tif"])
def test_pictures_that_began_at_one_time_are_ordered_by_their_number(tmp_path, name):
    for number, frame in enumerate(VIDEO):
        tifffile.imwrite(tmp_path / name.format(number), frame)
    recording = read_recording(tmp_path)
    np.testing.assert_array_equal(recording.frames[:], VIDEO)
    assert recording.frame_interval_min is None


def test_a_time_increment_of_zero_is_unknown(tmp_path):
    times = {"DeltaT": [0.0, 60.0, 120.0, 180.0, 240.0], "DeltaTUnit": ["s"] * 5}
    about = {"axes": "TYX", "TimeIncrement": 0.0, "Plane": times}
    tifffile.imwrite(tmp_path / "a.ome.tif", VIDEO, metadata=about)
    assert read_recording(tmp_path / "a.ome.tif").frame_interval_min == 1
    days = {"axes": "TYX", "TimeIncrement": 0.5, "TimeIncrementUnit": "d"}
    tifffile.imwrite(tmp_path / "b.ome.tif", VIDEO, metadata=days)
    assert read_recording(tmp_path / "b.ome.tif").frame_interval_min == 720
    imagej = {"axes": "TYX", "unit": "Micron"}
    tifffile.imwrite(tmp_path / "c.tif", VIDEO, imagej=True, resolution=(2.0, 2.0), metadata=imagej)
    assert read_recording(tmp_path / "c.tif").pixel_size_um == 0.5
