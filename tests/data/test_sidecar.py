from pathlib import Path

import pytest

from cellvid_diffusers.data import read_sidecar
from cellvid_diffusers.data.sidecar import distinct_names


def write(tmp_path, text, name="recordings.yaml"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_yaml_and_csv_say_the_same(tmp_path):
    yaml = write(
        tmp_path,
        """
recordings:
- file: a/x.tif
  culture: c1
  day: 14
  stride: auto
  region: [0, 10, 5, 20]
  density: very_dense
- file: b.tif
  split: validation
  pixel_size_um: 0.65
""",
    )
    table = "file,culture,day,stride,region,density,split,pixel_size_um\n"
    table += "a/x.tif,c1,14,auto,0 10 5 20,very_dense,,\nb.tif,,,,,,validation,0.65\n"
    entries = read_sidecar(yaml)
    assert entries == read_sidecar(write(tmp_path, table, "recordings.csv"))
    assert (entries[0].name, entries[0].day, entries[0].region) == ("x", 14.0, (0, 10, 5, 20))
    assert (entries[1].split, entries[1].pixel_size_um, entries[1].density) == ("validation", 0.65, None)


def test_a_file_may_serve_twice_with_regions_apart(tmp_path):
    text = "- {{file: x.tif, region: [0, 10, 0, 9]}}\n- {{file: x.tif, region: [{}, 20, 0, 9], split: test}}\n"
    names = [entry.name for entry in read_sidecar(write(tmp_path, text.format(10)))]
    assert names == ["x_y0-10_x0-9", "x_y10-20_x0-9"]
    with pytest.raises(ValueError, match=r"^x.tif: a file may be listed twice only with regions apart"):
        read_sidecar(write(tmp_path, text.format(9)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {file: x.tif, density: full}", "x.tif: density must be one of very_sparse, .* got full"),
        ("- {file: x.tif, colour: red}", "x.tif: sidecar knows .*, got colour"),
        ("- {file: x.tif, region: [1, 2]}", "x.tif: sidecar holds a value of the wrong kind"),
        ("- {name: x}", "each with a file"),
        ("recordings: 3", "must be a list of recordings"),
        ("a: [b", "sidecar must be valid YAML"),
        ("- {file: a/x.tif}\n- {file: b/x.tif}", "different names, got x twice"),
        ("- {file: x.tif, name: a}\n- {file: ./x.tif, name: b}", "x.tif: a file may be listed twice only"),
        ("- {file: x.tif, stride: -2}", "x.tif: stride must be at least 1, got -2"),
        ("- {file: x.tif, downscale: 0}", "x.tif: downscale must be at least 1, got 0"),
        ("- {file: x.tif, num_frames: 1}", "x.tif: num_frames must be at least 2, got 1"),
        ("- {file: x.tif, pixel_size_um: -1}", "x.tif: pixel_size_um must be above 0, got -1"),
    ],
)
def test_faults_are_named_in_one_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_sidecar(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_empty_values_are_unknown_and_numbers_and_dates_are_names(tmp_path):
    text = "recordings:\n- file: a.tif\n  split:\n  density: null\n  culture: 3\n  cell_type: 7\n  name: 2024-01-03\n"
    (entry,) = read_sidecar(write(tmp_path, text))
    assert (entry.split, entry.density) == ("train", None)
    assert (entry.culture, entry.cell_type, entry.name) == ("3", "7", "2024-01-03")


@pytest.mark.parametrize(
    "item, message",
    [
        ("{file: 01}", "1: file must be text, in quotes if it is a number, got 1"),
        ("{file: }", "None: file must be text"),
        ("{file: a.tif, masks: 01}", "a.tif: masks must be text"),
        ("{file: a.tif, stride: 1.5}", "a.tif: stride must be a whole number or auto, got 1.5"),
    ],
)
def test_values_of_the_wrong_kind_are_named(tmp_path, item, message):
    with pytest.raises(ValueError, match=message):
        read_sidecar(write(tmp_path, f"recordings:\n- {item}\n"))


def test_missing_sidecar(tmp_path):
    with pytest.raises(ValueError, match="sidecar must be a file"):
        read_sidecar(tmp_path / "none.yaml")


def test_names_end_at_the_suffix_of_the_format(tmp_path):
    files = ["exp.1.tif", "exp.2.ome.tif", "exp.3.avi", "well.A1"]
    text = "".join(f"- {{file: {file}}}\n" for file in files)
    assert [entry.name for entry in read_sidecar(write(tmp_path, text))] == ["exp.1", "exp.2", "exp.3", "well.A1"]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["day1/video.tif", "day2/other.ome.tif"], ["video", "other"]),
        (["day1/video.tif", "day2/video.tif", "day2/other.tif"], ["day1_video", "day2_video", "day2_other"]),
        (["u373/01", "hela/01"], ["u373_01", "hela_01"]),
        (["x.tif", "x.avi"], ["x.tif", "x.avi"]),
        (["a.tif", "a.tif"], ["a", "a"]),
    ],
)
def test_files_of_one_name_are_named_by_their_folders(files, names):
    assert distinct_names([Path(file) for file in files]) == names


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_as_spreadsheets_save_it(tmp_path, separator):
    rows = [["file", "density", "day"], ["a.tif", " sparse", "3"], ["b.tif", "", "4"], ["", "", ""]]
    (tmp_path / "r.csv").write_text("\n".join(separator.join(row) for row in rows), encoding="utf-8-sig")
    entries = read_sidecar(tmp_path / "r.csv")
    assert [(e.file, e.density, e.day) for e in entries] == [("a.tif", "sparse", 3), ("b.tif", None, 4)]
