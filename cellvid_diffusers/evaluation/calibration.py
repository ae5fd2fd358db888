"""Thresholds fitted once on real recordings by `benchmarks/segmentation.py` and used unchanged on synthetic video."""

import json
from pathlib import Path
from typing import Any

THRESHOLDS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("calibration.json").read_text())
