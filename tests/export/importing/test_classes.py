"""Label sets from names, files and built-in sets."""

from __future__ import annotations

import json

import pytest

from edge_runtime.errors import OptionError
from edge_runtime.labels import CITYSCAPES_19, LABEL_SETS, STREET_8
from export.importing.classes import label_set, made_up_palette
from export.importing.options import ImportOptions, parse_triple


@pytest.mark.parametrize("name", LABEL_SETS)
def test_built_in_sets_are_known_by_name(name):
    assert label_set(name) is LABEL_SETS[name]


def test_names_alone_get_colours_that_differ():
    labels = label_set("road, sky ,car")
    assert labels.names == ("road", "sky", "car")
    assert len({*labels.palette, (0, 0, 0)}) == 4
    assert len(set(made_up_palette(255))) == 255


def test_known_names_with_their_palette_are_the_known_set():
    assert label_set(",".join(STREET_8.names), "street-8") is STREET_8


@pytest.mark.parametrize(
    ("suffix", "text", "colours"),
    [
        (".txt", "road\nsky\n", None),
        (".txt", "road #010203\nlane marking 4,5,6\n", ((1, 2, 3), (4, 5, 6))),
        (".json", json.dumps(["road", "sky"]), None),
        (
            ".json", json.dumps({"classes": ["a", "b"], "palette": ["#010203", [4, 5, 6]]}),
            ((1, 2, 3), (4, 5, 6)),
        ),
    ],
)  # fmt: skip
def test_files_give_names_and_colours(suffix, text, colours, tmp_path):
    path = tmp_path / f"mine{suffix}"
    path.write_text(text)
    labels = label_set(str(path))
    assert labels.name == "mine"
    assert len(labels) == 2
    assert labels.palette == (colours or made_up_palette(2))


def test_a_json_file_may_name_a_built_in_set(tmp_path):
    path = tmp_path / "meta.json"
    path.write_text(json.dumps({"labels": "cityscapes-19"}))
    assert label_set(str(path)) is CITYSCAPES_19


@pytest.mark.parametrize(
    ("classes", "palette", "message"),
    [
        ("nothing", None, "no file and no built-in label set"),
        ("a,,b", None, "empty name"),
        ("a,a", None, "'a' twice"),
        ("a,b", "#000000", "2 names but 1 colours"),
        ("a,b", "#000000,red", "is not a colour"),
    ],
)
def test_what_names_no_classes_is_refused(classes, palette, message):
    with pytest.raises(OptionError, match=message):
        label_set(classes, palette)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.txt", "\n \n", "names no class"),
        ("c.txt", "road #010203\nsky\n", "'sky' no colour"),
        ("c.txt", "road 1,2,300\n", "is not a colour"),
        ("c.json", "{", "is not JSON"),
        ("c.json", "{}", "must be a list"),
        ("c.json", '{"classes": ["a"], "palette": 3}', "expected a list"),
        ("c.json", '{"classes": ["a"], "palette": [[1, 2]]}', "is not a colour"),
    ],
)
def test_a_malformed_file_is_refused(name, text, message, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(OptionError, match=message):
        label_set(str(path))


def test_options_that_cannot_work_are_refused(tmp_path):
    def options(**values):
        return ImportOptions(**{"output": tmp_path / "a.onnx", "classes": "a,b", **values})

    for values, message in (
        ({"output": tmp_path / "a.bin"}, "must end in .onnx"),
        ({"output": tmp_path / "none" / "a.onnx"}, "no folder"),
        ({"mean": (0.5, 0.5, 0.5)}, "belong together"),
        ({"mean": (0.0, 0.0, 0.0), "std": (1.0, 0.0, 1.0)}, "above 0"),
        ({"mean": (104.0, 117.0, 123.0), "std": (1.0, 1.0, 1.0)}, "--range 255"),
        ({"frames": 0}, "at least one"),
    ):
        with pytest.raises(OptionError, match=message):
            options(**values)
    with pytest.raises(OptionError, match="three numbers"):
        parse_triple("1,2")
