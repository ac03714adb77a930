"""INT8 accuracy, ours beside NVIDIA Model-Optimizer's, on the same frames and images.

Model-Optimizer pins an older onnx and wants CUDA packages of gigabytes, so it is given an
environment of its own, in a folder that must be named: its ONNX part, with the CPU builds of torch
and onnxruntime in place of the CUDA ones and without cupy; 1.4 GB. It quantises the same float
graph on the CPU. Both results are scored by the same ONNX Runtime, paired image by image.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from benchmarks.int8_accuracy import EveryNth
from benchmarks.labelled import labelled_arguments
from benchmarks.paired import report
from calibration.calibrate import calibrate
from calibration.judge import Runner, judge
from calibration.labelled import open_labelled
from calibration.options import CalibrateOptions
from calibration.policy import POLICIES
from calibration.qdq import strip
from calibration.samples import SampleOptions, gather, refuse_shared
from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import BackendError
from edge_runtime.stored_weights import unpack_weights

if TYPE_CHECKING:
    from calibration.frames import FrameSet

VERSION = "0.47.0"
TORCH = "2.13.0+cpu"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""Where the CPU build is looked for if no configured index has it."""
NEEDS = (
    "numpy<3", "onnx~=1.21.0", "onnxruntime~=1.24.2", "onnx-graphsurgeon>=0.6.1",
    "onnxconverter-common~=1.16.0", "onnxscript", "onnxslim>=0.1.76", "polygraphy>=0.53.4",
    "lief", "ml_dtypes", "cppimport", "ninja", "nvidia-ml-py>=12", "omegaconf>=2.3.0", "pulp<4.0",
    "pydantic>=2", "regex", "rich", "safetensors", "scipy", "tqdm", "PyYAML>=6", "packaging",
    "setuptools>=80",
)  # fmt: skip
"""What ``nvidia-modelopt[onnx]`` asks for, less torch and what needs CUDA."""
METHODS = ("max", "entropy")
CHILD = """
import json, sys
import numpy as np
from modelopt.onnx.quantization import quantize
made = json.loads(sys.argv[1])
quantize(
    made["source"], quantize_mode="int8", calibration_method=made["method"],
    calibration_data={made["input"]: np.load(made["frames"])}, calibration_eps=["cpu"],
    high_precision_dtype="fp32", output_path=made["output"], log_level="ERROR",
)
"""


def environment(folder: Path) -> Path:
    """The Python of an environment with Model-Optimizer in `folder`; made if it is not there.

    Raises:
        subprocess.CalledProcessError: it cannot be installed; pip has said why.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)

    def pip(*arguments: str) -> bool:
        command = [str(python), "-m", "pip", "install", "--quiet", *arguments]
        return subprocess.run(command, check=False, stdout=sys.stderr).returncode == 0

    probe = [str(python), "-c", "import modelopt.onnx.quantization"]
    if subprocess.run(probe, check=False, capture_output=True).returncode == 0:
        return python
    installed = (
        pip(f"torch=={TORCH}") or pip("--extra-index-url", TORCH_INDEX, f"torch=={TORCH}")
    ) and pip(*NEEDS)
    if not (installed and pip("--no-deps", f"nvidia-modelopt=={VERSION}")):
        raise SystemExit(f"Model-Optimizer {VERSION} cannot be installed into {folder}")
    subprocess.run(probe, check=True)
    return python


def rival(
    python: Path, source: Path, frames: FrameSet, method: str, folder: Path
) -> onnx.ModelProto | str:
    """Model-Optimizer's quantised form; the end of what it said if there is none."""
    stacked, target = folder / "frames.npy", folder / "rival.onnx"
    np.save(stacked, np.stack([frames.read(index)[1] for index in range(len(frames))]))
    target.unlink(missing_ok=True)
    made = {
        "source": str(source), "frames": str(stacked), "method": method, "output": str(target),
        "input": onnx.load_model(source).graph.input[0].name,
    }  # fmt: skip
    done = subprocess.run(
        [str(python), "-c", CHILD, json.dumps(made)],
        check=False, capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    if done.returncode or not target.exists():
        return done.stderr.strip()[-2000:]
    return onnx.load_model(target)


def quantised_operators(graph: onnx.ModelProto) -> dict[str, int]:
    """Kind -> how many read a dequantised tensor at their first input."""
    made = {node.output[0]: node.op_type for node in graph.graph.node}
    found: dict[str, int] = {}
    for node in graph.graph.node:
        if node.input and made.get(node.input[0]) == "DequantizeLinear":
            found[node.op_type] = found.get(node.op_type, 0) + 1
    found.pop("QuantizeLinear", None)
    return found


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The float model's mIoU, and every INT8 form's with its drop."""
    python = environment(options.venv)
    manifest = read_manifest(options.model, kind="onnx")
    float_model = unpack_weights(strip(onnx.load_model(options.model)))
    source = folder / "float.onnx"
    onnx.save_model(float_model, source)
    data = EveryNth(open_labelled(options.data, options.split, manifest.input_size), options.every)
    chosen = SampleOptions(options.frames, options.samples)
    frames = gather(chosen, manifest, folder / "frames")
    refuse_shared(frames, data, manifest)
    forms: dict[str, onnx.ModelProto | str] = {}
    for rounding in ("nearest", "adaptive"):
        made = folder / f"{rounding}.onnx"
        calibrate(
            options.model,
            CalibrateOptions(
                made, chosen, policy=options.policy, rounding=rounding, threads=options.threads
            ),
        )
        forms[f"hyperseg {options.policy}, {rounding}"] = onnx.load_model(made)
    for method in options.methods:
        name = f"modelopt {VERSION} {method}"
        forms[name] = rival(python, source.resolve(), frames, method, folder.resolve())
    fp32 = Runner(float_model, options.threads)
    figures: dict[str, Any] = {"model": manifest.name, "model_sha256": manifest.sha256}
    figures |= {"data": data.name, "images": len(data), "calibrated_on": len(frames)}
    figures |= {"measured_with": fp32.name, "int8": {}}
    for name, form in forms.items():
        if isinstance(form, str):
            figures["int8"][name] = {"does_not_quantise": form}
            continue
        try:
            verdict = judge(fp32, Runner(form, options.threads), data, manifest)
        except BackendError as error:
            figures["int8"][name] = {"does_not_run": str(error)}
            continue
        figures["fp32_miou"] = verdict.fp32.miou
        figures["int8"][name] = {
            "miou": verdict.int8.miou, "miou_drop_points": verdict.drop,
            "operators": quantised_operators(form),
        }  # fmt: skip
    return figures


def main() -> None:
    """Compare on one labelled split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    labelled_arguments(parser)
    parser.add_argument("--venv", type=Path, required=True, help="folder for the rival's packages")
    parser.add_argument("--policy", choices=list(POLICIES), default="trt-gpu")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options, Path(folder))
    report(figures, options.json)


if __name__ == "__main__":
    main()
