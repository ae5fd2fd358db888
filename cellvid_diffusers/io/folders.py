"""Names that may be a folder's or, on the Hub, a repository's."""

from pathlib import Path


def check_not_missing(name: str | Path) -> None:
    """Raise `ValueError` where a name is plainly that of a folder which is not there: its parent is.

    Asked for `data/mine`, which could be a repository of a user `data`, the Hub would be tried for half a minute.
    """
    path = Path(name)
    is_path = path.is_absolute() or str(name).startswith(".") or path.parent != Path()
    if is_path and not path.exists() and path.parent.is_dir():
        raise ValueError(f"no such folder: {name} (there is none in {path.parent})")
