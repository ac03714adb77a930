"""`hyperseg verify` on a real network and its real forms, sound ones and spoilt ones."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edge_runtime.artifacts import create_artifact, read_manifest
from edge_runtime.backends import ort
from edge_runtime.backends.blocked.load import Prepared
from edge_runtime.cli import main
from edge_runtime.engines.identity import OPTIONS_KEY, EngineIdentity
from edge_runtime.errors import OptionError, ParityError, SourceError
from export.export import export
from export.fp16 import to_fp16
from export.half import make_half
from export.importing.importer import import_model
from export.importing.options import IMAGENET, ImportOptions
from export.noise import ROUNDING, jittered
from export.options import ExportOptions
from export.probe_frames import probe_frames
from export.verify.nodes import find_parting
from export.verify.options import VerifyOptions
from export.verify.page import page
from export.verify.report import as_json
from export.verify.verify import Verification, verify
from tests.export.calibrated import calibrated_network
from tests.export.importing.networks import SIZE, Strided, by_hand, write
from tests.html_page import Page
from training.checkpoint import save_checkpoint
from training.presets import preset

OPTIONS = VerifyOptions(frames=2, threads=1)
ELSEWHERE = EngineIdentity("a" * 64, "fp16", "strong", "tensorrt", "10.3.0", "linux-aarch64")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "net.safetensors"
    net = calibrated_network(preset("street-n"), (128, 128))
    save_checkpoint(path, net, name="street-test", preset="street-n", license="none")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A plain convolutional network: rounding stays rounding in every precision."""
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("model")
    source = write(Strided(width=32), folder / "theirs.onnx")
    path = folder / "net.onnx"
    mean, std = IMAGENET
    import_model(source, ImportOptions(path, "a,b,c,d,e,f,g,h", mean=mean, std=std))
    return path


def variant(model: Path, name: str, change) -> Path:
    """A model beside `model` whose graph is `change(graph)`."""
    graph = change(onnx.load(model))
    manifest = replace(read_manifest(model), name=name)
    path = model.with_name(f"{name}.onnx")
    create_artifact(path, manifest, lambda part: part.write_bytes(graph.SerializeToString()))
    return path


def statuses(verification: Verification) -> dict[str, str]:
    return {stage.name: stage.status for stage in verification.stages}


@pytest.mark.slow
def test_a_sound_export_passes_and_what_is_missing_is_not_done(checkpoint):
    model = checkpoint.with_name("net.onnx")
    export(checkpoint, ExportOptions(model, (64, 128)))
    whole, _ = verify([str(checkpoint), str(model)], OPTIONS)
    found = statuses(whole)
    # Generated weights multiply rounding: untrained, half precision may decide nothing.
    assert found.pop("FP16") in ("passed", "undecided")
    assert found == {
        "torch float64": "reference",
        "torch float32": "passed",
        "deployment form": "passed",
        "ONNX as traced": "passed",
        "ONNX simplified": "passed",
        "ONNX Runtime": "passed",
        "runtime": "passed",
        "Q/DQ": "not done",
        "engine": "not done",
    }
    assert whole.passed
    assert "`hyperseg calibrate`" in whole.stages[-2].reasons[0]
    figures = {stage.name: stage.figures for stage in whole.stages}
    float64, float32, half = (
        figures[name].rms_error for name in ("deployment form", "ONNX Runtime", "FP16")
    )
    assert float64 < 1e-6 * float32
    assert float32 < 1e-2 * half

    wrong = variant(model, "wrong", spoilt)
    bad, _ = verify([str(checkpoint), str(wrong)], OPTIONS)
    assert statuses(bad)["ONNX simplified"] == "failed"
    assert not bad.passed
    reasons = next(stage.reasons for stage in bad.stages if stage.name == "ONNX simplified")
    assert "noise floors" in reasons[0]


