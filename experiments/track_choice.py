"""How often the melody's track is found in music whose melody is known, names hidden.

    python experiments/track_choice.py SETS           right choices, by rule
    python experiments/track_choice.py SETS --fit     the weights in `musicae.music.tracks`, from every second file
    python experiments/track_choice.py SETS --ablate  right choices where one kind of evidence is left out of the fit

SETS has the folders `pop909`, whose melody is the track MELODY, and `piano_performance`, whose pieces for two hands
have the tracks "Piano right" and "Piano left". The least polyphonic and the highest track are what the choice is
compared with. Weights are those of a softmax over the tracks of a file; both sets count alike.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from musicae.errors import MusicaeError
from musicae.music.score import NoteTable, note_table, read_scores
from musicae.music.tracks import MELODY_WEIGHTS, TrackSummary, choose_melody, melody_evidence, summarise_tracks

SETS = {"pop909": ("MELODY", ""), "piano_performance/piano-midi": ("Piano right", "Piano left")}
"""Folder → the melody's name, and a name that must be there too."""
_FITTED = [name for name in MELODY_WEIGHTS if name != "lyrics"]  # no set has lyrics in the melody's track
_RIDGE = 1e-3


def labelled(sets: Path) -> Iterator[tuple[str, list[TrackSummary], set[int]]]:
    """Set, tracks without names, and which of them are the melody, of each file with several tracks."""
    for folder, (melody, other) in SETS.items():
        for path in sorted((sets / folder).rglob("*.mid")):
            try:
                named = read_scores(path)[0]
            except MusicaeError:
                continue
            notes: NoteTable = note_table(named.score) if named.notes is None else named.notes
            tracks = [track for track in summarise_tracks(named.score, notes) if track.notes and not track.is_drum]
            right = {track.index for track in tracks if track.name == melody}
            if right and len(tracks) > 1 and (not other or any(track.name == other for track in tracks)):
                yield folder, [replace(track, name="", program=0) for track in tracks], right


def compare(sets: Path) -> dict[str, dict[str, int]]:
    """Set → number of files, and of right choices by each rule."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for folder, tracks, right in labelled(sets):
        chosen = {
            "chosen": choose_melody(tracks).track,
            "least_polyphonic": min(tracks, key=lambda track: (round(track.polyphony, 1), -track.notes)).index,
            "highest": max(tracks, key=lambda track: track.mean_pitch).index,
            "on_top": tracks[int(melody_evidence(tracks)["on_top"].argmax())].index,
        }
        counts[folder]["files"] += 1
        for rule, track in chosen.items():
            counts[folder][rule] += track in right
    return {folder: dict(found) for folder, found in counts.items()}


def ablate(sets: Path) -> dict[str, dict[str, int]]:
    """What is left out → right choices in each set, with weights that were fitted on every second file."""
    files = [(folder, melody_evidence(tracks), tracks, right) for folder, tracks, right in labelled(sets)]
    counts: dict[str, dict[str, int]] = {}
    for left_out in ("nothing", *_FITTED):
        weights = fit(sets, [name for name in _FITTED if name != left_out])
        right_choices = dict.fromkeys(SETS, 0)
        for folder, evidence, tracks, right in files:
            score = np.stack([weight * evidence[name] for name, weight in weights.items()]).sum(0)
            right_choices[folder] += tracks[int(score.argmax())].index in right
        counts[left_out] = right_choices
    return counts


def fit(sets: Path, names: Sequence[str] = tuple(_FITTED)) -> dict[str, float]:
    """Weights of some kinds of evidence from every second file, by maximum likelihood with a small ridge."""
    files = list(labelled(sets))[::2]
    most = max(len(tracks) for _, tracks, _ in files)
    evidence = torch.zeros(len(files), most, len(names))
    there, is_right = torch.zeros(len(files), most, dtype=bool), torch.zeros(len(files), most, dtype=bool)
    for row, (_, tracks, right) in enumerate(files):
        found = melody_evidence(tracks)
        evidence[row, : len(tracks)] = torch.from_numpy(np.stack([found[name] for name in names], 1))
        there[row, : len(tracks)] = True
        is_right[row, : len(tracks)] = torch.tensor([track.index in right for track in tracks])
    scale = evidence[there].std(0)
    sizes = {folder: sum(other == folder for other, _, _ in files) for folder in SETS}
    share = torch.tensor([1 / sizes[folder] for folder, _, _ in files])
    weights = torch.zeros(len(names), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = (evidence / scale @ weights).masked_fill(~there, -torch.inf)
        right = logits.log_softmax(1).masked_fill(~is_right, -torch.inf).logsumexp(1)
        total = -(share * right).sum() + _RIDGE * weights.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return dict(zip(names, (weights.detach() / scale).tolist(), strict=True))


def main() -> None:
    """Prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--ablate", action="store_true")
    options = parser.parse_args()
    measured = fit if options.fit else ablate if options.ablate else compare
    print(json.dumps(measured(options.sets), indent=2))


if __name__ == "__main__":
    main()
