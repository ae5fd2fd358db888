"""How weights are stored for a repository."""

import sys
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.models import UNet3DModel

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

from export import LARGE, main


def test_large_tensors_are_8_bit_floats_and_load_as_float32(tmp_path, monkeypatch):
    torch.manual_seed(0)
    scales = {"block_out_channels": [32, 128], "spatial_attention": [False, True], "temporal_layers": ["conv", "both"]}
    unet = UNet3DModel(sample_size=16, **scales)
    scheduler = DDIMScheduler(prediction_type="v_prediction", clip_sample=False)
    CellVideoPipeline(unet, scheduler).save_pretrained(tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["export.py", str(tmp_path / "run"), str(tmp_path / "small")])
    main()

    stored = load_file(tmp_path / "small" / "unet" / "diffusion_pytorch_model.safetensors")
    large = {name for name, weights in stored.items() if weights.numel() >= LARGE}
    assert large and large < set(stored)
    for name, weights in stored.items():
        assert weights.dtype == (torch.float8_e4m3fn if name in large else torch.float16), name
    loaded = CellVideoPipeline.from_pretrained(tmp_path / "small").unet
    for name, weights in unet.state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, weights, rtol=2**-4 if name in large else 2**-11, atol=2**-10)


def test_a_smaller_model_takes_the_place_of_a_larger_one(tmp_path, monkeypatch):
    scales = {"block_out_channels": [8, 16], "spatial_attention": [False, False], "temporal_layers": ["conv", "conv"]}
    unet = UNet3DModel(sample_size=16, norm_num_groups=4, **scales)
    scheduler = DDIMScheduler(prediction_type="v_prediction", clip_sample=False)
    CellVideoPipeline(unet, scheduler).save_pretrained(tmp_path / "run")
    CellVideoPipeline(unet, scheduler).save_pretrained(tmp_path / "target", max_shard_size="20KB")
    assert list((tmp_path / "target" / "unet").glob("*.index.json"))
    monkeypatch.setattr(sys, "argv", ["export.py", str(tmp_path / "run"), str(tmp_path / "target")])
    main()
    CellVideoPipeline.from_pretrained(tmp_path / "target")


def test_a_source_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["export.py", str(tmp_path / "nothing"), str(tmp_path / "target")])
    with pytest.raises(SystemExit):
        main()
    assert "source must be a pipeline's folder, got" in capsys.readouterr().err
