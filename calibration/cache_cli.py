"""Verb ``calibration-cache``; onnx is imported by its bodies only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.command_group import SuggestingGroup
from edge_runtime.completion import candidates
from edge_runtime.errors import EXIT_FOUND, ArtifactError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.artifacts import Manifest
    from edge_runtime.calibration_cache import Algorithm
    from edge_runtime.cli_options import Output

POLICY_NAMES = ("trt-gpu", "trt-dla")
ALGORITHM_NAMES = ("EntropyCalibration2", "MinMaxCalibration")
NAMES_SHOWN = 10


def _version(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int, int]:
    """``10.3`` or ``10.3.0`` as (major, minor, patch)."""
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?(?:\.\d+)?", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no TensorRT version; expected one such as 10.3.0")
    return int(found[1]), int(found[2]), int(found[3] or 0)


def _model(_: click.Context, __: click.Parameter, value: str) -> Path:
    """A file, or a shipped model by name."""
    from edge_runtime.zoo import resolve_model

    return resolve_model(value)


_MODEL = click.argument("model", callback=_model, shell_complete=candidates.models)
_POLICY = click.option(
    "--policy", type=click.Choice(POLICY_NAMES), default="trt-gpu", show_default=True,
    help="Which tensors need a range.",
)  # fmt: skip
_TARGET = click.option(
    "--target", callback=_version, default="10.3.0", show_default=True, help="The TensorRT."
)


@click.group("calibration-cache", cls=SuggestingGroup)
def calibration_cache() -> None:
    """Explain and convert calibration caches of TensorRT up to 10."""


@calibration_cache.command()
@_MODEL
@click.argument("cache", type=click.Path(path_type=Path))
@_POLICY
@_TARGET
@reporting
def explain(
    model: Path, cache: Path, policy: str, target: tuple[int, int, int], output: Output
) -> int:
    """Say what CACHE lacks for MODEL, and whether a TensorRT will take it.

    Exit code 1 if it will not. TensorRT itself is not asked: the rules are those of its
    documentation and samples.
    """
    from edge_runtime.calibration_cache import explain_cache, load_cache

    manifest, wanted, pairs = _wanted(model, policy)
    found, known = load_cache(cache, manifest)
    version = ".".join(map(str, target))
    by_trtexec = explain_cache(found, wanted, target=target)
    by_python = explain_cache(found, wanted, target=target, algorithm=found.algorithm)
    verdicts = {"trtexec --calib": by_trtexec, "a calibrator class": by_python}
    reasons = {
        user: [*verdict.refusals, *(["scales are missing"] if verdict.missing else [])]
        for user, verdict in verdicts.items()
    }
    facts = {
        "cache": {"version": found.version, "algorithm": found.algorithm},
        "coverage": by_trtexec.coverage,
        "missing": by_trtexec.missing,
        "extra": by_trtexec.extra,
        "target": version,
        "refused_by": reasons,
        "accepted": by_python.accepted,
    }
    output.deliver_facts("calibration-cache", facts)
    output.tell(
        f"{cache.name}: TensorRT {'.'.join(map(str, found.version))}, {found.algorithm}, "
        f"{len(found.scales)} scales"
    )
    output.tell(
        f"covers {100 * by_trtexec.coverage:.1f} % of the {len(wanted)} tensors that {policy} "
        f"quantises in {model.name}"
    )
    _list("missing", by_trtexec.missing, output)
    _list("extra", by_trtexec.extra, output)
    if not known:
        output.tell("note: nothing beside the cache says whose it is; judged by names alone")
    if pairs:
        output.tell(
            "note: TensorRT ignores a cache where the model has Q/DQ pairs, as this one has"
        )
    for user, why in reasons.items():
        output.tell(f"{user} of TensorRT {version}: " + ("; ".join(why) or "takes it"))
    return 0 if by_python.accepted else EXIT_FOUND


@calibration_cache.command()
@_MODEL
@click.option("--cache", type=click.Path(path_type=Path), help="Ranges for a float MODEL.")
@click.option(
    "-o", "--output", "place", type=click.Path(path_type=Path), required=True,
    help="A cache; with --cache, the INT8.onnx.",
)  # fmt: skip
@_POLICY
@_TARGET
@click.option(
    "--algorithm", type=click.Choice(ALGORITHM_NAMES), default=ALGORITHM_NAMES[0],
    show_default=True, help="Of the calibrator that will read the cache.",
)  # fmt: skip
@reporting
def convert(
    model: Path,
    cache: Path | None,
    place: Path,
    policy: str,
    target: tuple[int, int, int],
    algorithm: Algorithm,
    output: Output,
) -> None:
    """Make a cache of an INT8 MODEL, or with --cache an INT8 model of a float MODEL."""
    if not place.parent.is_dir():
        raise OptionError(f"cannot write {place}: no folder {place.parent}")
    if (cache is not None) != (place.suffix == ".onnx"):
        raise OptionError(
            f"output {place}: an .onnx is made with --cache, a cache without; change one of them"
        )
    count = (
        _to_cache(model, place, target, algorithm)
        if cache is None
        else _to_graph(model, cache, place, policy)
    )
    output.deliver_facts("calibration-cache-converted", {"wrote": place, "ranges": count})
    output.tell(f"wrote {place}: {count} ranges")


def _to_cache(model: Path, output: Path, target: tuple[int, int, int], algorithm: Algorithm) -> int:
    import onnx

    from calibration.cache_convert import graph_ranges, save_cache
    from edge_runtime.artifacts import read_manifest
    from edge_runtime.calibration_cache import cache_of

    manifest = read_manifest(model, kind="onnx")
    cache = cache_of(graph_ranges(onnx.load_model(model)), version=target, algorithm=algorithm)
    record = manifest.options.get("quantization")
    if not isinstance(record, dict) or not manifest.parents:
        raise ArtifactError(f"{model} does not say which model it was made from; calibrate again")
    save_cache(output, cache, str(record["policy"]), manifest.parents[0].sha256)
    return len(cache.scales)


def _to_graph(model: Path, cache: Path, output: Path, policy: str) -> int:
    from dataclasses import replace

    import onnx

    from calibration.policy import POLICIES, place
    from calibration.qdq import insert, strip
    from calibration.report import ranges_hash
    from edge_runtime.artifacts import (
        Parent,
        create_artifact,
        created_by_this_command,
        read_manifest,
    )
    from edge_runtime.calibration_cache import load_cache
    from edge_runtime.stored_weights import unpack_weights

    manifest = read_manifest(model, kind="onnx")
    ranges = load_cache(cache, manifest)[0].ranges
    graph = strip(unpack_weights(onnx.load_model(model)))
    content = insert(graph, place(graph, POLICIES[policy]), ranges).SerializeToString()
    record = {"policy": policy, "cache": cache.name, "ranges_sha256": ranges_hash(ranges)}
    described = replace(
        manifest,
        created_by=created_by_this_command(),
        options={**manifest.options, "quantization": record},
        parents=(Parent("onnx", model.name, manifest.sha256),),
        parity=None,
        metrics=(),
    )
    create_artifact(output, described, lambda part: part.write_bytes(content))
    return len(ranges)


def _wanted(model: Path, policy: str) -> tuple[Manifest, tuple[str, ...], bool]:
    """(manifest, tensors that need a range, whether the model has Q/DQ pairs)."""
    import onnx

    from calibration.cache_convert import graph_ranges
    from calibration.graph import QUANTIZE
    from calibration.policy import POLICIES, place
    from calibration.qdq import strip
    from edge_runtime.artifacts import read_manifest
    from edge_runtime.stored_weights import unpack_weights

    manifest = read_manifest(model, kind="onnx")
    graph = onnx.load_model(model)
    if any(node.op_type == QUANTIZE for node in graph.graph.node):
        return manifest, tuple(graph_ranges(graph)), True
    tensors = place(strip(unpack_weights(graph)), POLICIES[policy]).tensors
    return manifest, tuple(tensor.name for tensor in tensors), False


def _list(title: str, names: Sequence[str], output: Output) -> None:
    if names:
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        output.tell(f"{title} ({len(names)}): {', '.join(names[:NAMES_SHOWN])}{more}")
