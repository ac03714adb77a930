"""What a student is told by its teacher, and which teachers are refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edge_runtime.cli import main
from edge_runtime.errors import OptionError
from edge_runtime.labels import CAMVID_11, STREET_8
from training.checkpoint import load_checkpoint, save_checkpoint
from training.distill import NetTeacher, distillation, open_teacher, thinned
from training.model.hyperseg import HyperSeg
from training.options import AugmentOptions
from training.presets import preset
from training.state import load_state

CPU = torch.device("cpu")
PLAIN = AugmentOptions(crop=(16, 24), jitter=0.0, blur=0.0, noise=0.0)


def two(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(2, 4, 5, 6, generator=generator) for _ in range(2))
    return student, teacher


def test_channel_wise_equals_its_definition():
    student, teacher = two()

    found = distillation(student, teacher, "cwd", 4.0)

    expected = 0.0
    for image in range(2):
        for channel in range(4):
            taught = (teacher[image, channel].flatten() / 4).softmax(0)
            learned = (student[image, channel].flatten() / 4).softmax(0)
            expected += float((taught * (taught / learned).log()).sum()) * 16
    assert found.item() == pytest.approx(expected / 8, rel=1e-4)


def test_per_pixel_equals_its_definition():
    student, teacher = two()

    found = distillation(student, teacher, "logits", 2.0)

    taught, learned = (teacher / 2).softmax(1), (student / 2).softmax(1)
    expected = (taught * (taught / learned).log()).sum(1).mean() * 4
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("kind", ["cwd", "logits"])
def test_equal_logits_are_no_distance_and_others_some(kind):
    student, teacher = two()

    assert distillation(student, student, kind, 4.0).item() == pytest.approx(0, abs=1e-5)
    assert distillation(student, teacher, kind, 4.0).item() > 0.1


def test_teacher_of_another_resolution_is_resized():
    student, teacher = two()
    larger = F.interpolate(student, scale_factor=2, mode="nearest")

    assert distillation(student, larger, "logits", 1.0).item() == pytest.approx(0, abs=1e-5)
    assert distillation(student, teacher, "logits", 1.0).item() > 0.1


def test_comparison_is_at_a_quarter_of_the_size():
    fine = torch.arange(2 * 8 * 12.0).reshape(1, 2, 8, 12)
    coarse = torch.zeros(1, 2, 2, 3)

    student, teacher = thinned(fine, fine)
    _, small = thinned(fine, coarse)

    assert student.shape == (1, 2, 2, 3)
    assert student[0, 0, 0, 0] == fine[0, 0, :4, :4].mean()
    assert torch.equal(student, teacher)
    assert small is coarse


class Oracle(nn.Module):
    """Sees the three colours of the toy's classes."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 8 * image


def test_a_student_without_labels_learns_from_its_teacher(toy, tmp_path):
    # given: a weight on the labels' loss that is nothing beside the teacher's
    teacher = NetTeacher(Oracle(), (0.5,) * 3, (0.5,) * 3)
    options = {"steps": 60, "validate_every": 60, "distill": "logits", "distill_weight": 1e4}

    outcome = toy.run(
        tmp_path, teacher=teacher, distill_temperature=2.0, ema=0.0, augment=PLAIN, **options
    )

    assert outcome.best_miou > 0.85


def test_training_with_a_teacher_resumes_exactly(toy, tmp_path):
    teacher = NetTeacher(Oracle(), (0.5,) * 3, (0.5,) * 3)
    toy.run(tmp_path / "whole", teacher=teacher)

    toy.run(tmp_path / "parts", teacher=teacher, minutes=1e-9)
    toy.run(tmp_path / "parts", teacher=teacher, resume=True)

    whole, parts = (load_state(tmp_path / name).net for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    torch.manual_seed(3)
    net = HyperSeg(preset("street-n"))
    with torch.no_grad():  # statistics of real activations, so that logits differ over the picture
        for _ in range(3):
            net.train()(torch.randn(4, 3, 64, 64))
    save_checkpoint(path, net, name="teacher", options={"size": [64, 64]})
    return path


def frames() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.slow
def test_checkpoint_and_its_export_teach_the_same(checkpoint, tmp_path):
    exported = tmp_path / "teacher.onnx"
    arguments = ["export", str(checkpoint), "--size", "64x64", "--head", "logits"]
    assert main([*arguments, "-o", str(exported)]) == 0

    with open_teacher(checkpoint, STREET_8, device=CPU) as teacher:
        first = teacher.logits(frames())
    with open_teacher(exported, STREET_8, device=CPU, threads=1) as teacher:
        second = teacher.logits(frames())

    size = tuple(second.shape[2:])
    first = F.interpolate(first, size, mode="bilinear", align_corners=False)
    assert first.shape[:2] == second.shape[:2] == (2, 8)
    agreement = (first.argmax(1) == second.argmax(1)).float().mean()
    assert agreement > 0.97
    net, _ = load_checkpoint(checkpoint)
    assert not first.requires_grad
    assert net.config.labels == STREET_8.name


def test_teacher_of_other_classes_is_refused(checkpoint):
    with (
        pytest.raises(OptionError, match=r"knows street-8 \(8 classes\), the data .* camvid-11"),
        open_teacher(checkpoint, CAMVID_11, device=CPU),
    ):
        pass


def test_model_that_outputs_masks_cannot_teach():
    from edge_runtime.zoo import resolve_model

    with (
        pytest.raises(OptionError, match=r"outputs a mask, .* export the teacher with --head"),
        open_teacher(resolve_model("street-edge-n"), STREET_8, device=CPU),
    ):
        pass
