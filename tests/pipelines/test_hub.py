"""A pipeline goes to the Hub and comes back: by name, by revision, and without a network from the cache."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from cellvid_diffusers import CellVideoPipeline, MotionUNet3DModel, StochasticDPMSolverScheduler, UNet3DModel

REPO = "tester/cellvid"
MODELS = [UNet3DModel, MotionUNet3DModel]


def make_pipe(model_class: type = UNet3DModel, seed: int = 0, **config) -> CellVideoPipeline:
    torch.manual_seed(seed)
    model = model_class(
        sample_size=16,
        block_out_channels=[8, 16],
        spatial_attention=[False, True],
        temporal_layers=["conv", "attention"],
        attention_head_dim=8,
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return quiet(CellVideoPipeline(model, DDIMScheduler(prediction_type="v_prediction", clip_sample=False), **config))


def quiet(pipe: CellVideoPipeline) -> CellVideoPipeline:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sample(pipe: CellVideoPipeline) -> np.ndarray:
    return pipe(num_frames=3, num_inference_steps=2, generator=torch.Generator().manual_seed(0)).frames


@pytest.mark.parametrize("model_class", MODELS)
def test_a_pushed_pipeline_is_the_same_when_loaded_by_name(hub, tmp_path, model_class):
    pipe = make_pipe(model_class, flow_scale=2.5, pixel_size_um=0.65)
    pipe.push_to_hub(REPO)
    loaded = quiet(CellVideoPipeline.from_pretrained(REPO, cache_dir=tmp_path))
    assert type(loaded.unet) is model_class
    assert loaded.config.flow_scale == 2.5 and loaded.config.pixel_size_um == 0.65
    np.testing.assert_array_equal(sample(loaded), sample(pipe))


def test_only_configurations_and_safetensors_are_stored_and_fetched(hub, tmp_path):
    make_pipe().push_to_hub(REPO)
    HfApi().upload_file(path_or_fileobj=b"cos\nsystem\n(S'x'\ntR.", path_in_repo="unet/trap.bin", repo_id=REPO)
    files = hub.repository("models", REPO).at("main").files
    assert not any(path.endswith((".bin", ".pt", ".pkl", ".py")) for path in files if path != "unet/trap.bin")
    CellVideoPipeline.from_pretrained(REPO, cache_dir=tmp_path)
    fetched = {path.suffix for path in tmp_path.glob("models--*/snapshots/**/*") if path.is_file()}
    assert fetched == {".json", ".safetensors"}


def test_a_repository_without_a_card_gets_one_that_loads_the_pipeline(hub):
    pipe = make_pipe(noise_patterns=["joint", "first_frame"])
    pipe.push_to_hub(REPO)
    card = ModelCard.load(REPO)
    assert card.data.library_name == "cellvid_diffusers" and "optical-flow" in card.data.tags
    assert f'CellVideoPipeline.from_pretrained("{REPO}")' in card.text and "joint, first_frame" in card.text
    HfApi().upload_file(path_or_fileobj=b"---\nlicense: mit\n---\nMine.\n", path_in_repo="README.md", repo_id=REPO)
    pipe.push_to_hub(REPO)
    assert "Mine." in ModelCard.load(REPO).text


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_only_weights_of_the_variant_are_fetched(hub, tmp_path, variant):
    pipe = make_pipe()
    pipe.push_to_hub(REPO)
    pipe.push_to_hub(REPO, variant="fp16")
    CellVideoPipeline.from_pretrained(REPO, cache_dir=tmp_path, variant=variant)
    names = [path.name for path in tmp_path.glob("models--*/snapshots/**/*.safetensors")]
    assert names == [".".join(filter(None, ["diffusion_pytorch_model", variant, "safetensors"]))]


def test_a_revision_is_loaded(hub, tmp_path):
    first, second = make_pipe(seed=1), make_pipe(seed=2)
    first.push_to_hub(REPO)
    HfApi().create_tag(REPO, tag="v1")
    second.push_to_hub(REPO)
    for revision, pipe in (("v1", first), ("main", second), (None, second)):
        loaded = quiet(CellVideoPipeline.from_pretrained(REPO, revision=revision, cache_dir=tmp_path))
        np.testing.assert_array_equal(sample(loaded), sample(pipe))


def test_a_second_load_fetches_no_weights_again(hub, tmp_path):
    make_pipe().push_to_hub(REPO)
    CellVideoPipeline.from_pretrained(REPO, cache_dir=tmp_path)
    hub.requests.clear()
    CellVideoPipeline.from_pretrained(REPO, cache_dir=tmp_path)
    assert not [request for request in hub.requests if request.startswith("GET") and "safetensors" in request]
    CellVideoPipeline.from_pretrained(REPO, cache_dir=tmp_path, force_download=True)
    assert [request for request in hub.requests if request.startswith("GET") and "safetensors" in request]


def test_components_are_named_by_frozen_module_paths(hub):
    """`model_index.json` is a file format: pipelines saved by any release must load in every later one."""
    make_pipe().push_to_hub("tester/baseline")
    make_pipe(MotionUNet3DModel).push_to_hub("tester/motion")
    pipe = make_pipe()
    pipe.scheduler = StochasticDPMSolverScheduler.from_config(pipe.scheduler.config)
    pipe.push_to_hub("tester/stochastic")
    index = {}
    for name in ("baseline", "motion", "stochastic"):
        file = hub.repository("models", f"tester/{name}").at("main").files["model_index.json"]
        index[name] = json.loads(file.data)
    assert index["baseline"]["unet"] == ["cellvid_diffusers.models.unet_3d", "UNet3DModel"]
    assert index["motion"]["unet"] == ["cellvid_diffusers.models.unet_motion_3d", "MotionUNet3DModel"]
    assert index["baseline"]["scheduler"] == ["diffusers", "DDIMScheduler"]
    assert index["stochastic"]["scheduler"] == ["cellvid_diffusers.schedulers", "StochasticDPMSolverScheduler"]


def test_an_unknown_name_or_revision_is_told(hub, tmp_path):
    with pytest.raises(RepositoryNotFoundError, match="tester/nothing"):
        CellVideoPipeline.from_pretrained("tester/nothing", cache_dir=tmp_path)
    make_pipe().push_to_hub(REPO)
    with pytest.raises(RevisionNotFoundError, match="v9"):
        CellVideoPipeline.from_pretrained(REPO, revision="v9", cache_dir=tmp_path)


OFFLINE = """
import torch
from cellvid_diffusers import CellVideoPipeline
pipe = CellVideoPipeline.from_pretrained("tester/cellvid")
pipe.set_progress_bar_config(disable=True)
frames = pipe(num_frames=3, num_inference_steps=2, generator=torch.Generator().manual_seed(0)).frames
print(float(frames.sum()))
CellVideoPipeline.from_pretrained("tester/other")
"""


@pytest.mark.slow
def test_without_a_network_the_cache_serves(hub, tmp_path):
    pipe = make_pipe()
    pipe.push_to_hub(REPO)
    CellVideoPipeline.from_pretrained(REPO, cache_dir=tmp_path / "hub")
    hub.requests.clear()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, check=False)
    assert float(run.stdout) == pytest.approx(float(sample(pipe).sum()), rel=1e-6)
    assert run.returncode == 1 and "tester/other" in run.stderr and "offline" in run.stderr.lower(), run.stderr
    assert hub.requests == []
