"""What a sync costs that changes a file's size: three ways to write a write-ahead file while a sealer writes beside it.

Two processes write frames of 2.6 KB and sync each, by turns into files that grow, into files that take 1 MiB of room at
a time, and into files that were filled with zeros before (`ledger/wal.py`, `ledger/spare.py`). A third one writes and
syncs large and small files, as publishing does. Figure: median of the third way, in milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from multiprocessing.synchronize import Event
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench._measuring import arguments, fresh_directory, machine, report

FRAME_BYTES = 2600
FRAMES = 2000
WRITERS = 2
PAUSE_S = 0.0005
WAYS = {"grows": 0, "room": 1 << 20, "prepared": FRAMES * FRAME_BYTES}
LARGE_BYTES = (3 << 20, 2 << 20, 300 << 10, 200 << 10)
SMALL_FILES = 12
BETWEEN_CUTS_S = 0.4


def publish(directory: Path, stop: Event) -> None:
    """What the sealer does to the disk, again and again."""
    noise = os.urandom(max(LARGE_BYTES))
    while not stop.wait(BETWEEN_CUTS_S):
        for number, size in enumerate((*LARGE_BYTES, *[8000] * SMALL_FILES)):
            fd = os.open(directory / f"published{number}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.write(fd, noise[:size])
            os.fdatasync(fd)
            os.close(fd)


def write(path: Path, room: int) -> list[float]:
    """Seconds of each write with its sync; `room` zeros are taken whenever the file's end is reached."""
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    frame, times, end = os.urandom(FRAME_BYTES), [], 0
    if room >= FRAMES * FRAME_BYTES:
        os.write(fd, bytes(room))
        os.fdatasync(fd)
        end = room
    for number in range(FRAMES):
        offset = number * FRAME_BYTES
        began = time.perf_counter()
        if offset + FRAME_BYTES > end:
            end = offset + FRAME_BYTES + room
            os.pwrite(fd, frame + bytes(room), offset)
        else:
            os.pwrite(fd, frame, offset)
        os.fdatasync(fd)
        times.append(time.perf_counter() - began)
        time.sleep(PAUSE_S)
    os.close(fd)
    path.unlink()
    return times


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "").parse_args()
    medians: dict[str, list[float]] = {way: [] for way in WAYS}
    p99s: dict[str, list[float]] = {way: [] for way in WAYS}
    with fresh_directory(options.directory) as directory:
        where = machine(directory)
        stop = multiprocessing.Event()
        sealer = multiprocessing.Process(target=publish, args=(directory, stop))
        sealer.start()
        with multiprocessing.Pool(WRITERS) as writers:
            for run in range(options.runs):
                for way, room in WAYS.items():
                    jobs = [(directory / f"{way}{run}.{writer}", room) for writer in range(WRITERS)]
                    times = sorted(taken * 1e3 for part in writers.starmap(write, jobs, 1) for taken in part)
                    medians[way].append(statistics.median(times))
                    p99s[way].append(times[int(len(times) * 0.99)])
        stop.set()
        sealer.join()
    median = {way: statistics.median(found) for way, found in medians.items()}
    p99 = {way: statistics.median(found) for way, found in p99s.items()}
    report(
        name="sync",
        figure=median["prepared"],
        unit="ms",
        ratios={way: median["prepared"] / median[way] for way in WAYS if way != "prepared"},
        detail={**where, **{f"{way}_ms": [round(median[way], 3), round(p99[way], 3)] for way in WAYS}},
        words=[
            f"{where['cpu']}; {where['filesystem']}, fdatasync p99 {where['fdatasync_p99_ms']} ms",
            *(f"{way}: median {median[way]:.2f} ms, p99 {p99[way]:.2f} ms" for way in WAYS),
        ],
    )


if __name__ == "__main__":
    main()
