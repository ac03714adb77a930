"""Rules files, regions on the mask, and states that neither flicker nor pretend."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import OptionError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.labels import CAMVID_11, CITYSCAPES_19
from edge_runtime.options import RunOptions
from edge_runtime.result import Result
from edge_runtime.rules import Region, Rule, RuleBook, RuleSet, read_rules
from edge_runtime.rules.regions import RegionGrid, polygon_mask

SECOND = 10**9
PEDESTRIAN, ROAD, VOID = CAMVID_11.names.index("Pedestrian"), CAMVID_11.names.index("Road"), 255
LEFT = Region("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
RIGHT = Region("right", ((0.5, 0), (1, 0), (1, 1), (0.5, 1)))
STRETCH = FrameGeometry((100, 200), (10, 20), "stretch")


def result(mask=None, time_s=0.0, state="ok", geometry=STRETCH, source="driver", pts_s=None):
    return Result(
        index=0,
        pts_ns=None if pts_s is None else round(pts_s * SECOND),
        state=state,
        timestamp_source=source,
        capture_ns=round(time_s * SECOND),
        geometry=geometry,
        mask=mask,
    )


def mask_of(pedestrian_columns):
    """Road, with a person as wide as so many of 20 columns, from the left."""
    mask = np.full((10, 20), ROAD, np.uint8)
    mask[:, :pedestrian_columns] = PEDESTRIAN
    return mask


def book_of(**rule):
    rules = RuleSet((LEFT, RIGHT), (Rule(name="person", classes="Pedestrian", **rule),))
    return RuleBook(rules, CAMVID_11)


def play(book, *frames):
    """States and events of frames (time_s, columns), None a stale one, "lost" no signal at all."""
    states, events = [], []
    for time_s, columns in frames:
        if columns == "lost":
            evaluation = book.evaluate(result(None, time_s, "no-signal"))
        elif columns is None:
            evaluation = book.evaluate(result(None, time_s, "stale"))
        else:
            evaluation = book.evaluate(result(mask_of(columns), time_s))
        states.append(evaluation.states["person"].state)
        events += [
            (event.before, event.state, event.time_ns / SECOND) for event in evaluation.events
        ]
    return states, events


# Regions


def test_polygon_mask_takes_the_pixels_whose_centres_are_inside():
    triangle = polygon_mask(((0, 0), (1, 0), (0, 1)), (4, 4))

    # Centres on the diagonal x + y = 4 belong to one side only, as for every pixel.
    assert triangle.astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("size", [(7, 9), (10, 20), (64, 33)])
def test_polygons_that_tile_the_frame_tile_its_pixels(size):
    # given three polygons that share edges and a corner
    parts = (
        ((0, 0), (1, 0), (0.3, 0.4)),
        ((0, 0), (0.3, 0.4), (1, 1), (0, 1)),
        ((1, 0), (1, 1), (0.3, 0.4)),
    )

    covered = sum(polygon_mask(part, size).astype(int) for part in parts)

    assert np.array_equal(covered, np.ones(size, int))


def test_polygon_thinner_than_a_pixel_still_has_pixels():
    assert polygon_mask(((0.9, 0.1), (1, 0.1), (1, 0.11)), (4, 4)).sum() == 1


def test_ratios_are_shares_of_the_region_with_void_in_the_denominator():
    mask = mask_of(5)
    mask[:, 10:15] = VOID

    grid = RegionGrid((LEFT, RIGHT), len(CAMVID_11))
    ratios = grid.ratios(mask, STRETCH)

    assert ratios["frame"][PEDESTRIAN] == 0.25
    assert ratios["left"][PEDESTRIAN] == 0.5
    assert ratios["right"][PEDESTRIAN] == 0.0
    assert ratios["right"].sum() == 0.5


def test_letterbox_padding_belongs_to_no_region():
    # given a wide frame in a square network input: rows 5 to 14 of 20 are the frame
    geometry = FrameGeometry((100, 200), (20, 20), "letterbox")
    mask = np.full((20, 20), ROAD, np.uint8)
    mask[5:15, 10:] = PEDESTRIAN

    ratios = RegionGrid((LEFT, RIGHT), len(CAMVID_11)).ratios(mask, geometry)

    assert (ratios["right"][PEDESTRIAN], ratios["right"][ROAD]) == (1.0, 0.0)
    assert ratios["frame"][PEDESTRIAN] == ratios["frame"][ROAD] == 0.5


def test_regions_follow_a_frame_that_changes_its_shape():
    grid = RegionGrid((RIGHT,), len(CAMVID_11))
    mask = np.full((20, 20), ROAD, np.uint8)
    mask[:, 12:] = PEDESTRIAN

    wide = grid.ratios(mask, FrameGeometry((100, 200), (20, 20), "letterbox"))["right"]
    tall = grid.ratios(mask, FrameGeometry((200, 100), (20, 20), "letterbox"))["right"]

    assert wide[PEDESTRIAN] == pytest.approx(0.8)  # columns 10 to 19
    assert tall[PEDESTRIAN] == pytest.approx(0.6)  # columns 10 to 14


def test_regions_lie_where_the_mask_on_the_frame_has_them():
    # given a polygon and a letterboxed mask of random ids
    polygon = ((0.1, 0.9), (0.4, 0.2), (0.6, 0.2), (0.9, 0.9))
    geometry = FrameGeometry((90, 160), (64, 64), "letterbox")
    mask = np.random.default_rng(0).integers(0, 11, (64, 64)).astype(np.uint8)
    mask[:, :32] = PEDESTRIAN

    share = RegionGrid((Region("road", polygon),), 11).ratios(mask, geometry)["road"]

    on_frame = geometry.mask_to_frame(mask)[polygon_mask(polygon, geometry.frame)]
    assert share[PEDESTRIAN] == pytest.approx((on_frame == PEDESTRIAN).mean(), abs=0.02)


# States over time


def test_rule_is_raised_and_cleared_with_hysteresis_in_level_and_time():
    book = book_of(region="left", min_ratio=0.4, clear_ratio=0.2, for_s=0.3, clear_s=1.0)

    states, events = play(
        book,
        *[(0.0, 0), (1.0, 0)],  # unknown until clear for 1 s
        *[(1.1, 5), (1.2, 0), (1.3, 5), (1.5, 5), (1.6, 5)],  # a flicker does not count
        *[(1.7, 3), (5.0, 3)],  # 0.3: between the two levels nothing changes
        *[(5.1, 0), (5.9, 5), (6.0, 0), (6.9, 0), (7.0, 0)],
    )

    assert events == [
        ("unknown", "clear", 1.0),
        ("clear", "raised", 1.6),
        ("raised", "clear", 7.0),
    ]
    assert states[0] == "unknown"
    assert states[7:9] == ["raised", "raised"]


def test_max_ratio_raises_when_a_class_goes_missing():
    rules = RuleSet((LEFT,), (Rule(name="blocked", classes="Road", region="left", max_ratio=0.3),))
    book = RuleBook(rules, CAMVID_11)

    seen = [book.evaluate(result(mask_of(n))).states["blocked"].state for n in (0, 6, 7, 10)]

    assert seen == ["clear", "clear", "raised", "raised"]


def test_several_classes_are_added_and_each_counts_once():
    rule = Rule(name="any", classes=("Pedestrian", "Road", "Road"), min_ratio=0.5)
    evaluation = RuleBook(RuleSet(rules=(rule,)), CAMVID_11).evaluate(result(mask_of(5)))

    assert evaluation.states["any"].ratio == 1.0


@pytest.mark.parametrize("lack", [None, "lost"])
@pytest.mark.parametrize("columns", [0, 10])
def test_a_result_without_a_mask_is_unknown_and_never_clear(lack, columns):
    states, events = play(book_of(min_ratio=0.1), (0.0, columns), (0.1, lack), (9.0, lack))

    assert states[1:] == ["unknown", "unknown"]
    assert [event[:2] for event in events] == [
        ("unknown", "raised" if columns else "clear"),
        ("raised" if columns else "clear", "unknown"),
    ]


def test_time_without_signal_counts_neither_for_nor_against():
    book = book_of(min_ratio=0.1, for_s=0.5)

    states, _ = play(book, (0.0, 10), (0.4, "lost"), (5.0, 10), (5.4, 10), (5.5, 10))

    assert states == ["unknown", "unknown", "unknown", "unknown", "raised"]


def test_hold_bridges_stale_frames_but_no_lost_signal():
    book = book_of(min_ratio=0.1, hold_s=0.5)

    states, _ = play(book, (0.0, 10), (0.4, None), (0.5, None), (0.6, 10), (0.7, "lost"))

    assert states == ["raised", "raised", "unknown", "raised", "unknown"]


def test_a_clock_that_jumps_back_starts_the_wait_anew():
    states, _ = play(book_of(min_ratio=0.1, for_s=0.5), (9.0, 10), (1.0, 10), (1.4, 10), (1.5, 10))

    assert states == ["unknown", "unknown", "unknown", "raised"]


def test_a_file_is_judged_in_its_own_time():
    # given 2 s of film that a fast machine runs in 20 ms
    book = book_of(min_ratio=0.1, for_s=1.0)

    states = [
        book.evaluate(result(mask_of(10), time_s=n * 0.01, source="file", pts_s=n)).states["person"]
        for n in range(3)
    ]

    assert [state.state for state in states] == ["unknown", "raised", "raised"]
    assert states[2].since_ns == SECOND


def test_evaluation_names_only_classes_that_are_there():
    evaluation = book_of(min_ratio=0.1).evaluate(result(mask_of(5)))

    assert evaluation.ratios == {"Road": 0.75, "Pedestrian": 0.25}
    assert evaluation.regions == {
        "left": {"Road": 0.5, "Pedestrian": 0.5},
        "right": {"Road": 1.0},
    }


def test_without_a_file_there_are_shares_and_no_rules():
    evaluation = RuleBook.from_file(None, CAMVID_11).evaluate(result(mask_of(20)))

    assert (evaluation.ratios, evaluation.regions) == ({"Pedestrian": 1.0}, {})
    assert not evaluation.states
    assert not evaluation.events


# Files

TRIANGLE = [[0, 1], [0.5, 0.5], [1, 1]]
CORRIDOR = {"name": "corridor", "polygon": TRIANGLE}
AHEAD = {"name": "person-ahead", "region": "corridor", "class": "Pedestrian", "min_ratio": 0.002}


def write(path, text):
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


def test_rules_file_is_read(tmp_path):
    rule = AHEAD | {"for_s": 0.3, "clear_s": 1}
    path = write(tmp_path / "rules.json", {"regions": [CORRIDOR], "rules": [rule]})

    rules = read_rules(path, CAMVID_11)

    assert rules.rules[0].class_names == ("Pedestrian",)
    assert rules.rules[0].for_s == 0.3
    assert rules.regions[0].polygon[1] == (0.5, 0.5)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not a rules file"),
        ("[" * 100_000, "is not a rules file"),
        ({"rulez": []}, "unknown field `rulez`"),
        ({"format_version": 2}, "format version 2; this version reads 1"),
        ({"regions": [CORRIDOR, CORRIDOR]}, "region 'corridor' is there twice"),
        ({"regions": [CORRIDOR | {"name": "frame"}]}, "always the whole frame"),
        ({"regions": [CORRIDOR | {"name": ""}]}, "1 to 64 printable"),
        ({"regions": [CORRIDOR | {"polygon": TRIANGLE[:2]}]}, "2 corners"),
        ({"regions": [CORRIDOR | {"polygon": [[0, 0], [1, 1], [0.5, 0.5]]}]}, "is empty"),
        ({"regions": [CORRIDOR | {"polygon": [[0, 0], [640, 0], [0, 1]]}]}, "[640, 0] is outside"),
        ({"rules": [AHEAD | {"region": "frame"}] * 2}, "rule 'person-ahead' is there twice"),
        ({"regions": [CORRIDOR], "rules": [AHEAD | {"region": "corider"}]}, "mean 'corridor'?"),
        ({"rules": [AHEAD | {"region": "zzz"}]}, "expected one of frame"),
        ({"regions": [CORRIDOR], "rules": [AHEAD | {"class": "pedestrain"}]}, "mean 'Pedestrian'?"),
        ({"rules": [AHEAD | {"region": "frame", "class": []}]}, "names no class"),
        ({"rules": [AHEAD | {"region": "frame", "max_ratio": 0.1}]}, "either min_ratio or max"),
        ({"rules": [AHEAD | {"min_ratio": 0}]}, "min_ratio 0; expected above 0"),
        ({"rules": [AHEAD | {"min_ratio": 1.5}]}, "min_ratio 1.5; expected above 0"),
        ({"rules": [AHEAD | {"clear_ratio": 0.1}]}, "it would clear what it raises"),
        ({"rules": [AHEAD | {"for_s": -1}]}, "for_s -1; expected seconds"),
        ({"rules": [AHEAD | {"min_ratio": "much"}]}, "Expected `float | null`, got `str`"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(tmp_path, content, words):
    path = write(tmp_path / "rules.json", content)

    with pytest.raises(OptionError) as caught:
        read_rules(path, CAMVID_11)

    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_file_is_one_line(tmp_path):
    with pytest.raises(OptionError, match="cannot read the rules file"):
        read_rules(tmp_path / "none.json", CAMVID_11)
    with pytest.raises(OptionError, match="cannot read the rules file"):
        read_rules(tmp_path, CAMVID_11)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="is not a rules file"):
        read_rules(tmp_path / "binary", CAMVID_11)


def test_rules_of_one_label_set_do_not_pass_with_another():
    rules = RuleSet(rules=(Rule(name="a", classes="Pedestrian", min_ratio=0.1),))

    with pytest.raises(OptionError, match="cityscapes-19 has no class 'Pedestrian'"):
        RuleBook(rules, CITYSCAPES_19)


# Options


def test_rules_that_no_sink_would_tell_are_refused():
    with pytest.raises(OptionError, match="would be told to nobody; add a --sink of jsonl:, udp:"):
        RunOptions(rules=Path("rules.json"), sinks=("masks:out",))

    assert RunOptions(rules=Path("rules.json"), sinks=("null", "jsonl:out.jsonl")).rules
