"""Uploading a prepared folder to the Hub: the same files, so what is loaded is bit for bit what was written."""

from pathlib import Path

from huggingface_hub import HfApi


def push_patches(
    folder: str | Path, repo_id: str, *, private: bool = False, token: str | None = None, revision: str | None = None
) -> str:
    """Upload a data set folder.

    Parameters
    ----------
    folder : path
        From `prepare` or `write_patches`.
    repo_id : str
        `user/name`; created if it does not exist.
    private : bool
    token : str, optional
        By default the one stored by `hf auth login`.
    revision : str, optional
        Branch to write to; created if it does not exist.

    Returns
    -------
    str
        Commit id, for `load_patches(repo_id, revision=...)`.

    Raises
    ------
    ValueError
        If the folder is not a patch data set.
    """
    folder = Path(folder)
    if not any(folder.glob("data/*.parquet")):
        raise ValueError(f"data set must be a folder with data/*.parquet, got {folder}")
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True).repo_id
    if revision is not None:
        api.create_branch(repo_id, branch=revision, repo_type="dataset", exist_ok=True)
    commit = api.upload_folder(
        repo_id=repo_id,
        folder_path=folder,
        repo_type="dataset",
        revision=revision,
        commit_message="Upload patches",
        delete_patterns=["data/*.parquet"],
    )
    return commit.oid
