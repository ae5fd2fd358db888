"""Properties that both networks share."""

import pytest
import torch

from cellvid_diffusers.models import PAPER_CONFIG, PAPER_MOTION_CONFIG, MotionUNet3DModel, UNet3DModel

SMALL = {"sample_size": 16, "block_out_channels": [8, 16], "attention_head_dim": 8, "norm_num_groups": 4}
EFFICIENT = {**SMALL, "spatial_attention": [False, True], "temporal_layers": ["conv", "both"]}
PAPER = {"spatial_attention": [True, True], "temporal_layers": ["attention", "attention"]}
MODELS = {
    "video": (UNet3DModel, {**EFFICIENT, "in_channels": 1, "out_channels": 1}),
    "joint": (UNet3DModel, EFFICIENT),
    "classes": (UNet3DModel, {**EFFICIENT, "num_class_embeds": [2, 5]}),
    "gated": (MotionUNet3DModel, EFFICIENT),
    "paper": (UNet3DModel, {**PAPER_CONFIG, **SMALL, **PAPER}),
    "paper motion": (MotionUNet3DModel, {**PAPER_MOTION_CONFIG, **SMALL, **PAPER}),
}


def build(name: str) -> UNet3DModel:
    """A small model whose zero-initialised layers are not zero, so that nothing is hidden behind them."""
    torch.manual_seed(0)
    model_class, config = MODELS[name]
    model = model_class(**config).eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def clip(model: UNet3DModel, frames: int = 4, size: int = 16, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, model.config.in_channels, frames, size, size, generator=generator)


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    @pytest.mark.parametrize("frames, height, width", [(1, 16, 16), (4, 16, 24), (7, 32, 16)])
    def test_keeps_the_shape(self, name, frames, height, width):
        model = build(name)
        sample = torch.randn(2, model.config.in_channels, frames, height, width)
        with torch.no_grad():
            assert model(sample, 3).sample.shape == sample.shape

    def test_dict_and_tuple_agree(self, name):
        model = build(name)
        with torch.no_grad():
            assert torch.equal(model(clip(model), 3).sample, model(clip(model), 3, return_dict=False)[0])

    @pytest.mark.parametrize("shape", [(), (1,), (2,), (1, 4), (2, 4), (1, 1, 2), (2, 4, 2)])
    def test_noise_level_shapes_agree(self, name, shape):
        model = build(name)
        with torch.no_grad():
            expected = model(clip(model), torch.full((2, 4, 2), 30)).sample
            assert torch.allclose(model(clip(model), torch.full(shape, 30)).sample, expected, atol=1e-6)

    def test_clips_do_not_mix(self, name):
        model = build(name)
        with torch.no_grad():
            both = model(clip(model), 3).sample
            alone = model(clip(model)[1:], 3).sample
        torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)

    def test_order_of_frames_matters(self, name):
        model = build(name)
        turned = [2, 0, 3, 1]
        with torch.no_grad():
            forward = model(clip(model), 3).sample
            shuffled = model(clip(model)[:, :, turned], 3).sample
        assert not torch.allclose(forward[:, :, turned], shuffled, atol=1e-3)

    def test_every_weight_learns(self, name):
        model = build(name).train()
        labels = torch.tensor([[0, -1], [1, 4]]) if name == "classes" else None
        model(clip(model), torch.randint(0, 1000, (2, 4, 2)), labels).sample.square().sum().backward()
        assert [key for key, p in model.named_parameters() if p.grad is None] == []

    def test_gradient_checkpointing_keeps_the_gradients(self, name):
        plain, saving = build(name).train(), build(name).train()
        saving.enable_gradient_checkpointing()
        assert saving.is_gradient_checkpointing
        calls = []
        kept = saving.tower._gradient_checkpointing_func
        saving.tower._gradient_checkpointing_func = lambda *args: (calls.append(1), kept(*args))[1]
        for model in (plain, saving):
            model(clip(model), 3).sample.square().sum().backward()
        assert calls
        for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
            if one.grad is not None:
                torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)

    def test_saves_and_loads(self, name, tmp_path):
        model = build(name)
        model.save_pretrained(tmp_path)
        assert [path.suffix for path in tmp_path.glob("*model*")] == [".safetensors"]
        loaded = type(model).from_pretrained(tmp_path)
        with torch.no_grad():
            assert torch.equal(model(clip(model), 3).sample, loaded(clip(model), 3).sample)

    def test_storing_weights_in_8_bits_spares_the_embeddings(self, name):
        model = build(name)
        model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
        types = {key: value.dtype for key, value in model.named_parameters()}
        assert types["video_time.linear_1.weight"] == torch.float32
        assert torch.float8_e4m3fn in types.values()
        with torch.no_grad():
            assert torch.isfinite(model(clip(model), 3).sample).all()

    def test_wrong_samples_are_named(self, name):
        model = build(name)
        with pytest.raises(ValueError, match="multiples of"):
            model(clip(model, size=17), 3)
        with pytest.raises(ValueError, match="sample must be"):
            model(torch.zeros(1, 2, 4, 16, 16), 3)

    @pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 4, 3), (2, 4, 2, 1)])
    def test_wrong_noise_levels_are_named(self, name, shape):
        model = build(name)
        with pytest.raises(ValueError, match="timestep must be"):
            model(clip(model), torch.zeros(shape))

    def test_wrong_labels_are_named(self, name):
        model = build(name)
        kinds = len(model.class_embeddings)
        for shape in ((2, kinds + 1), (3, kinds), (2,)):
            with pytest.raises(ValueError, match=rf"class_labels must be \(2, {kinds}\)"):
                model(clip(model), 3, torch.zeros(shape, dtype=torch.long))


