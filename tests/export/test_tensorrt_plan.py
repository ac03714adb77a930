"""What a build is told, for every version, and every combination that is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.engines.gpu import Gpu
from edge_runtime.engines.identity import EngineIdentity
from edge_runtime.errors import BackendError, OptionError
from export.tensorrt.capabilities import RECORDED, Capabilities, recorded
from export.tensorrt.explain import explain, label, trtexec_command
from export.tensorrt.options import BuildOptions
from export.tensorrt.plan import make_plan
from export.tensorrt.precisions import Precisions, built_precisions, require

MODEL = Path("m.onnx")
NANO = Gpu("Orin", "8.7", 3900, True, "12.6")
AGX = Gpu("Orin", "8.7", 62000, True, "12.6")
CARD = Gpu("NVIDIA RTX A4000", "8.6", 16000, False, "13.0")
RTX = Capabilities(
    "tensorrt_rtx", "1.7.1.116", weak_typing=False, calibrators=False, typed_flag=True,
    targets=("7.5", "8.0", "8.6", "8.9", "12.0"), hardware_levels=("AMPERE_PLUS",),
    timing_cache=False, dla_cores=0,
)  # fmt: skip
OLD, MIDDLE, NEW = (recorded(version) for version in RECORDED)


def plan(can=OLD, found="fp16", gpu=CARD, **options):
    made = BuildOptions(MODEL, **options)
    return make_plan(made, MODEL, found, can, gpu, Path("caches"))


@pytest.mark.parametrize("can", [OLD, MIDDLE, NEW, RTX])
def test_strong_typing_sets_no_precision_flag_and_says_why(can):
    made = plan(can)
    assert made.builder_flags == ()
    assert made.network_flags == ("STRONGLY_TYPED",)
    (reason,) = [item.why for item in made.dropped if "FP16" in item.what]
    assert "decide" in reason
    assert ("removed" in reason) == (can in (NEW, RTX))


@pytest.mark.parametrize(
    ("precision", "found", "flags"),
    [
        ("fp32", "fp32", ()),
        ("fp16", "fp32", ("FP16",)),
        ("int8", "int8", ("FP16", "INT8")),
    ],
)
def test_weak_typing_sets_the_flags(precision, found, flags):
    made = plan(OLD, found, precision=precision, typing="weak")
    assert made.builder_flags == flags
    assert made.network_flags == ()


@pytest.mark.parametrize("can", [NEW, RTX])
def test_weak_typing_is_refused_where_it_ended(can):
    with pytest.raises(OptionError, match="has no weak typing"):
        plan(can, "fp32", typing="weak")


@pytest.mark.parametrize("can", [OLD, NEW, RTX])
def test_int8_without_qdq_is_refused_with_the_remedy(can):
    with pytest.raises(OptionError, match=r"no Q/DQ nodes.*hyperseg calibrate m\.onnx"):
        plan(can, "fp32", precision="int8")


def test_int8_by_flags_without_a_cache_is_refused():
    with pytest.raises(OptionError, match="calibrate on nothing"):
        plan(OLD, "fp32", precision="int8", typing="weak")


def test_int8_by_flags_takes_a_cache():
    cache = Path("ranges.cache")
    made = plan(OLD, "fp32", precision="int8", typing="weak", calibration_cache=cache)
    assert made.calibration_cache == "ranges.cache"


def test_a_cache_with_strong_typing_is_refused():
    with pytest.raises(OptionError, match="--typing weak only"):
        BuildOptions(MODEL, calibration_cache=Path("x"))


@pytest.mark.parametrize(("asked", "found"), [("fp32", "fp16"), ("fp16", "int8"), ("fp32", "int8")])
def test_a_graph_of_another_precision_is_refused(asked, found):
    with pytest.raises(OptionError, match=f"is {found.upper()} in its own types"):
        plan(OLD, found, precision=asked)


@pytest.mark.parametrize(
    ("gpu", "expected"), [(NANO, 487), (AGX, None), (CARD, None), (None, None)]
)
def test_small_boards_get_a_workspace_limit(gpu, expected):
    assert plan(gpu=gpu).workspace_mib == expected


def test_a_workspace_larger_than_the_memory_is_refused():
    assert plan(gpu=NANO, workspace_mib=800).workspace_mib == 800
    with pytest.raises(OptionError, match="does not fit Orin with 3900 MiB"):
        plan(gpu=NANO, workspace_mib=4096)


def test_timing_caches_are_kept_per_device_and_version():
    names = {plan(can, gpu=gpu).timing_cache for can in (OLD, MIDDLE, NEW) for gpu in (NANO, CARD)}
    assert len(names) == 6
    assert "caches/tensorrt-10.3.0-nvidia-rtx-a4000-8.6.timing" in names


def test_a_timing_cache_is_left_out_where_nothing_is_timed():
    made = plan(RTX, timing_cache="my.timing")
    assert made.timing_cache is None
    assert any(item.what == "timing cache" for item in made.dropped)
    assert plan(OLD, timing_cache="none").timing_cache is None
    assert plan(OLD, timing_cache="my.timing").timing_cache == "my.timing"


@pytest.mark.parametrize(
    ("can", "options", "words"),
    [
        (RTX, {}, "has no DLA"),
        (OLD, {}, r"no DLA core 0 here \(0 found\): Orin Nano has none"),
        (replace(OLD, dla_cores=2), {"precision": "fp32"}, "FP16 or INT8 only"),
        (replace(OLD, dla_cores=2), {}, "give both, --dla 0 --typing weak"),
    ],
)
def test_the_dla_is_refused_with_its_limits(can, options, words):
    found = options.get("precision", "fp16")
    with pytest.raises(OptionError, match=words):
        plan(can, found, dla_core=0, **options)


def test_the_dla_falls_back_to_the_gpu_where_it_exists():
    made = plan(replace(OLD, dla_cores=2), "fp32", dla_core=1, typing="weak")
    assert made.builder_flags == ("FP16", "GPU_FALLBACK")
    assert plan(replace(NEW, dla_cores=1), dla_core=0).dla_core == 0


def test_tensorrt_8_is_refused_with_the_jetpack_that_does():
    old = replace(OLD, version="8.6.2", typed_flag=False)
    for typing in ("strong", "weak"):
        with pytest.raises(OptionError, match=r"8\.6\.2 came, needs TensorRT 10 \(JetPack 6\.1"):
            plan(old, "fp32", typing=typing)


def test_portable_engines_are_refused_where_nvidia_has_none():
    assert plan(OLD, version_compatible=True).builder_flags == ("VERSION_COMPATIBLE",)
    with pytest.raises(OptionError, match="the very release that built it"):
        plan(RTX, version_compatible=True)
    with pytest.raises(OptionError, match="not on a Jetson"):
        plan(OLD, gpu=NANO, hardware="ampere-plus")


@pytest.mark.parametrize(
    ("can", "options", "words"),
    [
        (OLD, {}, "runs on the GPU it is built on and with the TensorRT version it is built with"),
        (OLD, {"version_compatible": True}, "and later ones of that major version, only"),
        (OLD, {"hardware": "ampere-plus"}, "runs on GPUs of compute capability 8.0 and later"),
        (NEW, {"hardware": "same-compute-capability"}, "of the compute capability it is built on"),
        (RTX, {}, "built ahead of time by TensorRT-RTX, not executed here"),
    ],
)
def test_the_label_says_where_an_engine_runs(can, options, words):
    assert words in label(plan(can, **options))


def test_targets_are_for_ahead_of_time_builders():
    assert plan(RTX, targets=("8.9", "8.6")).targets == ("8.6", "8.9")
    with pytest.raises(OptionError, match=r"no target '8\.7'.*on the device itself"):
        plan(RTX, targets=("8.7",))
    with pytest.raises(OptionError, match="leave --target away"):
        plan(OLD, targets=("8.6",))


def test_hardware_levels_are_those_of_the_version():
    assert plan(OLD, hardware="ampere-plus").hardware_level == "AMPERE_PLUS"
    with pytest.raises(OptionError, match="it has ampere-plus"):
        plan(OLD, hardware="same-compute-capability")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"output": Path("x.onnx")}, "must end in .engine"),
        ({"output": Path("nowhere/x.engine")}, "no folder"),
        ({"workspace_mib": 1}, "at least 16"),
        ({"dla_core": 2}, "cores 0 and 1"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options, words):
    with pytest.raises(OptionError, match=words):
        BuildOptions(MODEL, **options)


@pytest.mark.parametrize(
    ("can", "found", "options", "has", "lacks"),
    [
        (OLD, "fp16", {}, ["--stronglyTyped"], ["--fp16"]),
        (NEW, "fp16", {}, ["--skipInference"], ["--stronglyTyped", "--fp16"]),
        (OLD, "fp32", {"typing": "weak"}, ["--fp16"], ["--stronglyTyped", "--int8"]),
        (OLD, "int8", {"typing": "weak", "precision": "int8"}, ["--int8", "--fp16"], ["--calib"]),
        (OLD, "fp16", {"workspace_mib": 256}, ["--memPoolSize=workspace:256M"], []),
        (OLD, "fp16", {"hardware": "ampere-plus"}, ["--hardwareCompatibilityLevel=ampere+"], []),
        (RTX, "fp16", {"targets": ("8.6", "12.0")}, ["--computeCapabilities=86,120"], ["--best"]),
    ],
)
def test_the_command_by_hand_has_only_flags_of_its_version(can, found, options, has, lacks):
    command = trtexec_command(plan(can, found, **options), Path("o.engine"), can)
    assert command[0] == ("tensorrt_rtx" if can is RTX else "trtexec")
    assert {"--onnx=m.onnx", "--saveEngine=o.engine", *has} <= set(command)
    assert not [word for word in command if word.startswith(tuple(lacks)) and lacks]


def test_the_explanation_names_key_flags_reasons_and_command():
    made = plan(NEW)
    identity = EngineIdentity("a" * 64, "fp16", "strong", "tensorrt", NEW.version, "linux-x86_64")
    rows = explain(made, identity, Path("o.engine"), NEW, CARD)
    text = dict(rows)
    assert text["cache key"] == identity.key
    assert text["by hand"].startswith("trtexec --onnx=m.onnx")
    assert any(title == "left out" and "TensorRT 11" in words for title, words in rows)
    assert "NVIDIA RTX A4000, 8.6" in text["GPU"]


INSPECTOR = """{"Layers": [
  {"Name": "a", "LayerType": "CaskConvolution",
   "Inputs": [{"Name": "x", "Format/Datatype": "Half NHWC8"}],
   "Outputs": [{"Name": "y", "Format/Datatype": "Half NHWC8"}]},
  {"Name": "b", "LayerType": "CaskConvolution",
   "Inputs": [{"Name": "y", "Format/Datatype": "Int8 NC/32HW32"}],
   "Outputs": [{"Name": "z", "Format/Datatype": "Half NHWC8"}]},
  {"Name": "c", "LayerType": "Reformat",
   "Inputs": [{"Name": "z", "Format/Datatype": "Half NHWC8"}],
   "Outputs": [{"Name": "w", "Format/Datatype": "Float"}]}],
 "Bindings": ["frame", "mask"]}"""
"""In the documented form; not taken from a device."""


def test_an_account_without_types_is_refused():
    with pytest.raises(BackendError, match="profiling verbosity DETAILED"):
        built_precisions('{"Layers": ["a", "b"]}', {"fp16": 2})


def test_the_engines_own_account_counts_before_the_parsed_network():
    built = built_precisions(INSPECTOR, {"fp32": 9})
    assert built == Precisions("engine inspector", {"fp16": 1, "int8": 1})
    assert "not loaded" in built_precisions(None, {"fp16": 2}).source


@pytest.mark.parametrize("asked", ["fp16", "int8"])
def test_a_precision_that_was_not_built_is_an_error(asked):
    with pytest.raises(BackendError, match=rf"{asked.upper()} was asked for but not built.*3 fp32"):
        require(asked, Precisions("engine inspector", {"fp32": 3}))
    require(asked, Precisions("engine inspector", {"fp32": 3, asked: 1}))
    require("fp32", Precisions("engine inspector", {}))
