"""The verb `completion`."""

from __future__ import annotations

import click

from edge_runtime.completion.shells import SHELLS


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    r"""Print what makes SHELL complete verbs, options, models, sources and sinks.

    \b
    bash:  echo 'eval "$(hyperseg completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(hyperseg completion zsh)"' >> ~/.zshrc
    fish:  hyperseg completion fish > ~/.config/fish/completions/hyperseg.fish

    It works in shells that are started after that.
    """
    # Imported here: it needs the table of verbs, which names this module.
    from edge_runtime.completion.shells import script

    click.echo(script(shell), nl=False)
