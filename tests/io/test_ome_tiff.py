from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from cellvid_diffusers.io import read_ome_tiff, write_ome_tiff

VIDEO = np.random.default_rng(0).integers(0, 256, (5, 12, 17), np.uint8)


@pytest.mark.parametrize(("pixel_size_um", "frame_interval_min"), [(0.65, 15.0), (None, None), (1.3, None)])
@pytest.mark.parametrize("frames", [1, 5])
def test_read_is_the_inverse_of_write(tmp_path, frames, pixel_size_um, frame_interval_min):
    path = tmp_path / "clip.ome.tif"
    write_ome_tiff(path, VIDEO[:frames], pixel_size_um=pixel_size_um, frame_interval_min=frame_interval_min)
    clip = read_ome_tiff(path)
    np.testing.assert_array_equal(clip.video, VIDEO[:frames])
    assert clip.pixel_size_um == pixel_size_um and clip.frame_interval_min == frame_interval_min
    assert [each.name for each in tmp_path.iterdir()] == ["clip.ome.tif"]


def test_the_metadata_is_what_ome_asks_for(tmp_path):
    write_ome_tiff(tmp_path / "clip.ome.tif", VIDEO, pixel_size_um=0.65, frame_interval_min=15)
    with tifffile.TiffFile(tmp_path / "clip.ome.tif") as file:
        assert file.is_ome and file.series[0].axes == "TYX"
        root = ElementTree.fromstring(file.ome_metadata)
    (pixels,) = root.findall("{*}Image/{*}Pixels")
    expected = {
        "SizeT": "5",
        "SizeY": "12",
        "SizeX": "17",
        "SizeC": "1",
        "SizeZ": "1",
        "Type": "uint8",
        "PhysicalSizeX": "0.65",
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": "0.65",
        "TimeIncrement": "15",
        "TimeIncrementUnit": "min",
    }
    assert expected.items() <= pixels.attrib.items()
    assert len(pixels.findall("{*}TiffData")) >= 1


def test_floating_point_video_becomes_8_bit(tmp_path):
    write_ome_tiff(tmp_path / "a.ome.tif", VIDEO.astype(np.float32) / 255)
    np.testing.assert_array_equal(read_ome_tiff(tmp_path / "a.ome.tif").video, VIDEO)


@pytest.mark.parametrize(
    ("video", "options", "rule"),
    [
        (VIDEO[0], {}, r"shape \(F, H, W\)"),
        (VIDEO[:0], {}, "not be empty"),
        (VIDEO.astype(np.uint16), {}, "uint8 or floating point"),
        (VIDEO.astype(np.float32), {}, r"must lie in \[0, 1\]"),
        (np.full((2, 4, 4), np.nan), {}, r"must lie in \[0, 1\]"),
        (VIDEO, {"pixel_size_um": 0.0}, "pixel_size_um must be positive"),
        (VIDEO, {"frame_interval_min": -1.0}, "frame_interval_min must be positive"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(tmp_path, video, options, rule):
    with pytest.raises(ValueError, match=rule):
        write_ome_tiff(tmp_path / "clip.ome.tif", video, **options)
    assert not any(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", VIDEO)
    (tmp_path / "text.tif").write_text("no picture")
    for name in ("plain.tif", "text.tif"):
        with pytest.raises(ValueError, match="an OME-TIFF with axes TYX is wanted"):
            read_ome_tiff(tmp_path / name)
