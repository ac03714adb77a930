"""Cameras by name, and what is said about each of them."""

from pathlib import Path

import pytest

from edge_runtime.errors import OptionError
from edge_runtime.options import RunOptions
from edge_runtime.rig.options import (
    RigOptions,
    camera_options,
    name_cameras,
    needs_rig,
    split_policies,
    split_weights,
)


def test_cameras_are_named_or_numbered():
    assert name_cameras(["front=rtsp://host/x?a=b", "test:bars?fps=30", "a-1=/dev/video0"]) == {
        "front": "rtsp://host/x?a=b",
        "camera2": "test:bars?fps=30",
        "a-1": "/dev/video0",
    }
    assert name_cameras({"left": "test:"}) == {"left": "test:"}


@pytest.mark.parametrize("text", [
    "test:bars?fps=30&size=54x96",
    "fault:stall@5+3,jitter=0.2@12:test:",
    "rtsp://user:a=b@host/x",
    "launch:videotestsrc pattern=ball",
    "videotestsrc pattern=ball ! videoconvert",
    "folder/name=x.mp4",
    "front=",
    "=test:",
])  # fmt: skip
def test_an_equals_sign_in_a_source_makes_no_name(text):
    assert name_cameras([text, "test:"]) == {"camera1": text, "camera2": "test:"}


def test_a_file_that_is_there_needs_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("take=2.mp4").touch()

    assert name_cameras(["take=2.mp4", "cut=take=2.mp4"]) == {
        "camera1": "take=2.mp4",
        "cut": "take=2.mp4",
    }


@pytest.mark.parametrize(("sources", "said"), [
    ([], "no source"),
    (["a=test:", "a=test:bars"], "two cameras are called 'a'"),
    (["camera2=test:", "test:"], "two cameras are called 'camera2'"),
    ({"a b": "test:"}, "camera name 'a b'"),
    ({"../x": "test:"}, "camera name '../x'"),
])  # fmt: skip
def test_names_that_cannot_be_used(sources, said):
    with pytest.raises(OptionError, match=said):
        name_cameras(sources)


def test_a_clash_of_names_shows_no_password():
    with pytest.raises(OptionError) as caught:
        name_cameras(["a=rtsp://user:sEcr3t@host/1", "a=rtsp://user:sEcr3t@host/2"])

    assert "sEcr3t" not in str(caught.value)


def test_policies_and_weights_of_all_and_of_one():
    assert split_policies(["latest", "front=every", "rear=deadline=50"]) == (
        "latest",
        {"front": "every", "rear": "deadline=50"},
    )
    assert split_policies(["deadline=50"]) == ("deadline=50", {})
    assert split_policies([]) == (None, {})
    assert split_weights(["front=2", "rear=0.5"]) == {"front": 2.0, "rear": 0.5}
    with pytest.raises(OptionError, match="NAME=NUMBER"):
        split_weights(["front"])


def test_each_camera_has_its_own_outputs():
    run = RunOptions(
        policy="latest", sinks=("{camera}.mp4", "null"), frames_log=Path("log-{camera}.jsonl")
    )

    own = camera_options(RigOptions(run, policies={"b": "deadline=50"}), ["a", "b"])

    assert own["a"].sinks == ("a.mp4", "null")
    assert own["b"].frames_log == Path("log-b.jsonl")
    assert [own[name].policy for name in "ab"] == ["latest", "deadline=50"]


@pytest.mark.parametrize(("options", "said"), [
    ({"run": RunOptions(sinks=("x.mp4",))}, "written by all cameras; put {camera}"),
    ({"run": RunOptions(sinks=("masks:out",))}, "written by all cameras"),
    ({"run": RunOptions(frames_log=Path("x.jsonl"))}, "written by all cameras"),
    ({"policies": {"c": "latest"}}, "policy for 'c': the cameras are a, b"),
    ({"weights": {"c": 1.0}}, "weight for 'c': the cameras are a, b"),
])  # fmt: skip
def test_what_does_not_fit_the_cameras(options, said):
    with pytest.raises(OptionError, match=said):
        camera_options(RigOptions(**options), ["a", "b"])


@pytest.mark.parametrize("wrong", [
    {"policies": {"a": "newest"}},
    {"weights": {"a": 0.0}},
    {"weights": {"a": float("nan")}},
    {"match_ms": 0.0},
    {"match_ms": float("inf")},
])  # fmt: skip
def test_values_that_cannot_work(wrong):
    with pytest.raises(OptionError):
        RigOptions(**wrong)


@pytest.mark.parametrize(("sources", "options", "expected"), [
    (["test:"], {}, False),
    (["test:bars?fps=30"], {"run": RunOptions(policy="latest")}, False),
    (["test:", "test:bars"], {}, True),
    (["front=test:"], {}, True),
    (["test:"], {"weights": {"camera1": 2.0}}, True),
    (["test:"], {"run": RunOptions(sinks=("{camera}.mp4",))}, True),
])  # fmt: skip
def test_one_source_without_a_name_is_a_plain_run(sources, options, expected):
    assert needs_rig(sources, RigOptions(**options)) is expected
