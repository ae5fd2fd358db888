"""Shared by all tests: a loopback Hugging Face Hub in place of the real one, and real recordings."""

import os
import tempfile
from pathlib import Path

from hub_server import TOKEN, Hub

# Here and not in a fixture: huggingface_hub and datasets read these once, when they are imported. What the
# tests launch inherits them, so that nothing can reach the real Hub or the user's cache.
_HUB = Hub().start()
_HF_HOME = tempfile.TemporaryDirectory(prefix="cellvid-tests-", ignore_cleanup_errors=True)
os.environ.update(
    HF_ENDPOINT=_HUB.url,
    HF_HOME=_HF_HOME.name,
    HF_TOKEN=TOKEN,
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
)
for _name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_TOKEN_PATH"):
    os.environ.pop(_name, None)

import pytest  # noqa: E402


@pytest.fixture
def hub() -> Hub:
    """The loopback Hub, empty."""
    _HUB.repositories.clear()
    _HUB.lfs.clear()
    _HUB.requests.clear()
    return _HUB


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings beside the repository; they are not part of it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real recordings in {folder}")
    return folder
