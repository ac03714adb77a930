"""Views of a picture: whole, zoomed, mirrored, through windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edge_runtime.errors import OptionError
from edge_runtime.geometry import FrameGeometry
from training.evaluation.evaluate import evaluate
from training.evaluation.options import EvalOptions, parse_scales
from training.evaluation.placing import place, window_starts, zoom
from training.evaluation.predictors import LogitsPredictor, TorchNetwork
from training.normalise import normalise


@pytest.fixture
def dataset(toy):
    return toy.ToyDataset("val", 4)


@pytest.fixture
def image(dataset):
    return dataset.read(0, 0).image


def test_normalise_is_the_formula_in_channels_last(colours):
    frames = torch.randint(0, 256, (2, 5, 6, 3), dtype=torch.uint8)

    images = normalise(frames, colours.MEAN, colours.STD)

    expected = (frames.double() / 255 - torch.tensor(colours.MEAN)) / torch.tensor(colours.STD)
    torch.testing.assert_close(images.double(), expected.permute(0, 3, 1, 2), atol=1e-5, rtol=0)
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("size", "least"), [((48, 64), 0.99), ((32, 32), 0.99), ((12, 64), 0.8), ((12, 16), 0.7)]
)
def test_other_network_sizes_cost_borders_only(toy, dataset, size, least, colours):
    assert evaluate(colours.net_predictor(toy.LABELS, size), dataset).miou > least


def test_letterbox_ignores_the_padding(toy, dataset, colours):
    predictor = colours.net_predictor(toy.LABELS, (64, 64))
    predictor.resize = "letterbox"

    assert evaluate(predictor, dataset).miou > 0.9


def test_logits_are_resized_before_argmax(toy, colours):
    # given: logits that only a bilinear mean decides; nearest would copy one of its neighbours
    row = [[200, 0, 0]] * 3 + [[0, 90, 0]] * 3
    predictor = colours.net_predictor(toy.LABELS, (2, 2))

    mask = predictor.predict(np.array([row, row], np.uint8))

    assert mask.tolist() == [[0, 0, 0, 0, 1, 1]] * 2


@pytest.mark.parametrize(
    ("frame", "network", "resize", "content"),
    [
        ((10, 20), (10, 20), "stretch", (0, 0, 10, 20)),
        ((10, 20), (20, 20), "stretch", (0, 0, 20, 20)),
        ((40, 20), (20, 20), "letterbox", (0, 5, 20, 10)),
    ],
)
def test_place_fills_the_content_and_leaves_black(frame, network, resize, content):
    image = np.full((*frame, 3), 77, np.uint8)

    placed = place(image, FrameGeometry(frame, network, resize))

    top, left, height, width = content
    assert placed.shape == (*network, 3)
    assert (placed[top : top + height, left : left + width] == 77).all()
    assert placed.sum() == 77 * 3 * height * width


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("size", [(24, 32), (25, 40), (7, 100), (100, 9), (1, 1)])
def test_windows_cover_every_pixel_and_stay_inside(size, overlap):
    covered = np.zeros(size, int)

    for top, left in window_starts(size, (16, 16), overlap):
        covered[top : top + 16, left : left + 16] += 1
        assert 0 <= top <= max(size[0] - 16, 0)
        assert 0 <= left <= max(size[1] - 16, 0)

    assert covered.min() >= 1


def test_windows_overlap_at_least_as_asked():
    tops = [top for top, _ in window_starts((100, 10), (20, 10), 0.3)]

    assert (tops[0], tops[-1]) == (0, 80)
    assert max(np.diff(tops)) <= 14


@pytest.mark.parametrize("scale", [0.5, 1, 1.5])
def test_zoom_makes_the_size_that_is_asked(scale):
    assert zoom(np.zeros((20, 30, 3), np.uint8), scale).shape == (20 * scale, 30 * scale, 3)


@pytest.mark.parametrize(
    "options",
    [
        EvalOptions(flip=True),
        EvalOptions(scales=(1.0, 1.0)),
        EvalOptions(scales=(1.0, 2.0)),
        EvalOptions(window=(24, 32)),
        EvalOptions(window=(16, 16), overlap=0.5),
        EvalOptions(window=(16, 16), overlap=0),
        EvalOptions(window=(40, 40)),
        EvalOptions(window=(16, 16), scales=(1.0, 2.0), flip=True),
    ],
    ids=str,
)
def test_views_of_a_network_that_judges_pixels_alone_agree(toy, dataset, options, colours):
    # given: whatever is around a pixel, this network answers the same, so views cannot matter
    predictor, _ = colours.viewed(toy.LABELS, options)

    assert evaluate(predictor, dataset).miou > 0.97


def test_each_view_is_shown_once_and_rounded_to_what_the_network_takes(toy, image, colours):
    predictor, seen = colours.viewed(
        toy.LABELS, EvalOptions(scales=(0.5, 1.0, 1.3), flip=True), multiple=8
    )

    predictor.predict(image)

    assert seen == [(16, 16), (16, 16), (24, 32), (24, 32), (32, 40), (32, 40)]


def test_windows_are_what_the_network_sees(toy, image, colours):
    predictor, seen = colours.viewed(toy.LABELS, EvalOptions(window=(16, 24), overlap=0))

    predictor.predict(image)

    assert seen == [(16, 24)] * 4


class LeftIsGreen(nn.Module):
    """Sees only where a pixel lies: class 1 on the left half, class 0 on the right."""

    def __init__(self, certainty: float) -> None:
        super().__init__()
        self.certainty = nn.Parameter(torch.tensor(certainty))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros_like(image)
        half = image.shape[3] // 2
        logits[:, 1, :, :half] = self.certainty
        logits[:, 0, :, half:] = self.certainty / 2
        return logits


def test_a_mirror_image_is_mirrored_back_before_the_mean(toy, image, colours):
    # given: alone it says 1, 0; its mirror image says 0, 1; the surer class 1 wins both halves
    network = TorchNetwork(LeftIsGreen(4.0), toy.LABELS, colours.MEAN, colours.STD)

    alone = LogitsPredictor(network, (24, 32)).predict(image)
    both = LogitsPredictor(network, (24, 32), options=EvalOptions(flip=True)).predict(image)

    assert (alone[:, :16] == 1).all()
    assert (alone[:, 16:] == 0).all()
    assert (both == 1).all()


class Answers(nn.Module):
    """Gives one class scores after the other, the same for all pixels; the last one stays."""

    def __init__(self, *answers: tuple[float, float, float]) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.answers = list(answers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return torch.tensor(answer).view(1, 3, 1, 1).expand_as(image)


def answered(toy, colours, options, size, *answers):
    """The mask of a black picture of `size`."""
    network = TorchNetwork(Answers(*answers), toy.LABELS, colours.MEAN, colours.STD)
    predictor = LogitsPredictor(network, size, options=options)
    return predictor.predict(np.zeros((*size, 3), np.uint8))


def test_probabilities_are_averaged_not_logits(toy, colours):
    # given: of three views one is boundlessly sure of class 1, two are fairly sure of class 0
    answers = ((0.0, 10.0, -20.0), (2.0, 0.0, -20.0))

    mask = answered(toy, colours, EvalOptions(scales=(1.0, 1.0, 1.0)), (2, 2), *answers)

    # then: the mean logits, 1.3 and 3.3, would say class 1
    assert (mask == 0).all()


def test_windows_average_their_probabilities_where_they_overlap(toy, colours):
    # given: two windows, columns 0 to 15 and 8 to 23; together the second is the surer
    answers = ((10.0, 9.0, 0.0), (0.0, 0.5, 5.0))

    mask = answered(toy, colours, EvalOptions(window=(16, 16), overlap=0.5), (16, 24), *answers)

    # then: the sums of logits, 10, 9.5 and 5, would say class 0 in the middle
    assert (mask[:, :8] == 0).all()
    assert (mask[:, 8:] == 2).all()


def test_views_weigh_the_same_however_many_windows_they_take(toy, colours):
    # given: zoom 1 is one window that says class 0 at 0.9; at zoom 2 nine windows say class 1 at
    # 0.7, four of which overlap in the middle
    answers = ((2.2, 0.0, -20.0), (0.0, 0.85, -20.0))
    options = EvalOptions(window=(16, 16), overlap=0.5, scales=(1.0, 2.0))

    mask = answered(toy, colours, options, (16, 16), *answers)

    assert (mask == 0).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"overlap": 1.0}, "overlap is 1; expected a share from 0 to below 1"),
        ({"scales": ()}, "scales are none; expected one or more"),
        ({"scales": (1.0, 0.0)}, "scales are 1, 0; expected one or more from 0.1 to 8"),
        ({"window": (8, 8), "size": (8, 8)}, "leave --size and --resize out"),
        ({"threads": 0}, "threads is 0; expected 1 or more"),
    ],
)
def test_options_that_cannot_work_are_said(values, message):
    with pytest.raises(OptionError, match=message):
        EvalOptions(**values)


def test_scales_are_read_with_commas_or_spaces():
    assert parse_scales("0.75,1.0, 1.25") == parse_scales("0.75 1 1.25") == (0.75, 1.0, 1.25)
    with pytest.raises(OptionError, match="scales 'big' are not understood"):
        parse_scales("big")
