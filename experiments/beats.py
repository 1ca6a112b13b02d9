"""Whether music lies on beats: how far its onsets agree on any division of the quarter, set by set.

    python experiments/beats.py SETS

prints the least, the median and the largest agreement of the files of each set with at least 100 notes, and how many
would be refused as played without beats (`musicae.music.quantize`).
"""

import json
import sys
from pathlib import Path

import numpy as np

from musicae.errors import MusicaeError
from musicae.music.quantize import FEWEST_TO_DOUBT, LEAST_AGREEMENT, agreement
from musicae.music.score import note_table, read_scores

SETS = ("groove", "openscore_lieder", "piano_performance/giantmidi", "piano_performance/piano-midi", "pop909", "trio")


def agreements(folder: Path) -> np.ndarray:
    """Of every file that can be read and has enough notes, all tracks together."""
    found = []
    for path in sorted(folder.rglob("*.mid")):
        try:
            named = read_scores(path)[0]
        except MusicaeError:
            continue
        notes = note_table(named.score) if named.notes is None else named.notes
        if len(notes) >= FEWEST_TO_DOUBT:
            found.append(agreement(notes.start, named.score.tpq))
    return np.array(found)


def main() -> None:
    """Prints JSON."""
    sets = Path(sys.argv[1])
    for name in SETS:
        found = agreements(sets / name)
        row = {"files": len(found), "refused": int((found < LEAST_AGREEMENT).sum())}
        quantiles = np.quantile(found, [0, 0.5, 1]).round(3).tolist() if len(found) else []
        print(json.dumps({"set": name, **row, "least_median_most": quantiles}))


if __name__ == "__main__":
    main()
