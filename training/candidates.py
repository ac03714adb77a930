"""What may stand for PRESET on a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.completion.candidates import matching, models

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def complete_presets(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Presets; behind a ``+``, variations of one."""
    # Imported here: `--help` needs none of them.
    from training.presets import PRESETS, VARIATIONS

    base, plus, _ = incomplete.rpartition("+")
    words = (f"{base}+{variation}" for variation in VARIATIONS) if plus else PRESETS
    return matching(words, incomplete)


def complete_subjects(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Shipped models, presets, and files."""
    return [*complete_presets(ctx, param, incomplete), *models(ctx, param, incomplete)]
