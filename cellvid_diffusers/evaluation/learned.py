"""Distances between features of pretrained networks: FVD and KVD with VideoMAE, FID and KID with `torch-fidelity`.

An extra (`pip install cellvid-diffusers[learned]`), never the default: the networks were trained on videos of people
and on photographs, are hardly sensitive to time, and have to be downloaded.  They are included because papers
report them.

References
----------
T. Unterthiner et al., FVD: a new metric for video generation (2019)
M. Binkowski et al., Demystifying MMD GANs (2018), https://arxiv.org/abs/1801.01401
Z. Tong et al., VideoMAE (2022), https://arxiv.org/abs/2203.12602
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import sqrtm

if TYPE_CHECKING:
    from transformers import VideoMAEModel

VIDEO_MODEL = "MCG-NJU/videomae-base"


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of Gaussians fitted to embeddings (N, D) and (M, D); its bias depends on N and M."""
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of sqrtm(ca cb), computed through the symmetric square root, which stays real.
    root = np.real(sqrtm(ca))
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cb @ root), 0)).sum()
    return float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(ca) + np.trace(cb) - 2 * cross)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the cubic kernel of KID; about 0 for equal distributions."""

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    aa, bb = kernel(a, a), kernel(b, b)
    n, m = len(a), len(b)
    within = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within - 2 * kernel(a, b).mean())


def video_embeddings(
    clips: np.ndarray, model: "VideoMAEModel", *, batch_size: int = 4, device: str = "cpu"
) -> np.ndarray:
    """Mean token of a VideoMAE encoder, `(N, D)`, for clips `(N, F, H, W)` in [0, 1] or uint8.

    Clips are resized to the model's number of frames and frame size (frames by nearest neighbour, so that none is
    interpolated) and normalised with the ImageNet statistics that the model was trained with.
    """
    import torch
    import torch.nn.functional as F

    config = model.config
    model = model.to(device).eval()
    video = torch.from_numpy(np.ascontiguousarray(clips))
    video = video.float() / 255 if video.dtype == torch.uint8 else video.float()
    chosen = torch.linspace(0, video.shape[1] - 1, config.num_frames).round().long()
    mean, std = (torch.tensor(v).view(1, 1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    out = []
    with torch.inference_mode():
        for batch in video[:, chosen].split(batch_size):
            size = (config.image_size, config.image_size)
            frames = F.interpolate(batch, size=size, mode="bilinear", antialias=True, align_corners=False)
            pixels = (frames[:, :, None].expand(-1, -1, 3, -1, -1) - mean) / std
            out.append(model(pixels.to(device)).last_hidden_state.mean(1).cpu().numpy())
    return np.concatenate(out).astype(np.float64)


def learned_distances(real: np.ndarray, synth: np.ndarray) -> dict[str, float]:
    """FVD and KVD (`video_distances`), FID and KID (`frame_distances`) of uint8 clips `(N, F, H, W)`, `(M, F, H, W)`.

    Raises
    ------
    ValueError
        If the extra is not installed.
    """
    if find_spec("torch_fidelity") is None:
        raise ValueError("learned distances need an extra: pip install 'cellvid-diffusers[learned]'")
    return video_distances(real, synth) | frame_distances(real, synth)


def video_distances(real: np.ndarray, synth: np.ndarray, model: "VideoMAEModel | str" = VIDEO_MODEL) -> dict:
    """FVD and KVD of two sets of clips, with VideoMAE.

    Parameters
    ----------
    real, synth : (N, F, H, W) and (M, F, H, W)
    model : VideoMAEModel or str
        A name is loaded by `from_pretrained`, which downloads it unless it is cached.
    """
    if isinstance(model, str):
        from transformers import VideoMAEModel

        model = VideoMAEModel.from_pretrained(model)
    a, b = video_embeddings(real, model), video_embeddings(synth, model)
    return {"fvd": frechet_distance(a, b), "kvd": kernel_distance(a, b)}


def frame_distances(real: np.ndarray, synth: np.ndarray, *, feature_extractor: str = "inception-v3-compat") -> dict:
    """FID and KID of all frames, by `torch-fidelity`, whose Inception weights are downloaded on first use.

    Parameters
    ----------
    real, synth : (N, F, H, W) and (M, F, H, W) uint8
    feature_extractor : str
        A name known to `torch_fidelity.register_feature_extractor`.
    """
    import torch
    from torch_fidelity import calculate_metrics

    class Frames(torch.utils.data.Dataset):
        def __init__(self, clips: np.ndarray):
            self.frames = clips.reshape(-1, *clips.shape[2:])

        def __len__(self) -> int:
            return len(self.frames)

        def __getitem__(self, i: int) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(self.frames[i])).expand(3, -1, -1)

    sides = Frames(real), Frames(synth)
    found = calculate_metrics(
        input1=sides[0],
        input2=sides[1],
        feature_extractor=feature_extractor,
        fid=True,
        kid=True,
        kid_subset_size=min(1000, len(sides[0]), len(sides[1])),
        cuda=torch.cuda.is_available(),
        cache=False,
        save_cpu_ram=True,  # loads frames in this process
        verbose=False,
    )
    return {"fid": found["frechet_inception_distance"], "kid": found["kernel_inception_distance_mean"]}
