"""Writing files and folders either completely or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` that is renamed to `path` at the end, or removed after an error.

    The temporary path does not exist yet and may become a file or a folder. An existing file or folder at `path` is
    replaced as a whole.

    Parameters
    ----------
    path : path

    Yields
    ------
    Path
        Hidden path in the same folder and thus on the same disk.

    Raises
    ------
    OSError
        If writing fails (no such folder, no permission, disk full); the message names `path`. Nothing is left behind.
    """
    path = Path(path)
    temporary, retired = (path.with_name(f".{path.name}.{os.getpid()}.{state}") for state in ("partial", "old"))
    try:
        yield temporary
        if path.is_dir():  # a folder cannot be renamed onto a full one
            os.replace(path, retired)
        os.replace(temporary, path)
    except OSError as error:
        told = f"{path} could not be written: {error.strerror or error}"
        raise (OSError(error.errno, told) if error.errno else OSError(told)) from error
    finally:
        if retired.exists() and not path.exists():
            os.replace(retired, path)
        shutil.rmtree(retired, ignore_errors=True)
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
