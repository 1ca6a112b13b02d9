"""How much memory reading many MIDI files takes, in all processes together.

    python experiments/prepare_memory.py                       50,000 small files
    python experiments/prepare_memory.py --files 5000 --processes 2
    python experiments/prepare_memory.py --from FOLDER         copies of that folder's files, transposed

The files are random tunes of four bars with a bass, or copies of given ones, transposed. `musicae prepare`
reads them in a process of its own, with as many reading processes as there are cores. Its memory and that of its
children are added up ten times a second: the proportional set size of the kernel, in which a page that several
processes share counts once.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

FILES = 50_000
_EVERY_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--processes", type=int, help="that read; by default one for each core")
    parser.add_argument("--from", dest="source", type=Path, help="folder of MIDI files; by default tunes are made")
    given = parser.parse_args()
    print(json.dumps(measure(given.files, given.processes, given.source)))


def measure(files: int, processes: int | None = None, source: Path | None = None) -> dict[str, Any]:
    """Counts of `prepare`, seconds, and the most memory in GiB, of all processes and of the parent alone."""
    with tempfile.TemporaryDirectory(prefix="prepare-memory-") as folder:
        place = Path(folder)
        write_files(place / "midi", files, source)
        command = [sys.executable, "-m", "musicae.cli", "prepare", str(place / "midi"), "--domain", "music"]
        command += [] if processes is None else ["--processes", str(processes)]
        environment = os.environ | {"MUSICAE_CACHE": str(place / "cache")}
        started = time.perf_counter()
        with (place / "said").open("w", encoding="utf-8") as said:
            reading = subprocess.Popen(command, stdout=said, env=environment)
            most, most_alone, most_processes = 0, 0, 0
            while reading.poll() is None:
                sizes = [memory_of(process) for process in (reading.pid, *descendants(reading.pid))]
                most, most_alone = max(most, sum(sizes)), max(most_alone, sizes[0])
                most_processes = max(most_processes, len(sizes))
                time.sleep(_EVERY_S)
        if reading.returncode:
            raise RuntimeError(f"prepare failed with exit status {reading.returncode}")
        return {
            "said": (place / "said").read_text(encoding="utf-8").splitlines()[0],
            "seconds": round(time.perf_counter() - started, 1),
            "processes": most_processes,
            "peak_gib": round(most / 2**30, 3),
            "parent_peak_gib": round(most_alone / 2**30, 3),
        }


def write_files(folder: Path, count: int, source: Path | None) -> None:
    """Writes MIDI files, a thousand to a folder."""
    from symusic import Note, Score, Tempo, TimeSignature, Track

    originals = [Score(str(path)) for path in sorted(source.rglob("*.mid"))] if source is not None else []
    generator = np.random.default_rng(0)
    for number in range(count):
        target = folder / f"{number // 1000:03d}" / f"{number:06d}.mid"
        target.parent.mkdir(parents=True, exist_ok=True)
        if originals:
            score = originals[number % len(originals)].copy().shift_pitch(number // len(originals) % 11 - 5)
        else:
            score = Score(480)
            score.tempos.append(Tempo(0, 120))
            score.time_signatures.append(TimeSignature(0, 4, 4))
            track, bass = Track("Melody"), Track("Bass", 32)
            for step, pitch in enumerate(generator.integers(55, 85, 32).tolist()):
                track.notes.append(Note(step * 240, 240, pitch, 90))
                if step % 4 == 0:
                    bass.notes.append(Note(step * 240, 960, pitch - 24, 80))
            score.tracks.append(track)
            score.tracks.append(bass)
        score.dump_midi(str(target))


def memory_of(process: int) -> int:
    """Proportional set size in bytes; 0 once the process has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def descendants(process: int) -> Iterator[int]:
    """Its children, and theirs."""
    for task in Path(f"/proc/{process}/task").glob("*"):
        with suppress(OSError):
            for child in map(int, (task / "children").read_text(encoding="utf-8").split()):
                yield child
                yield from descendants(child)


if __name__ == "__main__":
    main()
