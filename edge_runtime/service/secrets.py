"""Secrets in the words of a command line: ``{secret:NAME}`` stands for one that is kept elsewhere.

A command line and a unit file can be read by every user of the machine.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError
from edge_runtime.redact import remember_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER_VARIABLE = "CREDENTIALS_DIRECTORY"
"""Set by systemd for ``LoadCredential=``; in a container to ``/run/secrets``."""
_PLACE = re.compile(r"\{secret:([A-Za-z_][A-Za-z0-9_]*)\}")


def reveal(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """`text` with each ``{secret:NAME}`` replaced by the file NAME, or else the variable NAME.

    From then on `redact` hides what stands there.

    The file lies in the folder that `FOLDER_VARIABLE` names; white space around it is not part of
    it. In a URI a secret stands as it is, so special characters must be percent-encoded in it.

    Raises:
        OptionError: there is no such secret, or it cannot be read.
    """
    return _PLACE.sub(lambda match: _find(match[1], environ), text)


def names_of(texts: Iterable[str]) -> set[str]:
    """All names of secrets in `texts`."""
    return {name for text in texts for name in _PLACE.findall(text)}


def without_secrets(text: str) -> str:
    """`text` with a harmless word in each place, to see what else it says."""
    return _PLACE.sub("secret", text)


def _find(name: str, environ: Mapping[str, str]) -> str:
    file = Path(environ.get(FOLDER_VARIABLE, "")) / name
    try:
        if environ.get(FOLDER_VARIABLE) and file.is_file():
            secret = file.read_text(encoding="utf-8").strip()
        else:
            secret = environ[name]
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read the secret {file}: {error}") from error
    except KeyError:
        raise OptionError(
            f"no secret {name!r}: expected a file of this name in ${FOLDER_VARIABLE}, or a variable"
        ) from None
    remember_secret(secret)
    return secret
