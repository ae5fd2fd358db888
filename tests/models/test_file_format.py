"""Saved pipelines name the modules of their components: these names are a file format."""

import json

from diffusers import DDIMScheduler

from cellvid_diffusers import CellVideoPipeline, MotionUNet3DModel, UNet3DModel


def test_module_paths_are_frozen(tmp_path):
    small = {"block_out_channels": [8, 16, 16], "attention_head_dim": 8}
    for model, module in (
        (UNet3DModel(**small), "cellvid_diffusers.models.unet_3d"),
        (MotionUNet3DModel(**small), "cellvid_diffusers.models.unet_motion_3d"),
    ):
        CellVideoPipeline(model, DDIMScheduler()).save_pretrained(tmp_path)
        index = json.loads((tmp_path / "model_index.json").read_text())
        assert index["_class_name"] == "CellVideoPipeline"
        assert index["unet"] == [module, type(model).__name__]
        assert type(CellVideoPipeline.from_pretrained(tmp_path).unet) is type(model)
