"""What `hyperseg import` refuses, and that it says why in one line and writes nothing."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from edge_runtime.cli import main
from edge_runtime.errors import ArtifactError, BackendError, OptionError
from export.importing.importer import import_model
from export.importing.options import IMAGENET, ImportOptions
from tests.export.importing.networks import Bilateral, Strided, by_hand, write

EIGHT = ",".join("abcdefgh")


def options(tmp_path: Path, **values: object) -> ImportOptions:
    mean, std = IMAGENET
    given = {"output": tmp_path / "out.onnx", "classes": EIGHT, "mean": mean, "std": std}
    return ImportOptions(**{**given, **values})  # type: ignore[arg-type]


REFUSED = {
    "two inputs": (
        lambda p: by_hand(p, extra_input=True), {}, OptionError, r"2 inputs \(image, scale\)",
    ),
    "class count": (
        lambda p: by_hand(p), {"classes": "a,b,c"}, OptionError,
        "has 4 channels, but --classes names 3",
    ),
    "several heads": (
        lambda p: write(Bilateral(), p), {"classes": EIGHT}, OptionError, "--tensor",
    ),
    "open size": (
        lambda p: write(Strided(), p, dynamic=True), {"classes": EIGHT}, OptionError, "--size",
    ),
    "another size": (
        lambda p: by_hand(p), {"size": (64, 64)}, OptionError, "is fixed to 32x48",
    ),
    "old opset": (lambda p: by_hand(p, opset=9), {}, OptionError, "opset 9"),
    "new opset": (lambda p: by_hand(p, opset=99), {}, OptionError, "opset 99"),
    "four images": (
        lambda p: by_hand(p, input_shape=(4, 3, 32, 48)), {}, OptionError, "4 images at once",
    ),
    "grey images": (
        lambda p: by_hand(p, input_shape=(1, 1, 32, 48)), {}, OptionError, "3 colours",
    ),
    "either layout": (
        lambda p: by_hand(p, input_shape=(1, 3, 32, 3)), {}, OptionError, "--layout",
    ),
    "flat input": (lambda p: by_hand(p, input_shape=(1, 3)), {}, OptionError, "2 dimensions"),
    "integers": (
        lambda p: by_hand(p, input_type=TensorProto.INT64), {}, OptionError, "takes int64",
    ),
    "no normalisation": (
        lambda p: by_hand(p), {"mean": None, "std": None}, OptionError, "--mean and --std it was",
    ),
    "normalised twice": (
        lambda p: by_hand(p, input_type=TensorProto.UINT8), {}, OptionError, "leave --mean",
    ),
    "logits of ids": (
        lambda p: write(Strided(end="argmax"), p), {"classes": EIGHT, "head": "logits"},
        OptionError, "gives class ids",
    ),
    "ids beyond the classes": (
        lambda p: write(Strided(end="argmax"), p), {"classes": "a,b"}, OptionError,
        "but --classes names 2",
    ),
    "unknown output": (
        lambda p: by_hand(p), {"tensor": "nope"}, OptionError, "it has scores",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_segmentation_of_a_frame_is_refused(case, tmp_path):
    make, values, error, message = REFUSED[case]
    source = make(tmp_path / "theirs.onnx")
    with pytest.raises(error, match=message):
        import_model(source, options(tmp_path, **{"classes": "a,b,c,d", **values}))
    assert not (tmp_path / "out.onnx").exists()


def test_a_missing_or_short_weights_file_is_named(tmp_path):
    source = by_hand(tmp_path / "theirs.onnx", external=True)
    weights = tmp_path / "theirs.weights"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(ArtifactError, match=r"theirs\.onnx"):
        import_model(source, options(tmp_path, classes="a,b,c,d"))
    weights.unlink()
    with pytest.raises(ArtifactError, match=r"theirs\.weights, which is not beside it"):
        import_model(source, options(tmp_path, classes="a,b,c,d"))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_an_error_of_one_line(share, tmp_path, capsys):
    source = by_hand(tmp_path / "theirs.onnx")
    whole = source.read_bytes()
    source.write_bytes(whole[: int(len(whole) * share)])
    arguments = ["import", str(source), "-o", str(tmp_path / "out.onnx"), "--classes", "a,b,c,d",
                 "--mean", "imagenet", "--std", "imagenet"]  # fmt: skip
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("content", [b"hello", b"\x80\x02}q\x00.", bytes(range(256)) * 8])
def test_what_is_no_onnx_is_said_to_be_none(content, tmp_path):
    source = tmp_path / "theirs.onnx"
    source.write_bytes(content)
    with pytest.raises(ArtifactError):
        import_model(source, options(tmp_path))


def test_an_unknown_operator_is_the_engines_own_refusal(tmp_path):
    source = by_hand(tmp_path / "theirs.onnx")
    model = onnx.load(source)
    model.graph.node[0].domain = "their.plugins"
    model.opset_import.append(onnx.helper.make_opsetid("their.plugins", 1))
    onnx.save(model, source)
    with pytest.raises(BackendError, match="refuses the graph"):
        import_model(source, options(tmp_path, classes="a,b,c,d"))


def test_the_source_is_never_overwritten(tmp_path):
    source = by_hand(tmp_path / "out.onnx")
    with pytest.raises(OptionError, match="read and written"):
        import_model(source, options(tmp_path, classes="a,b,c,d"))
