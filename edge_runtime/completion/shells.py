"""How shells ask what may stand where; importing this makes our bash known to click."""

from __future__ import annotations

import os
import re

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from edge_runtime.completion.candidates import paths

PROGRAM = "hyperseg"
SHELLS = ("bash", "zsh", "fish")
GOES_ON = (":", "/", "=")
"""A word that ends so is not complete: no blank is put behind it."""

_BASH = """\
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            part) compopt -o nospace; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2> /dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Completion in bash, which takes words apart at colons and equal signs, as our sources have.

    So the line is split here, and of each answer only what stands behind the last of them is given.
    """

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The complete words behind the program, and the one that is being typed."""
        line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
        words = split_arg_string(line)
        last = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], last

    def complete(self) -> str:
        """The answers, a line each: what it is, and the text."""
        words, typed = self.get_completion_args()
        found = self.get_completions(words, typed)
        value = typed.partition("=")[2] if typed.startswith("-") and "=" in typed else typed
        breaks = [value.rfind(c) + 1 for c in ":=" if c in os.environ.get("COMP_WORDBREAKS", "")]
        known = max(breaks, default=0)
        return "\n".join(_line(item, known) for item in _with_files(found, value))


def script(shell: str) -> str:
    """What a shell has to read once.

    Args:
        shell: one of `SHELLS`.
    """
    # Imported here: the table of verbs imports what is above.
    from edge_runtime.cli import COMPLETION, hyperseg

    known = get_completion_class(shell)
    assert known is not None, f"click knows no completion for {shell}"
    complete = known(hyperseg, {}, PROGRAM, COMPLETION)
    return complete.source_template % complete.source_vars()


def _with_files(found: list[CompletionItem], value: str) -> list[CompletionItem]:
    """With the files themselves where there are other answers; bash would take those alone."""
    plain = [item for item in found if item.type == "plain"]
    wants_files = any(item.type == "file" for item in found)
    return [*plain, *paths("", value)] if plain and wants_files else found


def _line(item: CompletionItem, known: int) -> str:
    if item.type != "plain":
        return f"{item.type},"
    kind = "part" if item.value.endswith(GOES_ON) else "plain"
    return f"{kind},{_quoted(item.value[known:])}"


def _quoted(text: str) -> str:
    return re.sub(r"""([\s'"\\$&;()<>|*?\[\]!`#{}])""", r"\\\1", text)


add_completion_class(Bash)
