"""The command ``data import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.cli_options import reporting
from edge_runtime.errors import OptionError, SourceError
from edge_runtime.progress import bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.cli_options import Output
    from training.data.importers.base import Imported, ReadOptions

FORMATS = {
    "camvid": "CamVid at 480x360 as distributed with SegNet",
    "camvid32": "CamVid as first published: 701 stills, 32 colours; gives the 11 classes",
    "cityscapes": "leftImg8bit and gtFine",
    "coco": "COCO polygons and run lengths: a .json, or a folder with annotations/*.json",
    "cvat": "CVAT 'Segmentation mask 1.1': labelmap.txt and SegmentationClass",
    "folder": "another data set in this form",
    "labelme": "labelme .json files",
    "masks": "images/ and masks/ without splits, with a meta.json for ids or colours",
    "voc": "PASCAL VOC 2012",
    "vocaug": "PASCAL VOC 2012 with SegmentationClassAug",
}


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if value else ()


def _merges(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    merges = []
    for value in values:
        new, _sign, olds = value.partition("=")
        parts = tuple(name.strip() for name in olds.split(",") if name.strip())
        if not new.strip() or not parts:
            raise OptionError(f"--merge {value!r} is not understood; expected NEW=OLD,OLD")
        merges.append((new.strip(), parts))
    return tuple(merges)


@click.command(
    "import", epilog="Formats: " + "; ".join(f"{name}: {text}" for name, text in FORMATS.items())
)
@click.argument("kind", metavar="FORMAT", type=click.Choice(tuple(FORMATS)))
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "folder", required=True, type=click.Path(path_type=Path),
    help="A new folder.",
)  # fmt: skip
@click.option(
    "--images", type=click.Path(path_type=Path), help="Where the images lie, if elsewhere."
)
@click.option("--split", "ratios", metavar="T/V/T", help="Shares of train/val/test.  [default: the "
              "source's splits, else 0.8/0.1/0.1]")  # fmt: skip
@click.option(
    "--group", "group_by", type=click.Choice(("auto", "folder", "sequence", "none")),
    default="auto", show_default=True, help="What never goes into two splits.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split.")
@click.option("--classes", callback=_names, metavar="A,B", help="Keep these, in this order.")
@click.option("--ignore", callback=_names, metavar="A,B", help="Ignore the pixels of these.")
@click.option("--merge", callback=_merges, multiple=True, metavar="NEW=A,B", help="Merge classes.")
@click.option(
    "--others", type=click.Choice(("ignore", "background")), default="ignore", show_default=True,
    help="What classes that are not kept become.",
)  # fmt: skip
@click.option(
    "--unlabelled", type=click.Choice(("background", "ignore")), default="background",
    show_default=True, help="What pixels without annotation become (coco, labelme).",
)  # fmt: skip
@click.option(
    "--order", type=click.Choice(("area", "file")),
    help="Draw larger shapes first, or in the file's order.  [default: area for coco, file for "
    "labelme]",
)  # fmt: skip
@click.option(
    "--crowd", type=click.Choice(("class", "ignore")), default="class", show_default=True,
    help="What COCO's crowds become.",
)  # fmt: skip
@click.option(
    "--orientation", type=click.Choice(("upright", "stored")),
    help="Which way round the masks of images are that EXIF marks as turned.  [default: upright "
    "for coco, cvat, labelme, stored for masks in files]",
)  # fmt: skip
@click.option("--name", help="Of the data set.  [default: the folder's]")
@click.option("--license", default="", help="What the data imposes on weights trained on it.")
@reporting
def import_command(
    kind: str,
    source: Path,
    folder: Path,
    images: Path | None,
    ratios: str | None,
    output: Output,
    **values: Any,
) -> None:
    """Write annotations of another tool as a folder that `train --data folder:DIR` reads.

    The source is not touched; the folder appears when it is complete.
    """
    from training.data.importers.base import ReadOptions
    from training.data.importers.selection import Selection, plan
    from training.data.importers.splitting import parse_ratios
    from training.data.importers.writer import WriteOptions, write

    for place in (source, images):
        if place is not None and not place.exists():
            raise SourceError(f"{place} does not exist; name the annotations to import")
    reading = ReadOptions(
        images, values["unlabelled"], values["order"], values["crowd"], values["orientation"]
    )
    imported = _reader(kind)(source, reading)
    selection = Selection(values["classes"], values["ignore"], values["merge"], values["others"])
    options = WriteOptions(
        values["name"] or folder.absolute().name,
        values["license"],
        parse_ratios(ratios) if ratios else None,
        values["group_by"],
        values["seed"],
    )
    classes = plan(imported, selection)
    with bar("writing images", quiet=output.quiet) as progress:
        written = write(imported, classes, folder, options, progress)
    facts = {
        "wrote": folder,
        "splits": written.counts,
        "split_by": written.how,
        "classes": list(classes.classes),
        "left_out": imported.left_out,
        "turned": written.turned,
    }
    output.deliver_facts("data-import", facts)
    counts = ", ".join(f"{split} {count}" for split, count in written.counts.items())
    output.tell(f"{folder}: {counts} ({written.how}); {len(classes.classes)} classes")
    for what, count in imported.left_out.items():
        output.say(f"left out: {count} {what}")
    if written.turned:
        output.say(
            f"turned by EXIF: {written.turned} images, written without that mark; see with "
            "`hyperseg data preview` that the masks fit (else: --orientation)"
        )
    output.tell(f"next: hyperseg data check folder:{folder}")


def _reader(kind: str) -> Callable[[Path, ReadOptions], Imported]:
    from functools import partial

    from training.data.importers import coco, cvat, labelme, stored

    readers: dict[str, Callable[[Path, ReadOptions], Imported]] = {
        "camvid32": stored.read_camvid32,
        "coco": coco.read,
        "cvat": cvat.read,
        "labelme": labelme.read,
        "masks": stored.read_masks,
    }
    return readers.get(kind) or partial(stored.read, kind)
