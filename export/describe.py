"""What an artefact, an official checkpoint or a preset is, as plain values and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edge_runtime.artifacts import check_readable, read_manifest
from edge_runtime.errors import ArtifactError
from edge_runtime.zoo import resolve_model

if TYPE_CHECKING:
    from rich.console import RenderableType

    from training.model.hyperseg import HyperSeg


LEVEL_TITLES = {
    "inputs": "in",
    "outputs": "out",
    "patch_px": "patch px",
    "weights_per_patch": "weights",
    "signal_offset": "from",
    "signal_channels": "signal",
}
"""Short column titles, so that the table fits 80 columns."""


def describe(text: str, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Everything known about `text`: a path, a shipped model's name, or a preset's.

    An ONNX model needs no torch: its manifest was written when it was made.

    Args:
        text: what to look at.
        size: (height, width) to count multiply-accumulates at; None takes the training size.

    Raises:
        ArtifactError: it is none of these, or damaged.
    """
    from training.presets import PRESETS

    try:
        path = resolve_model(text, others=PRESETS)
    except ArtifactError:
        network = _preset(text)
        if network is None:
            raise
        return {"kind": "preset", "name": text, **network_facts(network, size)}
    check_readable(path)
    if path.suffix in (".pth", ".pt"):
        from training.official import load_official

        facts = network_facts(load_official(path), size)
        return {"kind": "official checkpoint", "name": path.name, **facts}
    manifest = read_manifest(path)
    facts = {"path": str(path), "bytes": path.stat().st_size, **msgspec.to_builtins(manifest)}
    if manifest.kind == "checkpoint":
        from training.checkpoint import load_checkpoint

        facts |= network_facts(load_checkpoint(path)[0], size)
    return facts


def _preset(name: str) -> HyperSeg | None:
    from training.presets import PRESETS, preset

    if name.partition("+")[0] not in PRESETS:
        return None
    from training.model.hyperseg import HyperSeg

    return HyperSeg(preset(name)).eval()


def network_facts(net: HyperSeg, size: tuple[int, int] | None) -> dict[str, Any]:
    """Parameters and multiply-accumulates by part, of the reference and the deployment form."""
    from export.counts import count_macs
    from export.deploy import DeployNetwork
    from training.model.config import check_size
    from training.model.encoders.base import parameter_count

    size = size or net.config.train_size
    check_size(net.config, *size)
    macs = count_macs(net, size)
    deployed = DeployNetwork(net, size)
    return {
        "encoder": net.config.encoder.name,
        "classes": net.config.num_classes,
        "size": list(size),
        "size_multiple": net.config.size_multiple,
        "parameters": parameter_count(net),
        "parameters_by_part": {
            name: parameter_count(child) for name, child in net.named_children()
        },
        "macs": macs.total,
        "macs_by_part": macs.by_part,
        "deployed": {
            "parameters": parameter_count(deployed),
            "macs": count_macs(deployed, size).total,
        },
        "levels": level_facts(net, size),
    }


def level_facts(net: HyperSeg, size: tuple[int, int]) -> list[dict[str, Any]]:
    """One row a decoder level: channels, patch size, generated weights, share of the signal."""
    from training.model.decoder import Decoder
    from training.model.meta_block import MetaConv

    decoder = net.decoder
    if not isinstance(decoder, Decoder):
        return []
    grid = decoder.config.patch_grid
    rows = []
    for index, level in enumerate(decoder.meta_blocks()):
        stride = decoder.config.strides[index]
        generator, _ = decoder.generator_of(index)
        cells = (grid, grid) if grid else (size[0] // 32, size[1] // 32)
        static = decoder.config.weights == "static"
        rows.append(
            {
                "stride": stride,
                "kernel": 1 if isinstance(level, MetaConv) else 3,
                "inputs": level.inputs,
                "outputs": level.outputs,
                "patches": 1 if static else cells[0] * cells[1],
                "patch_px": [size[0] // stride // cells[0], size[1] // stride // cells[1]],
                "weights_per_patch": level.num_dynamic_weights,
                "signal_offset": None if static else generator.offset,
                "signal_channels": None if static else generator.channels,
            }
        )
    return rows


def table(facts: dict[str, Any]) -> RenderableType:
    """The facts as a person reads them."""
    from rich.console import Group
    from rich.table import Table

    main = Table(show_header=False, box=None, pad_edge=False)
    for key, value in facts.items():
        if (text := _cell(key, value)) is not None:
            main.add_row(key.replace("_", " "), text)
    if not facts.get("levels"):
        return main
    names = list(facts["levels"][0])
    levels = Table(title="decoder levels", title_justify="left", title_style="")
    for name in names:
        levels.add_column(LEVEL_TITLES.get(name, name), justify="right")
    for row in facts["levels"]:
        levels.add_row(*(_plain(row[name]) for name in names))
    return Group(main, "", levels)


def _cell(key: str, value: Any) -> str | None:
    """One value as text; None leaves the row out."""
    if key in ("levels", "options", "format_version") or value in (None, "", [], (), {}):
        return None
    if key in ("parameters", "macs"):
        return _big(value, key)
    if key == "labels":
        return f"{value['name']}: {', '.join(value['names'])}"
    if key == "parents":
        return ", ".join(f"{p['kind']} {p['name']} ({p['sha256'][:12]})" for p in value)
    if key == "metrics":
        return "; ".join(f"{m['name']} {m['value']:.4g} on {m['data']}" for m in value)
    if key == "parity":
        return (
            f"{'passed' if value['passed'] else 'FAILED'} against {value['reference']} on "
            f"{value['frames']} frames: rewriting error {value['rewrite_error']:.2g}, runtime "
            f"error {value['max_abs_error']:.2g} of {value['max_abs_reference']:.3g} (noise floor "
            f"{value['noise_floor']:.2g}), agreement {value['agreement']:.6f}"
            + ("; chaotic: float32 decides nothing here" if value["chaotic"] else "")
        )
    if key in ("inputs", "outputs"):
        return ", ".join(f"{t['name']} {t['dtype']} {_plain(t['shape'])}" for t in value)
    if isinstance(value, dict):
        return ", ".join(
            f"{k} {_big(v, key) if isinstance(v, int) else v}" for k, v in value.items()
        )
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "x".join(str(item) for item in value)
    return "-" if value is None else str(value)


def _big(value: int, unit: str) -> str:
    if value >= 10**8 and "parameters" not in unit:
        return f"{value / 1e9:.3f} G"
    return f"{value / 1e6:.3f} M"
