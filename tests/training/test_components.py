"""Clips of simulated cultures, and learning rate in time."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator, PartialState
from launching import ROOT

from cellvid_diffusers.data import Scales
from cellvid_diffusers.training_utils import DiffusionObjective

sys.path.insert(0, str(ROOT / "training"))

import components
import train
from components import LinearInTime, load_clips
from config import load_config
from loss_log import Progress


def test_a_culture_of_other_options_is_another_one(tmp_path):
    options = ["--output_dir", str(tmp_path), "--resolution", "16", "--num_frames", "3", "--simulate.size", "16"]
    options += ["--simulate.num_frames", "3", "--simulate.num_videos"]
    lengths = [len(load_clips(load_config([*options, count]), Accelerator(cpu=True))) for count in ("3", "5", "3")]
    assert lengths == [2, 4, 2] and len(list(tmp_path.iterdir())) == 2


def test_a_student_of_one_scale_has_none_by_cell_type(tmp_path):
    teacher = {"video_mean": 0.4, "video_std": 0.1, "flow_scale": 0.7, "flow_clip": 3.0}
    (tmp_path / "model_index.json").write_text(json.dumps(teacher))
    options = ["--output_dir", str(tmp_path), "--resolution", "16", "--num_frames", "3", "--simulate.size", "16"]
    options += ["--simulate.num_frames", "3", "--simulate.num_videos", "3", "--scale_by_cell_type"]
    options += ["--class_columns", "{cell_type: [neuron]}", "--teacher_model_name_or_path", str(tmp_path)]
    clips = load_clips(load_config(options), Accelerator(cpu=True))
    assert clips.scales_of(clips[0]["class_labels"]) == Scales(0.4, 0.1, 0.7, 3.0)


def test_a_student_has_its_teachers_cell_types(tmp_path):
    of_type = {"u373": 0.4, "t98g": 0.5}
    teacher = {"video_mean": of_type, "video_std": of_type, "flow_scale": 0.7, "flow_clip": 3.0}
    (tmp_path / "model_index.json").write_text(json.dumps(teacher))
    options = ["--output_dir", str(tmp_path), "--resolution", "16", "--num_frames", "3", "--simulate.size", "16"]
    options += ["--simulate.num_frames", "3", "--simulate.num_videos", "3", "--timesteps", "[999, 500]"]
    options += ["--pretrained_model_name_or_path", str(tmp_path), "--class_columns"]
    for columns in ("{cell_type: [neuron]}", "{density: [moderate]}", "{cell_type: [t98g]}"):
        with pytest.raises(ValueError, match=r"the classes of class_columns, .* \['t98g', 'u373'\]"):
            load_clips(load_config([*options, columns]), Accelerator(cpu=True))


def test_a_student_of_few_steps_has_a_teacher_that_knows_its_classes(tmp_path):
    known = {"class_names": {"cell_type": ["u373", "t98g"], "density": ["sparse"]}}
    (tmp_path / "model_index.json").write_text(json.dumps(known))
    options = ["--timesteps", "[999, 500]", "--pretrained_model_name_or_path", str(tmp_path), "--class_columns"]
    config = load_config([*options, "{cell_type: [t98g, u373]}"])
    objective = DiffusionObjective(torch.ones(10), "v_prediction")
    with pytest.raises(ValueError, match=r"a teacher must know the classes of class_columns"):
        components.build_teacher(torch.nn.Linear(1, 1), objective, config, torch.device("cpu"))


def test_a_teacher_knows_all_noise_levels():
    student = str(ROOT / "checkpoints" / "cellvid-tiny-4-steps")
    for words in (["--teacher_model_name_or_path"], ["--timesteps", "[999, 500]", "--pretrained_model_name_or_path"]):
        with pytest.raises(ValueError, match=r"a teacher must know all noise levels, .* was distilled to \[999"):
            components.scales_of_teacher(load_config([*words, student]))


@pytest.mark.parametrize(
    ("device", "processes", "threads", "noted"),
    [("cpu", 1, 1, True), ("cpu", 1, 2, False), ("cpu", 2, 1, False), ("cuda", 1, 1, False)],
)
def test_cores_left_idle_are_noted(device, processes, threads, noted, monkeypatch, capsys):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    train.note_idle_cores(SimpleNamespace(device=torch.device(device), num_processes=processes))
    assert ("Training on one of 8 cores" in capsys.readouterr().out) == noted


def test_classes_are_found_again_by_their_names():
    known = {"cell_type": ["t98g", "u373"], "density": ["sparse", "dense"]}
    columns = {"cell_type": ["u373", "neuron", "t98g"], "maturity": ["mature"]}
    assert components.shared_labels(columns, known) == ([0, None], [[1, None, 0], [None]])


def test_two_processes_draw_the_clips_of_one(tmp_path):
    options = ["--output_dir", str(tmp_path), "--resolution", "16", "--num_frames", "3", "--simulate.size", "16"]
    options += ["--simulate.num_frames", "3", "--simulate.num_videos", "9", "--clips_on_device", "true"]
    config = load_config([*options, "--train_batch_size", "1"])
    clips = load_clips(config, Accelerator(cpu=True))

    def draw(index: int, processes: int) -> list[torch.Tensor]:
        accelerator = SimpleNamespace(device=torch.device("cpu"), process_index=index)
        shared = {"clips": clips, "accelerator": accelerator, "progress": Progress(), "batch_of_all": processes}
        run = SimpleNamespace(config=config | {"max_train_steps": 6 // processes}, **shared)
        return [batch["video"] for batch in train.batches(run)]

    alone, together = draw(0, 1), [draw(index, 2) for index in range(2)]
    assert not any(torch.equal(alone[k], alone[k + 1]) for k in (0, 2, 4))
    for k in range(6):
        assert torch.equal(together[k % 2][k // 2], alone[k])


@pytest.mark.parametrize("other", [{"beta_end": 0.01}, {"rescale_betas_zero_snr": True}])
def test_a_teacher_knows_this_runs_noise_levels(other):
    own = {"num_train_timesteps": 1000, "beta_schedule": "linear", "prediction_type": "v_prediction"}
    components.check_schedule("theirs", own | {"beta_end": 0.02}, own)
    with pytest.raises(ValueError, match="must have been trained at this run's noise levels, those of theirs were not"):
        components.check_schedule("theirs", own | other, own)


def test_channels_are_those_of_the_clips():
    with pytest.raises(ValueError, match="must be 3 with flow true, got 3 and 1"):
        components.build_model(load_config(["--model.out_channels", "1"]))


def test_a_model_of_no_known_type_is_refused():
    with pytest.raises(ValueError, match=r"model.type must be among \['UNet3DModel', .*, got 'UNet'"):
        components.build_model(load_config(["--model.type", "UNet"]))


@pytest.mark.parametrize("key, value", [("prediction_type", "epsilon"), ("beta_schedule", "linear")])
def test_a_teacher_that_predicts_something_else_is_refused(key, value):
    student = load_config([])["scheduler"]
    components.check_schedule("theirs", student, student)
    with pytest.raises(ValueError, match=f"this run's {key} .*, theirs has {value}"):
        components.check_schedule("theirs", student | {key: value}, student)


@pytest.fixture
def clock(monkeypatch):
    """A list whose last element is the time in seconds."""
    times = [1000.0]
    monkeypatch.setattr(components.time, "monotonic", lambda: times[-1])
    return times


def make(minutes=10.0, warmup=4):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    return LinearInTime(optimizer, minutes, warmup)


def steps(schedule, count=1):
    for _ in range(count):
        schedule.optimizer.step()
        schedule.step()
    return schedule.get_last_lr()[0]


def test_all_processes_go_by_the_main_ones_clock(clock, monkeypatch):
    monkeypatch.setattr(PartialState(), "num_processes", 2)
    monkeypatch.setattr(components, "broadcast", lambda own: torch.full_like(own, 5000.0))
    assert components.main_clock() == 5000.0
    schedule = make()
    clock.append(9000.0)
    assert steps(schedule, 4) == pytest.approx(2.0)


def test_the_rate_rises_in_steps_and_falls_in_time(clock):
    schedule = make()
    assert [steps(schedule) for _ in range(4)] == pytest.approx([0.8, 1.2, 1.6, 2.0])
    clock.append(1000 + 150)
    assert steps(schedule) == pytest.approx(1.5)
    clock.append(1000 + 600)
    assert steps(schedule) == 0


def test_an_interrupted_run_goes_on_from_its_rate_and_a_finished_one_anew(clock):
    schedule = make()
    steps(schedule, 5)
    clock.append(1000 + 240)
    steps(schedule)
    interrupted = schedule.state_dict()
    clock.append(1000 + 596)
    steps(schedule)
    finished = schedule.state_dict()

    clock.append(50.0)  # another machine's clock
    resumed = make(minutes=5)
    resumed.load_state_dict(interrupted)
    assert steps(resumed) == pytest.approx(1.2)
    clock.append(50 + 150)
    assert steps(resumed) == pytest.approx(0.6)

    clock.append(0.0)
    again = make()
    again.load_state_dict(finished)
    assert steps(again) == pytest.approx(2)
