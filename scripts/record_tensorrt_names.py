#!/usr/bin/env python3
"""Read which names of TensorRT's Python interface the compiled bindings wheels hold.

    pip download --no-deps --only-binary :all: --python-version 3.11 --dest WHEELS \
        tensorrt-cu12-bindings==10.3.0      (and ==10.16.1.11, tensorrt-cu13-bindings==11.4.0.106)
    scripts/record_tensorrt_names.py WHEELS            writes tests/export/tensorrt_names.json
    scripts/record_tensorrt_names.py WHEELS --verify   compares with it

The modules are not imported, since that needs NVIDIA's libraries: pybind11 keeps every name it
exports as a string in the file. The linker keeps a string that is the end of another only once
("Builder" within "IBuilder"), so such ends are recorded apart; an absent name is neither.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from export.tensorrt.capabilities import NAMES, RECORDED  # noqa: E402

RECORD = ROOT / "tests" / "export" / "tensorrt_names.json"
PATTERN = re.compile(r"tensorrt_cu\d+_bindings-(?P<version>[\d.]+)-")


def read_wheel(path: Path) -> dict[str, object]:
    """Which of `NAMES` stand as whole strings in the wheel's compiled module."""
    with zipfile.ZipFile(path) as wheel:
        (module,) = (name for name in wheel.namelist() if name.endswith("/tensorrt.so"))
        content = wheel.read(module)
    strings = set(content.split(b"\0"))
    whole = {name for name in NAMES if name.encode() in strings}
    ends = {name for name in NAMES if name.encode() + b"\0" in content} - whole
    return {
        "wheel": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "present": sorted(whole),
        "as_an_end": sorted(ends),
        "absent": sorted(set(NAMES) - whole - ends),
    }


def main() -> int:
    """Write or verify the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", type=Path)
    parser.add_argument("--verify", action="store_true", help="compare instead of writing")
    options = parser.parse_args()
    found = {}
    for path in sorted(options.wheels.glob("*.whl")):
        match = PATTERN.match(path.name)
        if match and match["version"] in RECORDED:
            found[match["version"]] = read_wheel(path)
    if missing := set(RECORDED) - set(found):
        print(f"{options.wheels} lacks bindings wheels of {', '.join(sorted(missing))}")
        return 2
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    if not options.verify:
        RECORD.write_text(text)
        print(f"wrote {RECORD.name}: {len(NAMES)} names in {len(found)} versions")
        return 0
    same = text == RECORD.read_text()
    print("the record is what the wheels hold" if same else "the record differs from the wheels")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
