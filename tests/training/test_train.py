"""training/train.py, run as a user does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from launching import ROOT, run_script

from cellvid_diffusers import CellVideoPipeline

sys.path.insert(0, str(ROOT / "training"))
from config import load_config

TINY = {
    "simulate.num_videos": 4,
    "simulate.size": 16,
    "simulate.num_frames": 5,
    "resolution": 16,
    "num_frames": 4,
    "model.block_out_channels": "[8, 16]",
    "model.spatial_attention": "[false, true]",
    "model.temporal_layers": "[conv, both]",
    "model.attention_head_dim": 8,
    "train_batch_size": 2,
    "max_train_steps": 4,
    "logging_steps": 1,
    "checkpointing_steps": 2,
    "validation_steps": 4,
    "validation_clips": 1,
    "num_inference_steps": 2,
}


def launch(
    out: Path,
    *,
    processes: int = 1,
    fails: bool = False,
    precision: str | None = None,
    interrupt_at: Path | None = None,
    **options,
) -> subprocess.CompletedProcess:
    """Run the training script with tiny options over the smoke configuration: by a launcher, if it has a say."""
    words = ["--output_dir", out, *(word for key, value in {**TINY, **options}.items() for word in (f"--{key}", value))]
    launcher: list[object] = []
    if processes > 1:  # accelerate's own launcher wants MPI for several processes without a GPU
        launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", processes]
    elif precision is not None:
        launcher = ["accelerate.commands.launch", "--cpu", "--num_machines", 1, "--num_processes", 1]
        launcher += ["--mixed_precision", precision, "--dynamo_backend", "no"]
    if not launcher:
        result = run_script("training/train.py", *words, interrupt_at=interrupt_at)
    else:
        command = [str(word) for word in (sys.executable, "-m", *launcher, ROOT / "training" / "train.py", *words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert (result.returncode != 0) == fails, result.stderr[-3000:]
    return result


def read_log(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return CellVideoPipeline.from_pretrained(out).unet.state_dict()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Four steps in one go."""
    out = tmp_path_factory.mktemp("train") / "run"
    launch(out)
    return out


