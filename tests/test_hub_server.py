"""The loopback Hub holds up under the real clients."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from datasets import Dataset, Features, Image, List, Value, load_dataset
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

REPO = "tester/clips"


@pytest.fixture
def api(hub):
    assert hub.url == constants.ENDPOINT, "huggingface_hub was imported before conftest.py named its endpoint"
    return HfApi()


def test_upload_of_regular_and_large_files(api, hub, tmp_path):
    weights = os.urandom(5_000_000)
    api.create_repo(REPO)
    api.upload_file(path_or_fileobj=weights, path_in_repo="unet/weights.safetensors", repo_id=REPO)
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "README.md").write_text("---\nlicense: apache-2.0\n---\nA model.\n")
    api.upload_folder(folder_path=tmp_path / "card", repo_id=REPO)

    files = hub.repository("models", REPO).at("main").files
    assert {path: file.lfs for path, file in files.items()} == {
        ".gitattributes": False,
        "unet/weights.safetensors": True,
        "README.md": False,
    }
    folder = snapshot_download(REPO, cache_dir=tmp_path / "cache")
    assert Path(folder, "unet/weights.safetensors").read_bytes() == weights
    sizes = {each.path: getattr(each, "size", None) for each in api.list_repo_tree(REPO, recursive=True)}
    assert sizes["unet/weights.safetensors"] == 5_000_000 and "unet" in sizes


def test_the_same_bytes_are_uploaded_once(api, hub):
    api.create_repo(REPO)
    for name in ("a.safetensors", "b.safetensors"):
        api.upload_file(path_or_fileobj=b"\0" * 1000, path_in_repo=name, repo_id=REPO)
    assert sum(request.startswith("PUT /lfs/") for request in hub.requests) == 1


def test_revisions_tags_branches_and_history(api, tmp_path):
    api.create_repo(REPO)
    first = api.upload_file(path_or_fileobj=b"one", path_in_repo="note.txt", repo_id=REPO)
    api.create_tag(REPO, tag="v1", tag_message="first")
    api.create_branch(REPO, branch="trial/a")
    api.upload_file(path_or_fileobj=b"two", path_in_repo="note.txt", repo_id=REPO)
    api.upload_file(path_or_fileobj=b"three", path_in_repo="note.txt", repo_id=REPO, revision="trial/a")
    expected = {"v1": "one", first.oid: "one", "main": "two", "trial/a": "three"}
    for revision, text in expected.items():
        path = api.hf_hub_download(REPO, "note.txt", revision=revision, cache_dir=tmp_path)
        assert Path(path).read_text() == text
    assert [each.title for each in api.list_repo_commits(REPO)][-1] == "initial commit"
    assert {ref.name for ref in api.list_repo_refs(REPO).branches} == {"main", "trial/a"}
    api.delete_tag(REPO, tag="v1")
    assert api.list_repo_refs(REPO).tags == []
    with pytest.raises(HfHubHTTPError, match="412"):
        api.upload_file(path_or_fileobj=b"4", path_in_repo="x", repo_id=REPO, parent_commit=first.oid)


def test_refusals(api):
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("tester/nothing")
    api.create_repo(REPO)
    assert api.create_repo(REPO, exist_ok=True).repo_id == REPO
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(REPO)
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="v9")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(REPO, "absent.txt")
    with pytest.raises(HfHubHTTPError, match="401"):
        HfApi(token="hf_wrong").upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=REPO)
    api.delete_repo(REPO)
    assert not api.repo_exists(REPO)


def test_dataset_is_pushed_loaded_and_streamed(api, hub, tmp_path):
    frames = np.arange(3 * 2 * 8 * 8, dtype=np.uint8).reshape(3, 2, 8, 8)
    rows = {"frames": [[PIL.Image.fromarray(frame) for frame in clip] for clip in frames], "x": [0, 8, 16]}
    written = Dataset.from_dict(rows, features=Features({"frames": List(Image()), "x": Value("int32")}))
    written.push_to_hub(REPO, split="train")
    written.select([0]).push_to_hub(REPO, split="validation")
    api.create_tag(REPO, tag="v1", repo_type="dataset")
    written.select([1, 2]).push_to_hub(REPO, split="validation")

    loaded = load_dataset(REPO, cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 3, "validation": 2}
    np.testing.assert_array_equal(np.stack([np.stack(row["frames"]) for row in loaded["train"]]), frames)
    assert len(load_dataset(REPO, split="validation", revision="v1", cache_dir=str(tmp_path))) == 1
    streamed = list(load_dataset(REPO, split="train", streaming=True))
    assert [row["x"] for row in streamed] == [0, 8, 16]
    np.testing.assert_array_equal(np.stack(streamed[1]["frames"]), frames[1])
