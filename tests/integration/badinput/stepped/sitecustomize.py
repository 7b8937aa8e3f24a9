"""Imported by every process of a service under test: its wall clock is off by as much as a file says, at any moment.

The file that STEPPED_CLOCK names holds one signed 64-bit number of nanoseconds. Monotonic clocks are left alone, as a
real step leaves them.
"""

import mmap
import os
import struct
import time
from pathlib import Path

_OFFSET = struct.Struct("<q")


def _step(path: str) -> None:
    with Path(path).open("rb") as file:
        shared = mmap.mmap(file.fileno(), _OFFSET.size, prot=mmap.PROT_READ)
    time_ns = time.time_ns

    def stepped_ns() -> int:
        return time_ns() + int(_OFFSET.unpack_from(shared)[0])

    time.time_ns = stepped_ns
    time.time = lambda: stepped_ns() / 1e9


if "STEPPED_CLOCK" in os.environ:
    _step(os.environ["STEPPED_CLOCK"])
