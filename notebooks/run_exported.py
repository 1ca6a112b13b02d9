"""Runs an exported melody-2bar with onnxruntime and numpy alone: morphs one melody into another and prints the notes.

musicae export --model melody-2bar --out exported
python notebooks/run_exported.py exported
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "exported")
CARD = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
TENSORS, GRAPHS = CARD["tensors"], CARD["graphs"]
SESSIONS = {name: onnxruntime.InferenceSession(FOLDER / graph["file"]) for name, graph in GRAPHS.items()}
SIGNATURE = TENSORS["meaning"]["time_signatures"][0]  # 4/4
BARS, SLOT, VOCABULARY = TENSORS["bars"], TENSORS["bar_steps"], TENSORS["streams"][0]["symbols"]
TO_PITCH = 19  # the card: a symbol from 2 on begins the note of MIDI pitch symbol + 19
NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
CONDITION = np.full((1, TENSORS["condition"]["length"]), SIGNATURE["class"])


def window(pitches: list[int], steps: int) -> np.ndarray:
    """MIDI pitches, each so many sixteenths long → symbols (1, 36, 1); behind a bar's last step stand pads."""
    symbols = np.zeros((BARS, SLOT), np.int64)
    symbols[:, SIGNATURE["steps_per_bar"] :] = VOCABULARY
    for place, pitch in enumerate(pitches):
        bar, step = divmod(place * steps, SIGNATURE["steps_per_bar"])
        symbols[bar, step] = pitch - TO_PITCH
    return symbols.reshape(1, -1, 1)


def encode(symbols: np.ndarray) -> np.ndarray:
    """Symbols → the code (1, 256)."""
    return SESSIONS["encoder"].run(None, {"x": symbols, "condition": CONDITION})[0]


def decode(z: np.ndarray) -> np.ndarray:
    """A code → symbols (36,), the most probable ones, step by step in all bars at once."""
    (features,) = SESSIONS["decoder"].run(None, {"z": z, "condition": CONDITION})  # (bars, steps, numbers)
    symbols = np.tile(np.array(TENSORS["symbols_at_start"]), (len(features), 1))
    past = np.zeros((len(features), *GRAPHS["step"]["inputs"][2]["shape"][1:]), np.float32)
    chosen = []
    for step in range(SLOT):
        given = {"features": features[:, step], "symbols": symbols, "past": past}
        parameters, past = SESSIONS["step"].run(None, given)
        symbols = parameters.argmax(1)[:, None]
        chosen.append(symbols[:, 0])
    return np.stack(chosen, 1)[:, : SIGNATURE["steps_per_bar"]].flatten()


a = encode(window([64, 64, 65, 67, 67, 65, 64, 62], steps=4))  # Ode to Joy, in quarters
b = encode(window([67, 64, 60, 64, 67, 72, 67, 64, 65, 62, 59, 62, 67, 71, 67, 62], steps=2))
for share in np.linspace(0, 1, 5, dtype=np.float32):
    pitches = [symbol + TO_PITCH for symbol in decode((1 - share) * a + share * b) if symbol >= 2]
    print(f"{share:.2f}", *(f"{NAMES[pitch % 12]}{pitch // 12 - 1}" for pitch in pitches))