def test_what_the_runtime_makes_of_a_file_is_on_trial(model, monkeypatch):
    # given: a rewriting for this machine that goes wrong, while the file is sound
    wrong = spoilt(onnx.load(model), 1.3).SerializeToString()
    sound = verify([str(model)], OPTIONS)[0]
    monkeypatch.setattr(ort, "prepare", lambda *_: Prepared(wrong, "convolutions in blocks of 99"))

    bad = verify([str(model)], OPTIONS)[0]

    assert statuses(sound)["runtime"] == "passed"
    assert statuses(bad)["ONNX Runtime"] == "passed"
    assert statuses(bad)["runtime"] == "failed"
    assert not bad.passed
    subject = next(stage.subject for stage in bad.stages if stage.name == "runtime")
    assert "convolutions in blocks of 99" in subject


def test_without_a_checkpoint_the_graph_itself_is_the_reference(model):
    found = statuses(verify([str(model)], OPTIONS)[0])
    assert found["torch float64"] == found["ONNX as traced"] == "not done"
    assert found["ONNX simplified"] == "reference"
    assert found["ONNX Runtime"] == found["runtime"] == found["FP16"] == "passed"


def spoilt(graph: onnx.ModelProto, factor: float = 1.005) -> onnx.ModelProto:
    """One weight tensor in the middle of the network, a little too large."""
    tensors = [t for t in graph.graph.initializer if len(t.dims) == 4]
    tensor = tensors[len(tensors) // 2]
    larger = numpy_helper.to_array(tensor) * np.float32(factor)
    tensor.CopyFrom(numpy_helper.from_array(larger, tensor.name))
    return graph


def test_a_half_model_of_other_weights_fails_and_its_first_node_is_named(model):
    wrong = variant(model, "wrong-half", lambda graph: to_fp16(spoilt(graph, 1.05)))
    sound = variant(model, "half", to_fp16)
    options = replace(OPTIONS, nodes=True)

    good, _ = verify([str(model), str(sound)], options)
    bad, _ = verify([str(model), str(wrong)], options)

    assert statuses(good)["FP16"] == "passed"
    sound_half, wrong_half = (
        next(stage for stage in v.stages if stage.name == "FP16") for v in (good, bad)
    )
    assert sound_half.parting.compared > 5
    assert sound_half.parting.first is None
    first = wrong_half.parting.first
    assert first is not None
    tensors = [t for t in onnx.load(model).graph.initializer if len(t.dims) == 4]
    assert first.operator == "Conv"
    consumer = next(
        node
        for node in onnx.load(model).graph.node
        if tensors[len(tensors) // 2].name in node.input
    )
    assert first.value == consumer.output[0]


def test_a_quantised_model_that_collapsed_fails_and_a_fair_one_passes(model):
    def quantised(levels: float):
        """Weights and one activation on a grid, as Q/DQ nodes would have it."""

        def change(graph: onnx.ModelProto) -> onnx.ModelProto:
            for tensor in graph.graph.initializer:
                if len(tensor.dims) < 4:
                    continue
                values = numpy_helper.to_array(tensor)
                step = np.abs(values).max(axis=(1, 2, 3), keepdims=True) / levels
                step[step == 0] = 1
                coarse = (np.round(values / step) * step).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(coarse, tensor.name))
            # A pair around the class scores: the graph is a quantised one by its operators.
            decider = next(node for node in graph.graph.node if node.op_type == "ArgMax")
            scores = decider.input[0]
            nodes = [
                onnx.helper.make_node("QuantizeLinear", [scores, "qs", "qz"], ["q"], name="q"),
                onnx.helper.make_node("DequantizeLinear", ["q", "qs", "qz"], ["dq"], name="dq"),
            ]
            graph.graph.initializer.append(
                numpy_helper.from_array(np.array(0.005, np.float32), "qs")
            )
            graph.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), "qz"))
            decider.input[0] = "dq"
            place = list(graph.graph.node).index(decider)
            for node in reversed(nodes):
                graph.graph.node.insert(place, node)
            return graph

        return change

    fair = variant(model, "int8", quantised(127))
    coarse = variant(model, "int3", quantised(3))
    assert statuses(verify([str(model), str(fair)], OPTIONS)[0])["Q/DQ"] == "passed"
    assert statuses(verify([str(model), str(coarse)], OPTIONS)[0])["Q/DQ"] == "failed"


