"""A report as a file: JSON, or one page to look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.artifacts import write_text_atomic

if TYPE_CHECKING:
    from pathlib import Path


def json_text(value: object) -> str:
    """Plain values as JSON text, ending with a newline; NaN and infinity, which JSON lacks, null.

    Keys keep their order; numpy's float64 may be among the values.
    """
    encoded = msgspec.json.encode(value, enc_hook=_builtin)
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def _builtin(value: object) -> float:
    if isinstance(value, float):
        return float(value)
    raise NotImplementedError


class ReportFile(ABC):
    """What all reports can do."""

    @abstractmethod
    def to_json(self) -> str:
        """The report as JSON text, ending with a newline."""

    def write(self, path: Path) -> None:
        """Write the report so that the file is either the old one or the complete new one.

        Args:
            path: one that ends in ``.html`` is a page to look at, with the JSON in it.

        Raises:
            OptionError: the file cannot be written.
        """
        # Imported here: most runs write no page.
        from edge_runtime.page.files import is_page, write_page

        if is_page(path):
            write_page(path, self)
        else:
            write_text_atomic(path, self.to_json())