@pytest.mark.slow
class TestTraining:
    def test_leaves_a_pipeline(self, trained):
        pipe = CellVideoPipeline.from_pretrained(trained)
        pipe.set_progress_bar_config(disable=True)
        out = pipe(num_frames=4, num_inference_steps=2, generator=torch.Generator().manual_seed(0))
        assert out.frames.shape == (1, 4, 16, 16) and np.isfinite(out.flow).all()
        assert pipe.config.flow_scale > 0 and "first_frame" in pipe.config.noise_patterns

    def test_leaves_a_log(self, trained):
        log = read_log(trained)
        assert [line["step"] for line in log] == [1, 2, 3, 4]
        assert [line["clips"] for line in log] == [2, 4, 6, 8]
        assert {"loss", "learning_rate", "seconds"} <= set(log[0])

    def test_leaves_samples_and_few_checkpoints(self, trained):
        assert {path.suffix for path in (trained / "samples").iterdir()} == {".gif", ".png"}
        assert sorted(path.name for path in trained.glob("checkpoint*")) == ["checkpoint-2", "checkpoint-4"]

    def test_each_checkpoint_holds_the_pipeline_of_its_step(self, trained):
        early, late = weights(trained / "checkpoint-2"), weights(trained / "checkpoint-4")
        assert all(torch.equal(value, late[name]) for name, value in weights(trained).items())
        assert not all(torch.equal(value, late[name]) for name, value in early.items())

    def test_leaves_its_options(self, trained):
        config = load_config(["--config", str(trained / "config.yaml")])
        assert config["num_frames"] == 4 and config["model"]["block_out_channels"] == [8, 16]

    def test_resumed_run_equals_one_that_never_stopped(self, trained, tmp_path):
        launch(tmp_path, max_train_steps=2, validation_steps=100)
        with open(tmp_path / "train_log.jsonl", "a") as log:  # as left by a run that was killed after its checkpoint
            log.write('{"step": 3, "loss": 0.0}\n{"step": 4, "lo')
        launch(tmp_path, resume_from_checkpoint="latest", validation_steps=100)
        assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 4]
        np.testing.assert_allclose(
            [line["loss"] for line in read_log(tmp_path)], [line["loss"] for line in read_log(trained)], rtol=1e-5
        )
        for name, value in weights(trained).items():
            torch.testing.assert_close(weights(tmp_path)[name], value, rtol=1e-4, atol=1e-6, msg=name)

    def test_new_run_leaves_the_checkpoints_of_another_alone(self, tmp_path):
        (tmp_path / "checkpoint-5500").mkdir()
        message = "output_dir must hold no checkpoints of another run, got checkpoint-5500"
        assert message in launch(tmp_path, fails=True).stderr
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5500"]

    def test_asking_for_the_latest_of_no_checkpoints_starts_anew(self, tmp_path):
        launch(tmp_path, max_train_steps=1, validation_steps=100, resume_from_checkpoint="latest")
        assert [line["step"] for line in read_log(tmp_path)] == [1]

    def test_options_given_on_resuming_hold(self, tmp_path):
        launch(tmp_path, lr_scheduler="cosine", lr_warmup_steps=0)
        again = {"resume_from_checkpoint": "latest", "max_train_steps": 8, "lr_scheduler": "cosine"}
        launch(tmp_path, **again, lr_warmup_steps=0, learning_rate=1e-5, ema_max_decay=0.5)
        rates = [tick["learning_rate"] for tick in read_log(tmp_path)]
        assert rates[0] > 5e-4
        assert rates[4] == pytest.approx(1e-5 * (1 + np.cos(np.pi * 5 / 8)) / 2, rel=1e-3)
        state = torch.load(tmp_path / "checkpoint-8" / "optimizer.bin")
        assert [group["initial_lr"] for group in state["param_groups"]] == [1e-5]

    @pytest.mark.parametrize("schedules", [("cosine", "linear_in_time"), ("linear_in_time", "cosine")])
    def test_another_schedule_begins_where_the_other_stopped(self, tmp_path, schedules):
        options = {"lr_warmup_steps": 0, "max_minutes": 60, "validation_steps": 0, "learning_rate": 1e-3}
        launch(tmp_path, lr_scheduler=schedules[0], max_train_steps=4, **options)
        launch(tmp_path, lr_scheduler=schedules[1], max_train_steps=8, resume_from_checkpoint="latest", **options)
        rates = [tick["learning_rate"] for tick in read_log(tmp_path)]
        half = 1e-3 * (1 + np.cos(np.pi * 5 / 8)) / 2
        assert rates[4] == pytest.approx(half if schedules[1] == "cosine" else 1e-3, rel=0.02)

    def test_another_optimizer_is_refused_in_a_line(self, tmp_path):
        launch(tmp_path, max_train_steps=2, validation_steps=0)
        again = launch(tmp_path, resume_from_checkpoint="latest", optimizer="muon", validation_steps=0, fails=True)
        assert "ValueError: checkpoint must be of the same model and optimizer, checkpoint-2 is not" in again.stderr

    def test_another_network_or_prediction_is_refused_in_a_line(self, tmp_path):
        launch(tmp_path, max_train_steps=2, validation_steps=0)
        again = {"resume_from_checkpoint": "latest", "validation_steps": 0, "fails": True}
        for other in ({"scheduler.prediction_type": "sample"}, {"model.block_out_channels": "[8, 24]"}):
            last = launch(tmp_path, **again, **other).stderr.rstrip().splitlines()[-1]
            assert "checkpoint must be of the same model and optimizer, checkpoint-2 is not" in last
        assert [line["step"] for line in read_log(tmp_path)] == [1, 2]

    def test_a_run_that_diverged_leaves_no_pipeline(self, tmp_path):
        wild = {"learning_rate": 1e12, "lr_warmup_steps": 0, "max_grad_norm": 1e30, "logging_steps": 100}
        failed = launch(tmp_path, **wild, validation_steps=0, checkpointing_steps=0, max_train_steps=12, fails=True)
        assert "FloatingPointError: loss must be finite" in failed.stderr
        assert not (tmp_path / "model_index.json").exists() and not list(tmp_path.glob("checkpoint*"))

    def test_a_short_run_has_a_log(self, tmp_path):
        launch(tmp_path, max_train_steps=3, logging_steps=100, checkpointing_steps=0, validation_steps=0)
        assert [line["step"] for line in read_log(tmp_path)] == [3]

    def test_the_launcher_chooses_the_precision(self, tmp_path):
        fast = {"lr_warmup_steps": 0, "learning_rate": 0.01}  # the first prediction is zero in any precision
        launch(tmp_path, **fast, precision="bf16")
        launch(tmp_path / "plain", **fast)
        assert read_log(tmp_path)[-1]["loss"] != read_log(tmp_path / "plain")[-1]["loss"]

    def test_resuming_from_an_earlier_checkpoint_drops_the_later_ones(self, tmp_path):
        launch(tmp_path, checkpoints_total_limit=4, checkpointing_steps=1, validation_steps=100)
        options = {"checkpoints_total_limit": 2, "checkpointing_steps": 1, "max_train_steps": 3}
        launch(tmp_path, resume_from_checkpoint=tmp_path / "checkpoint-1", validation_steps=100, **options)
        assert sorted(path.name for path in tmp_path.glob("checkpoint*")) == ["checkpoint-2", "checkpoint-3"]
        assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3]

    @pytest.mark.parametrize(("before", "after"), [(4, 1), (1, 3)])
    def test_a_run_resumed_in_other_batches_takes_the_steps_that_are_left(self, tmp_path, before, after):
        launch(tmp_path, max_train_steps=2, train_batch_size=before, validation_steps=100)
        launch(tmp_path, resume_from_checkpoint="latest", train_batch_size=after, validation_steps=100)
        assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 4]
        assert read_log(tmp_path)[-1]["clips"] == 2 * before + 2 * after

    def test_a_run_resumed_with_other_accumulation_takes_whole_steps(self, tmp_path):
        options = {"train_batch_size": 1, "checkpointing_steps": 1, "validation_steps": 100}
        launch(tmp_path, max_train_steps=2, **options)
        options |= {"resume_from_checkpoint": "checkpoint-1", "gradient_accumulation_steps": 2, "max_train_steps": 3}
        launch(tmp_path, **options)
        assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3]
        assert read_log(tmp_path)[-1]["clips"] == 1 + 2 * 2

    def test_a_run_that_left_no_checkpoint_leaves_no_line_in_the_next_ones_log(self, tmp_path):
        (tmp_path / "train_log.jsonl").write_text('{"step": 1, "loss": 0.0}\n')
        launch(tmp_path, max_train_steps=1, validation_steps=100)
        assert ["clips" in line for line in read_log(tmp_path)] == [True]

    def test_publishes_the_pipeline_and_nothing_else(self, trained, hub):
        launch(trained, resume_from_checkpoint="latest", push_to_hub=True, hub_model_id="tester/run")
        files = set(hub.repository("models", "tester/run").at("main").files) - {".gitattributes"}
        configurations = {"model_index.json", "scheduler/scheduler_config.json", "unet/config.json"}
        assert files == {"README.md", "unet/diffusion_pytorch_model.safetensors", *configurations}

    def test_a_name_that_the_hub_refuses_costs_no_training(self, tmp_path, hub):
        options = {"push_to_hub": True, "hub_model_id": "tester/not valid"}
        assert "not valid" in launch(tmp_path, fails=True, **options).stderr
        assert not (tmp_path / "train_log.jsonl").exists()

    def test_stops_when_time_is_up(self, tmp_path):
        launch(tmp_path, max_train_steps=1000000, max_minutes=0.05, validation_steps=1000000)
        last = read_log(tmp_path)[-1]["step"]
        assert 0 < last < 1000000
        assert (tmp_path / f"checkpoint-{last}").is_dir() and (tmp_path / "model_index.json").is_file()

    def test_an_interrupted_run_can_be_resumed(self, tmp_path):
        endless = {"max_train_steps": 1_000_000, "validation_steps": 0, "checkpointing_steps": 0}
        told = launch(tmp_path, **endless, interrupt_at=tmp_path / "train_log.jsonl").stdout
        assert "Stopping after this step" in told
        last = read_log(tmp_path)[-1]["step"]
        assert (tmp_path / f"checkpoint-{last}").is_dir() and (tmp_path / "model_index.json").is_file()
        launch(tmp_path, **endless | {"max_train_steps": last + 1}, resume_from_checkpoint="latest")
        assert [line["step"] for line in read_log(tmp_path)] == list(range(1, last + 2))

    def test_clips_drawn_on_the_device_do_not_depend_on_where_a_run_stopped(self, tmp_path):
        options = {"clips_on_device": True, "validation_steps": 100}
        launch(tmp_path / "whole", **options)
        launch(tmp_path / "parts", max_train_steps=2, **options)
        launch(tmp_path / "parts", resume_from_checkpoint="latest", **options)
        losses = [[line["loss"] for line in read_log(tmp_path / name)] for name in ("whole", "parts")]
        assert len(set(losses[0])) == 4
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)

    def test_clips_drawn_on_the_device_are_shared_out(self, tmp_path):
        options = {"clips_on_device": True, "max_train_steps": 2, "train_batch_size": 1}
        launch(tmp_path, processes=2, **options)
        assert [line["clips"] for line in read_log(tmp_path)] == [2, 4]

    def test_learning_rate_ends_with_the_time(self, tmp_path):
        options = {"lr_scheduler": "linear_in_time", "lr_warmup_steps": 2, "max_train_steps": 1000000}
        options |= {"checkpointing_steps": 0, "validation_steps": 0}  # which would take time after the last rate
        launch(tmp_path, max_minutes=0.1, learning_rate=1, **options)
        rates = [line["learning_rate"] for line in read_log(tmp_path)]
        assert rates[0] < 0.7 < max(rates) < 1 and rates[-1] < 0.1
        assert rates[5:] == sorted(rates[5:], reverse=True)

    def test_a_student_takes_its_own_steps(self, trained, tmp_path):
        options = {"timesteps": "[999, 700]", "teacher_steps": 3, "sampler": "ddim", "seed": 1}
        launch(tmp_path, pretrained_model_name_or_path=trained, **options)
        pipe, teacher = (CellVideoPipeline.from_pretrained(folder) for folder in (tmp_path, trained))
        for name in ("video_mean", "video_std", "flow_scale", "flow_clip"):  # those of its own culture are others
            assert pipe.config[name] == teacher.config[name], name
        pipe(num_frames=4, generator=torch.Generator().manual_seed(0))
        assert pipe.scheduler.timesteps.tolist() == [999, 700]
        assert any((value != weights(trained)[name]).any() for name, value in weights(tmp_path).items())

    def test_weights_that_know_more_teach_under_much_noise(self, trained, tmp_path):
        options = {"teacher_model_name_or_path": trained, "teacher_level": 1, "flow_weight": 0, "learning_rate": 0}
        launch(tmp_path, pretrained_model_name_or_path=trained, seed=1, class_dropout=0, **options)
        assert all(line["loss"] < 1e-6 for line in read_log(tmp_path))  # it predicts what its teacher does
        pipe, teacher = (CellVideoPipeline.from_pretrained(folder) for folder in (tmp_path, trained))
        assert pipe.config.flow_scale == teacher.config.flow_scale

    def test_two_processes_share_the_work(self, tmp_path):
        launch(tmp_path, processes=2, max_train_steps=2, train_batch_size=1)
        assert [line["clips"] for line in read_log(tmp_path)] == [2, 4]

    def test_two_processes_go_by_one_clock(self, tmp_path):
        options = {"lr_scheduler": "linear_in_time", "lr_warmup_steps": 0, "max_minutes": 0.05, "logging_steps": 1}
        options |= {"max_train_steps": 100_000, "checkpointing_steps": 100_000, "learning_rate": 1e-3}
        launch(tmp_path, processes=2, **options)
        rates = [line["learning_rate"] for line in read_log(tmp_path)]
        assert rates == sorted(rates, reverse=True) and 0 <= rates[-1] < 2e-4

    def test_two_processes_wait_for_each_others_checkpoints(self, tmp_path):
        launch(tmp_path, processes=2, max_train_steps=8, train_batch_size=1, checkpointing_steps=1)
        for step in (7, 8):
            assert len(list((tmp_path / f"checkpoint-{step}").glob("random_states_*.pkl"))) == 2

    def test_help_lists_the_options(self):
        told = run_script("training/train.py", "--help")
        assert told.returncode == 0 and "train_batch_size: 8" in told.stdout and "config.py" in told.stdout

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"learning_rat": 1}, "did you mean 'learning_rate'"),
            ({"scheduler.prediction_type": "v"}, "prediction_type must be one of"),
            ({"dataset_name": "no/such/data"}, "no/such/data"),
            (
                {"lr_scheduler": "linear_in_time", "max_minutes": "null"},
                "lr_scheduler linear_in_time needs max_minutes, got None",
            ),
            ({"timesteps": "[999, 500]", "sampler": "ddim"}, "timesteps needs a teacher"),
            (
                {"teacher_model_name_or_path": ROOT / "checkpoints" / "cellvid-tiny"},
                "a teacher must know the classes of class_columns",
            ),
            (
                {"class_columns": "{cell_type: [u373]}"},  # simulated cells are neurons
                "class_columns must name classes of the rows, got ['u373']: no row has such a cell_type",
            ),
            ({"clips_on_device": True, "preload": False}, "rows must be preloaded, got preload=False"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path, options, message):
        assert message in launch(tmp_path, fails=True, **options).stderr
