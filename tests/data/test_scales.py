import numpy as np
import pytest
import torch

from cellvid_diffusers.data import Scales, minmax_normalize


def test_round_trip_and_zero_motion():
    scales = Scales(video_mean=0.4, video_std=0.1, flow_scale=0.7, flow_clip=3.0)
    sample = torch.rand(2, 3, 4, 8, 8)
    sample[:, 1:] = sample[:, 1:] * 6 - 3
    torch.testing.assert_close(scales.denormalize(scales.normalize(sample)), sample)
    sample[:, 1:] = 0
    assert (scales.normalize(sample)[:, 1:] == 0).all()
    sample[:, 1:] = 50
    torch.testing.assert_close(scales.normalize(sample)[:, 1:].max(), torch.tensor(3 / 0.7))


def test_video_alone():
    video = torch.rand(2, 1, 4, 8, 8)
    assert Scales().normalize(video).shape == video.shape
    torch.testing.assert_close(Scales().denormalize(Scales().normalize(video)), video)


def test_estimate_gives_each_modality_unit_variance():
    rng = np.random.default_rng(0)
    clips = [
        (rng.normal(90, 15, (6, 32, 32)).clip(0, 255).astype(np.uint8), rng.laplace(0, 0.5, (6, 32, 32, 2)))
        for _ in range(20)
    ]
    scales = Scales.estimate(clips)
    batch = torch.stack(
        [torch.from_numpy(np.concatenate((v[None] / 255, np.moveaxis(f, -1, 0)))).float() for v, f in clips]
    )
    normal = scales.normalize(batch)
    torch.testing.assert_close(normal.std((0, 2, 3, 4)), torch.ones(3), atol=0.05, rtol=0)
    flows = np.abs(np.stack([f for _, f in clips]))
    assert abs(scales.flow_clip - np.percentile(flows, 99.5)) < 0.15
    with pytest.raises(ValueError, match="clips must hold at least one clip"):
        Scales.estimate([])


def test_the_papers_scaling_spans_each_channel():
    sample = torch.randn(2, 3, 4, 8, 8)
    scaled = minmax_normalize(sample)
    torch.testing.assert_close(scaled.amin((2, 3, 4)), -torch.ones(2, 3))
    torch.testing.assert_close(scaled.amax((2, 3, 4)), torch.ones(2, 3))