def test_noise_level_of_one_frame_changes_that_frame_most():
    model = build("joint")
    levels = torch.full((2, 4, 2), 500)
    changed = levels.clone()
    changed[:, 2] = 10
    with torch.no_grad():
        difference = (model(clip(model), levels).sample - model(clip(model), changed).sample).abs()
    assert difference.mean(dim=(0, 1, 3, 4)).argmax() == 2


def test_video_and_flow_have_noise_levels_of_their_own():
    model = build("joint")
    levels = torch.full((2, 4, 2), 500)
    video, flow = levels.clone(), levels.clone()
    video[..., 0], flow[..., 1] = 10, 10
    with torch.no_grad():
        assert not torch.allclose(model(clip(model), video).sample, model(clip(model), flow).sample)


def test_unknown_class_is_minus_one():
    model = build("classes")
    with torch.no_grad():
        unlabelled = model(clip(model), 3).sample
        unknown = model(clip(model), 3, torch.full((2, 2), -1)).sample
        labelled = model(clip(model), 3, torch.zeros(2, 2, dtype=torch.long)).sample
    assert torch.equal(unlabelled, unknown)
    assert not torch.allclose(unlabelled, labelled)


def test_gated_model_starts_as_the_baseline():
    baseline = build("video")
    gated = MotionUNet3DModel(**EFFICIENT).eval()
    gated.load_weights_from(baseline)
    sample = clip(gated)
    with torch.no_grad():
        expected = baseline(sample[:, :1], 30).sample
        assert torch.equal(gated(sample, 30).sample[:, :1], expected)
        sample[:, 1:] = 5
        assert torch.equal(gated(sample, 30).sample[:, :1], expected)


@pytest.mark.parametrize("kinds, labels, known", [([1], [[2], [-1]], [[-1, 2], [-1, -1]]), (None, [[1, 0]], [[1, 0]])])
def test_gated_model_takes_the_baselines_labels(kinds, labels, known):
    baseline = UNet3DModel(**{**MODELS["video"][1], "num_class_embeds": [2, 3]}).eval()
    gated = MotionUNet3DModel(**EFFICIENT, num_class_embeds=[2, 3] if kinds is None else [3]).eval()
    gated.load_weights_from(baseline, kinds)
    sample = torch.randn(len(labels), 3, 4, 16, 16)
    with torch.no_grad():
        expected = baseline(sample[:, :1], 30, torch.tensor(known)).sample
        torch.testing.assert_close(gated(sample, 30, torch.tensor(labels)).sample[:, :1], expected)


@pytest.mark.parametrize("kinds, labels", [([], None), ([1], [[2], [-1]]), ([None], [[0], [1]])])
def test_kind_of_label_that_is_left_out_starts_as_unknown(kinds, labels):
    old = UNet3DModel(**EFFICIENT, num_class_embeds=[2, 3]).eval()
    new = UNet3DModel(**EFFICIENT, num_class_embeds=[3] * len(kinds) or None).eval()
    new.load_weights_from(old, kinds)
    clip, level = torch.randn(2, 3, 4, 16, 16), torch.tensor([300, 700])
    known = [[-1, -1], [-1, -1]] if kinds != [1] else [[-1, 2], [-1, -1]]
    labels = None if labels is None else torch.tensor(labels)
    with torch.no_grad():
        expected = old(clip, level, torch.tensor(known)).sample
        torch.testing.assert_close(new(clip, level, labels).sample, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_class", [UNet3DModel, MotionUNet3DModel])
def test_classes_are_taken_over_one_by_one(model_class):
    old = model_class(**EFFICIENT, num_class_embeds=[2, 3]).eval()
    new = model_class(**EFFICIENT, num_class_embeds=[3]).eval()
    new.load_weights_from(old, [0], [[1, None, 0]])
    clip, level = torch.randn(4, 3, 4, 16, 16), torch.tensor([300] * 4)
    with torch.no_grad():
        expected = old(clip, level, torch.tensor([[1, -1], [-1, -1], [0, -1], [-1, -1]])).sample
        seen = new(clip, level, torch.tensor([[0], [1], [2], [-1]])).sample
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5)


