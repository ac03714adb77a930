"""What is remembered of a data set's files is what they held, not how reading them went once."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.training.labelled import write_folder
from training.data.check import check


@pytest.mark.parametrize("folder", ["train", "train_labels"])
def test_a_passing_error_of_the_disk_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    root = write_folder(tmp_path / "animals")
    bad, opened = root / folder / "train_1.png", Image.open

    def fail_once(path: Any, *arguments: Any, **options: Any) -> Any:
        if path == bad:
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", fail_once)
        report = check(f"folder:{root}")
    assert [(p.kind, p.file) for p in report.fatal] == [("unreadable file", str(bad))]

    # when: the disk is well again
    assert check(f"folder:{root}").problems == []
