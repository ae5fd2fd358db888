"""Learned distances, offline, with tiny networks of random weights."""

import numpy as np
import pytest
import tifffile
import torch
from scipy.linalg import sqrtm

from cellvid_diffusers.evaluation import evaluate, examine, learned
from cellvid_diffusers.evaluation.learned import frechet_distance, kernel_distance, video_distances, video_embeddings


@pytest.fixture(scope="module")
def tiny_videomae():
    from transformers import VideoMAEConfig, VideoMAEModel

    torch.manual_seed(0)
    config = VideoMAEConfig(
        image_size=32, patch_size=16, num_frames=8, tubelet_size=2, hidden_size=16,
        num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    )  # fmt: skip
    return VideoMAEModel(config)


def test_frechet_distance_agrees_with_the_formula():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 4)), rng.normal(1, 2, size=(60, 4))
    ca, cb = np.cov(a.T), np.cov(b.T)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(ca + cb - 2 * np.real(sqrtm(ca @ cb)))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_unbiased():
    rng = np.random.default_rng(1)
    values = [kernel_distance(rng.normal(size=(10, 3)), rng.normal(size=(12, 3))) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20


def test_video_distances_see_what_the_network_sees(tiny_videomae, make_clips):
    real, same, other = make_clips(24, 0), make_clips(24, 1), 255 - make_clips(24, 2)
    assert video_embeddings(real, tiny_videomae).shape == (24, 16)
    near, far = (video_distances(real, side, tiny_videomae) for side in (same, other))
    assert far["fvd"] > 2 * near["fvd"] and far["kvd"] > 2 * abs(near["kvd"])


def test_frame_distances_through_torch_fidelity(make_clips):
    fidelity = pytest.importorskip("torch_fidelity")
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    from cellvid_diffusers.evaluation.learned import frame_distances

    class Tiny(FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)
            torch.manual_seed(0)
            self.net = torch.nn.Conv2d(3, 8, 5, stride=4)

        @staticmethod
        def get_provided_features_list():
            return ("2048",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "2048"

        @staticmethod
        def can_be_compiled():
            return False

        @staticmethod
        def get_dummy_input_for_compile():
            return torch.zeros(1, 3, 32, 32, dtype=torch.uint8)

        def forward(self, x):
            return (self.net(x.float() / 255).mean((2, 3)),)

    fidelity.register_feature_extractor("tiny-random", Tiny)
    real, same, other = make_clips(6, 0), make_clips(6, 1), 255 - make_clips(6, 2)
    near, far = (frame_distances(real, side, feature_extractor="tiny-random") for side in (same, other))
    assert far["fid"] > near["fid"] and far["kid"] > near["kid"]


def test_without_the_extra_an_evaluation_ends_before_its_first_step(make_clips, tmp_path, monkeypatch):
    for name in ("real", "synth"):
        (tmp_path / name).mkdir()
        for i, clip in enumerate(make_clips(4, 0)):
            tifffile.imwrite(tmp_path / name / f"{i}.tif", clip, metadata={"axes": "TYX"})
    monkeypatch.setattr(learned, "find_spec", lambda name: None)
    monkeypatch.setattr(examine, "build_yardsticks", None)  # whatever is measured before fails
    with pytest.raises(ValueError, match="learned distances need an extra: pip install"):
        evaluate(tmp_path / "real", tmp_path / "synth", tmp_path / "out", learned=True, progress=False)