def test_new_kind_of_label_starts_without_effect():
    old = UNet3DModel(**EFFICIENT, num_class_embeds=[2]).eval()
    new = UNet3DModel(**EFFICIENT, num_class_embeds=[2, 3]).eval()
    new.load_weights_from(old)
    clip, level = torch.randn(2, 3, 4, 16, 16), torch.tensor([300, 700])
    with torch.no_grad():
        before = old(clip, level, torch.tensor([[0], [1]])).sample
        for density in range(-1, 3):
            torch.testing.assert_close(new(clip, level, torch.tensor([[0, density], [1, density]])).sample, before)


def test_deeper_model_starts_as_the_one_it_grew_from():
    model = build("joint")
    deeper = UNet3DModel(**EFFICIENT, layers_per_block=2).eval()
    deeper.load_weights_from(model)
    with torch.no_grad():
        assert torch.equal(deeper(clip(model), 30).sample, model(clip(model), 30).sample)
    with pytest.raises(ValueError, match="layers_per_block"):
        model.load_weights_from(deeper)


@pytest.mark.parametrize(
    "name, source", [("video", "video"), ("classes", "classes"), ("gated", "video"), ("gated", "gated")]
)
def test_weights_of_another_width_are_refused_and_change_nothing(name, source):
    model, (source_class, config) = build(name), MODELS[source]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="differs"):
        model.load_weights_from(source_class(**{**config, "block_out_channels": [16, 32]}))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "key, value",
    [
        ("temporal_layers", ["conv", "attention"]),
        ("norm_type", "group"),
        ("spatial_attention", [False, False]),
        ("attention_head_dim", 4),
    ],
)
@pytest.mark.parametrize("model_class, start", [(UNet3DModel, 3), (MotionUNet3DModel, 3), (MotionUNet3DModel, 1)])
def test_weights_of_another_configuration_are_refused_though_they_fit(model_class, start, key, value):
    model = model_class(**EFFICIENT)
    start_class = model_class if start == 3 else UNet3DModel
    other = start_class(**{**EFFICIENT, "in_channels": start, "out_channels": start, key: value})
    with pytest.raises(ValueError, match=f"{key} differs"):
        model.load_weights_from(other)


def test_weights_of_the_papers_model_fit_whatever_its_attention_was_asked_to_be():
    """It has attention where the figure has."""
    small = {"block_out_channels": [8, 16], "attention_head_dim": 8, "fusion": "paper"}
    everywhere = {"spatial_attention": [True, True], "temporal_layers": ["both", "both"]}
    nowhere = {"spatial_attention": [False, False], "temporal_layers": ["conv", "conv"]}
    one, other = (MotionUNet3DModel(**small, **attention) for attention in (everywhere, nowhere))
    one.load_weights_from(other)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_baseline_of_the_gated_model_has_as_many_blocks():
    baseline = UNet3DModel(**EFFICIENT, in_channels=1, out_channels=1)
    with pytest.raises(ValueError, match="layers_per_block differs"):
        MotionUNet3DModel(**EFFICIENT, layers_per_block=2).load_weights_from(baseline)


def test_gated_model_uses_motion_once_the_gates_open():
    model = build("gated")
    sample = clip(model)
    changed = sample.clone()
    changed[:, 1:] += 1
    with torch.no_grad():
        assert not torch.allclose(model(sample, 30).sample[:, :1], model(changed, 30).sample[:, :1])


def test_only_a_video_baseline_can_start_the_gated_model():
    with pytest.raises(ValueError, match="video-only baseline"):
        MotionUNet3DModel(**EFFICIENT).load_weights_from(build("joint"))


def test_paper_configurations_have_the_papers_size():
    with torch.device("meta"):
        baseline, motion = UNet3DModel(**PAPER_CONFIG), MotionUNet3DModel(**PAPER_MOTION_CONFIG)
    assert baseline.tower.patch_size == 1 and all(len(stage.attentions) == 2 for stage in baseline.tower.down)
    assert motion.num_parameters() > baseline.num_parameters()


@pytest.mark.parametrize(
    "config, message",
    [
        ({"spatial_attention": [True]}, "one entry for each of the 2 scales"),
        ({"temporal_layers": ["conv", "none"]}, "temporal_layers must be"),
        ({"norm_type": "batch"}, "norm_type must be"),
        ({"attention_head_dim": 5}, "attention_head_dim must be even and divide"),
        ({"attention_head_dim": 1}, "attention_head_dim must be even"),
        ({"layers_per_block": 0}, "layers_per_block must be at least 1"),
        ({"stem_kernel_size": 4}, "stem_kernel_size must be odd"),
    ],
)
@pytest.mark.parametrize("model_class", [UNet3DModel, MotionUNet3DModel])
def test_wrong_configurations_are_named(model_class, config, message):
    with pytest.raises(ValueError, match=message):
        model_class(**{**EFFICIENT, **config})
