"""Which precision a device trains in."""

import sys

import pytest
import torch
from launching import ROOT

sys.path.insert(0, str(ROOT / "training"))

import precision


@pytest.mark.parametrize("asked", [None, "no", "fp16", "bf16"])
@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_bfloat16_is_not_emulated(asked, has_bfloat16, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: has_bfloat16)
    assert precision.usable_precision(asked) == ("no" if asked == "bf16" and not has_bfloat16 else asked)


def test_a_torch_without_mkldnn_has_none(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    precision.has_bfloat16.cache_clear()
    assert not precision.has_bfloat16("cpu")
    precision.has_bfloat16.cache_clear()  # of what holds for this test alone