def poisoned(graph: onnx.ModelProto, value: float = np.nan) -> onnx.ModelProto:
    """`value` added to the scores of the class that wins least."""
    decider = next(node for node in graph.graph.node if node.op_type == "ArgMax")
    poison = np.zeros((1, 8, 1, 1), np.float32)
    poison[0, 3] = value
    graph.graph.initializer.append(numpy_helper.from_array(poison, "poison"))
    add = onnx.helper.make_node("Add", [decider.input[0], "poison"], ["poisoned"], name="add")
    decider.input[0] = "poisoned"
    graph.graph.node.insert(list(graph.graph.node).index(decider), add)
    return graph


def without_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """NaN for the weights of a convolution in the middle."""
    tensor = [t for t in graph.graph.initializer if len(t.dims) == 4][1]
    nothing = np.full_like(numpy_helper.to_array(tensor), np.nan)
    tensor.CopyFrom(numpy_helper.from_array(nothing, tensor.name))
    return graph


@pytest.mark.parametrize(("spoil", "classes"), [(poisoned, 1), (without_weights, 8)])
def test_scores_that_are_nan_fail_and_the_report_stays_json(spoil, classes, model, tmp_path):
    # given: a half model; with one class that is NaN its masks are nearly the reference's
    half = variant(model, "nan-half", lambda graph: spoil(to_fp16(graph)))
    report, html = tmp_path / "v.json", tmp_path / "v.html"

    code = main(["verify", str(model), str(half), "--frames", "1", "--threads", "1", "--nodes",
                 "--report", str(report), "--html", str(html)])  # fmt: skip

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    assert code == 3
    facts = json.loads(report.read_text(), parse_constant=refuse)
    stage = next(stage for stage in facts["stages"] if stage["name"] == "FP16")
    assert stage["status"] == "failed"
    assert stage["reasons"] == [f"{classes * SIZE[0] * SIZE[1]} scores are NaN or infinite"]
    assert stage["figures"]["max_abs_error"] is None
    assert stage["probes"][0]["max_abs_error"] is None
    assert stage["reasons"][0] in Page(html.read_text()).texts


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reference_that_is_no_number_is_refused_in_one_line(model, value, capsys):
    broken = variant(model, "broken", lambda graph: poisoned(graph, value))
    assert main(["verify", str(broken), "--frames", "1", "--threads", "1", "--quiet"]) == 3
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1, error
    assert f"{SIZE[0] * SIZE[1]} scores of the reference" in error
    assert "broken.onnx" in error
    with pytest.raises(ParityError, match="scores of the FP32 graph are NaN or infinite"):
        make_half(broken, broken.with_name("half-of-broken.onnx"))


def test_scores_that_are_decided_on_before_they_are_upsampled_must_be_numbers_too(tmp_path):
    source = write(Strided(stride=4, end="argmax"), tmp_path / "theirs.onnx")
    path = tmp_path / "ids.onnx"
    import_model(source, ImportOptions(path, "a,b,c,d,e,f,g,h", mean=IMAGENET[0], std=IMAGENET[1]))
    options = replace(OPTIONS, frames=1)
    half = variant(path, "nan-half", lambda graph: poisoned(to_fp16(graph)))
    found = verify([str(path), str(half)], options)[0]
    assert next(stage for stage in found.stages if stage.name == "FP16").status == "failed"
    with pytest.raises(ParityError, match="scores of the reference"):
        verify([str(variant(path, "nan", poisoned))], options)


def test_the_first_node_that_gives_nan_is_named(model):
    graph = onnx.shape_inference.infer_shapes(onnx.load(model))
    other = without_weights(onnx.load(model))
    tensor = [t for t in other.graph.initializer if len(t.dims) == 4][1]
    frame = probe_frames(SIZE, 1, *IMAGENET)[0]
    parting = find_parting(graph, other, frame, "fp32", gate=4.0)
    reader = next(node for node in graph.graph.node if tensor.name in node.input)
    assert parting.first is not None
    assert parting.first.value == reader.output[0]


