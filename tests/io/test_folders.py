import pytest

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.data import load_patches
from cellvid_diffusers.evaluation.clips import dataset_splits
from cellvid_diffusers.io.folders import check_not_missing


def test_a_name_in_a_folder_that_is_there_is_a_folders(tmp_path, monkeypatch):
    (tmp_path / "data" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name in ("data/mine", "user/mine", "mine", tmp_path / "data"):
        check_not_missing(name)
    for name in ("data/min", "./mine", tmp_path / "mine"):
        with pytest.raises(ValueError, match="no such folder: "):
            check_not_missing(name)


@pytest.mark.parametrize("load", [load_patches, dataset_splits, CellVideoPipeline.from_pretrained])
def test_the_hub_is_not_asked_for_a_missing_folder(tmp_path, monkeypatch, load):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no such folder: data/mine"):
        load("data/mine")