def unreadable(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A node of an operator that nobody has."""
    node = next(node for node in graph.graph.node if node.op_type == "ArgMax")
    cast = onnx.helper.make_node(
        "Nobodys", [node.input[0]], ["nobodys"], name="nobodys", domain="com.example"
    )
    node.input[0] = "nobodys"
    graph.graph.node.insert(list(graph.graph.node).index(node), cast)
    graph.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    return graph


def test_a_file_that_was_given_and_does_not_run_has_failed(model, tmp_path):
    half = variant(model, "refused-half", lambda graph: unreadable(to_fp16(graph)))
    manifest = replace(
        read_manifest(model), kind="engine",
        options={OPTIONS_KEY: msgspec.to_builtins(ELSEWHERE)},
    )  # fmt: skip
    engine = tmp_path / "elsewhere.engine"
    create_artifact(engine, manifest, lambda part: part.write_bytes(b"an engine"))

    found, _ = verify([str(model), str(half), str(engine)], replace(OPTIONS, frames=1))

    stages = {stage.name: stage for stage in found.stages}
    assert not found.passed
    refused = stages["FP16"]
    assert (refused.status, refused.subject) == ("failed", "refused-half.onnx")
    assert "refuses the graph" in refused.reasons[0]
    foreign = stages["engine (fp16, tensorrt)"]
    assert (foreign.status, foreign.subject) == ("failed", "elsewhere.engine")
    assert stages["Q/DQ"].status == "not done"


def test_a_device_without_torch_can_verify(model):
    """As docs/jetson.md has it: no torch on the device, and `verify` in step 4."""
    command = (
        "import sys; sys.modules['torch'] = None; from edge_runtime.cli import main; "
        f"sys.exit(main(['verify', {str(model)!r}, '--frames', '1', '--threads', '1', '--quiet']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_minimum_asked_for_is_a_gate_too(model):
    sound = verify([str(model)], replace(OPTIONS, min_agreement=0.5))[0]
    assert sound.passed
    asked = verify([str(model)], replace(OPTIONS, min_agreement=1.0))[0]
    half = next(stage for stage in asked.stages if stage.name == "FP16")
    assert half.figures.agreement < 1
    assert half.status == "failed"
    assert "at least 1" in half.reasons[-1]


def test_files_that_are_no_chain_are_refused(checkpoint, model, tmp_path):
    half = variant(model, "lonely-half", to_fp16)
    with pytest.raises(OptionError, match="nothing to compare with"):
        verify([str(half)], OPTIONS)
    with pytest.raises(OptionError, match="both FP32"):
        verify([str(model), str(model)], OPTIONS)
    with pytest.raises(OptionError, match="both checkpoints"):
        verify([str(checkpoint), str(checkpoint)], OPTIONS)
    with pytest.raises(OptionError, match="--size"):
        verify([str(model)], replace(OPTIONS, size=(32, 32)))
    source = by_hand(tmp_path / "theirs.onnx")
    other = tmp_path / "other.onnx"
    import_model(source, ImportOptions(other, "a,b,c,d", mean=IMAGENET[0], std=IMAGENET[1]))
    small = variant(other, "other-half", to_fp16)
    with pytest.raises(OptionError, match="64x96"):
        verify([str(model), str(small)], OPTIONS)


def test_neither_secrets_nor_folders_of_the_command_are_written(model, monkeypatch):
    verification, samples = verify([str(model)], replace(OPTIONS, frames=1))
    monkeypatch.setattr(
        "sys.argv",
        ["/home/me/bin/hyperseg", "verify", "/home/me/a.onnx", "--source", "rtsp://me:hush@cam/a"],
    )

    command = as_json(verification)["created_by"]["command"]
    written = page(verification, samples)

    assert command == "hyperseg verify a.onnx --source rtsp:a"
    assert command in written
    assert "hush" not in written
    assert "home" not in written


def test_the_command_line_writes_json_and_a_page_and_exits_3_on_failure(model, tmp_path, capsys):
    report, html = tmp_path / "v.json", tmp_path / "v.html"
    arguments = ["verify", str(model), "--frames", "1", "--threads", "1", "--report", str(report),
                 "--html", str(html)]  # fmt: skip
    assert main(arguments) == 0
    facts = json.loads(report.read_text())
    assert facts["schema"] == "hyperseg-edge.verify/1"
    assert facts["passed"] is True
    shown = Page(html.read_text())
    assert shown.loaded == []
    assert shown.report["stages"] == facts["stages"]
    check_figures(shown, facts)
    assert main([*arguments, "--gate", "1e-9"]) == 3
    assert json.loads(report.read_text())["passed"] is False
    capsys.readouterr()
    assert main(["verify", str(model), "--gate", "0"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def check_figures(shown: Page, facts: dict[str, Any]) -> None:
    """Every form, class and frame is on the page, with the figures of the JSON."""
    for name, digest in facts["files"].items():
        assert {name, digest} <= set(shown.texts)
    done = [stage for stage in facts["stages"] if stage["probes"]]
    assert [stage["name"] for stage in done] == ["ONNX Runtime", "runtime", "FP16"]
    for stage in facts["stages"]:
        assert stage["name"] in shown.texts
        assert set(stage["reasons"]) <= set(shown.texts)
    for stage in done:
        figures = stage["figures"]
        assert f"{100 * figures['agreement']:.3f} %" in shown.texts
        assert len(stage["probes"]) == facts["frames"]
        errors = [probe["max_abs_error"] for probe in stage["probes"]]
        if stage["name"] == "runtime":  # gives the mask alone
            assert figures["max_abs_error"] is None
            assert set(errors) == {None}
        else:
            assert f"{figures['max_abs_error']:.3g}" in shown.texts
            assert max(errors) == figures["max_abs_error"]
        mean = np.mean([probe["agreement"] for probe in stage["probes"]])
        assert mean == pytest.approx(figures["agreement"])
        shares = [*stage["class_agreement"].values(), *(p["agreement"] for p in stage["probes"])]
        for share in shares:
            assert as_text(share) in shown.texts


def test_labelled_frames_score_every_form(model, tmp_path, capsys):
    # given pictures whose labels are the reference's own mask
    cv2 = pytest.importorskip("cv2")
    _, (sample, *_) = verify([str(model)], replace(OPTIONS, frames=2))
    reference, *others = sample.masks
    for number in range(4):
        for folder, pixels in (("val", sample.picture), ("val_labels", sample.masks[reference])):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), pixels)
    labels = read_manifest(model).labels
    meta = {"classes": labels.names, "palette": labels.palette}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    html, plain = tmp_path / "v.html", tmp_path / "v.json"

    # when
    arguments = ["verify", str(model), "--data", f"folder:{tmp_path}", "--frames", "2",
                 "--threads", "1"]  # fmt: skip
    assert main([*arguments, "--report", str(html)]) == 0
    assert main([*arguments, "--report", str(plain)]) == 0
    assert main([*arguments, "--source", "test:"]) == 2

    # then
    assert capsys.readouterr().err.endswith("from --source or from --data; give one of them\n")
    facts, shown = json.loads(plain.read_text()), Page(html.read_text())
    assert list(facts["accuracy"]) == [reference, *others]
    assert facts["accuracy"][reference]["scores"]["miou"] == 1
    assert facts["accuracy"][reference]["scores"]["images"] == facts["frames"] == 2
    half = facts["accuracy"]["FP16"]
    assert np.sum(half["confusion"]) == 2 * sample.masks[reference].size
    agreement = next(s for s in facts["stages"] if s["name"] == "FP16")["figures"]["agreement"]
    assert half["scores"]["accuracy"] == pytest.approx(agreement)
    assert {f"{name}: what is taken for what" for name in facts["accuracy"]} <= set(shown.texts)
    assert "100.00" in shown.texts
    assert f"{100 * half['scores']['miou']:.2f}" in shown.texts
    assert str(tmp_path) not in shown.text


def test_labels_of_other_classes_are_refused(model):
    with pytest.raises(OptionError, match="choose data with the network's classes"):
        verify([str(model)], replace(OPTIONS, data="street:64x96"))


def as_text(share: float | None) -> str:
    return "absent" if share is None else "100" if share == 1 else f"{100 * share:.3f}"


def test_names_are_escaped_on_the_page(model):
    verification, samples = verify([str(model)], replace(OPTIONS, frames=1))
    evil = "</script><script>x</script>"
    stages = tuple(replace(stage, name=evil, subject=evil) for stage in verification.stages)
    hostile = replace(
        verification, model=evil, source=evil, files={evil: evil}, stages=stages,
        classes=(evil, *verification.classes[1:]),
    )  # fmt: skip
    samples[0].masks = {f"{evil}{number}": mask for number, mask in
                        enumerate(samples[0].masks.values())}  # fmt: skip
    shown = Page(page(hostile, samples))
    assert len(shown.scripts) == 1
    assert shown.loaded == []
    assert evil in shown.texts


def test_the_page_shows_where_masks_differ_and_names_those_that_do_not(model):
    verification, (sample, *_) = verify([str(model)], replace(OPTIONS, frames=2))
    reference, *others = sample.masks
    assert others
    # given forms that all agree
    sample.masks.update({name: sample.masks[reference].copy() for name in others})
    same = page(verification, [sample])
    assert same.count("<img") == 2
    assert f"Same mask as the reference: {', '.join(others)}." in same
    # and then one that does not
    name = others[-1]
    sample.masks[name][0, :3] += 1
    other = page(verification, [sample])
    assert other.count("<img") == 3
    assert f"{name}: 3 pixels differ (" in other


def test_of_drawn_frames_the_street_is_shown_first_and_the_worst_after_it(model):
    _, samples = verify([str(model)], replace(OPTIONS, frames=3))
    preprocess = read_manifest(model).preprocess
    noise, street, _ = probe_frames(SIZE, 3, preprocess.mean, preprocess.std, seed=OPTIONS.seed)
    assert np.array_equal(samples[0].frame, street)
    assert not np.array_equal(noise, street)
    others = [sample.agreement for sample in samples[1:]]
    assert others == sorted(others)
    assert all(agreement < 1 for agreement in others)


@pytest.mark.gst
def test_credentials_of_a_source_are_not_written(model, tmp_path):
    # given a folder whose name looks like a camera's URI
    folder = tmp_path / "password=hunter2"
    folder.mkdir()
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(folder / "a.png"), np.zeros((64, 64, 3), np.uint8))
    verification, _ = verify([str(model)], replace(OPTIONS, source=str(folder), frames=1))
    assert "hunter2" not in verification.source


@pytest.mark.gst
def test_frames_may_come_from_a_source(model, tmp_path):
    cv2 = pytest.importorskip("cv2")
    for number in range(3):
        picture = np.full((100, 200, 3), 60 * number, np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    verification, samples = verify([str(model)], replace(OPTIONS, source=str(tmp_path), frames=2))
    assert verification.frames == 2
    assert samples[0].number == 0
    assert samples[0].frame.shape == (*SIZE, 3)
    with pytest.raises(SourceError):
        verify([str(model)], replace(OPTIONS, source=str(tmp_path / "none.mp4")))


@pytest.mark.parametrize("precision", ROUNDING)
def test_a_floor_moves_every_weight_by_up_to_one_unit(precision, tmp_path):
    graph = onnx.load(by_hand(tmp_path / "net.onnx"))
    before = numpy_helper.to_array(graph.graph.initializer[0]).astype(np.float64)
    after = numpy_helper.to_array(jittered(graph, precision, 1).graph.initializer[0])
    moved = np.abs(after - before)
    unit = ROUNDING[precision]
    largest = np.abs(before).max(axis=(1, 2, 3), keepdims=True)
    limit = unit * largest if precision == "int8" else unit * np.abs(before)
    assert (moved <= limit * 1.001 + 1e-7 * np.abs(before)).all()
    assert (moved > 0).mean() > 0.9
    again = numpy_helper.to_array(jittered(graph, precision, 1).graph.initializer[0])
    assert (again == after).all()
