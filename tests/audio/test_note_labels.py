"""Names of notes are read, and what isn't asked for is drawn from what the model knows."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from musicae.audio import note_labels
from musicae.audio.config import AudioConfig
from musicae.audio.domain import AudioDomain
from musicae.audio.note_labels import Instrument, NoteLabel
from musicae.errors import MusicaeError

INSTRUMENTS = (Instrument("cello", 36, 76), Instrument("alto sax", 49, 80))
RATE_HZ = 16_000


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cello/48-90.wav", NoteLabel("cello", 48, 90)),
        ("cello/C3_90_take2.flac", NoteLabel("cello", 48, 90)),
        ("cello/Bb2.wav", NoteLabel("cello", 46, None)),
        ("cello/f#4-1.ogg", NoteLabel("cello", 66, 1)),
        ("cello/A-1.ogg", NoteLabel("cello", 9, None)),
        ("cello/60-200.wav", NoteLabel("cello", 60, None)),
        ("cello/128.wav", None),
        ("cello/take 3.wav", None),
        ("cello/1996.wav", None),
    ],
)
def test_names_of_files_are_read(name: str, expected: NoteLabel | None) -> None:
    assert note_labels.read_label(Path(name)) == expected


def test_instruments_are_found_with_what_they_play() -> None:
    names = ["b/50.wav", "a/48-90.wav", "a/C5.wav", "a/readme.wav"]
    assert note_labels.find_instruments(map(Path, names)) == (Instrument("a", 48, 72), Instrument("b", 50, 50))
    with pytest.raises(MusicaeError, match=r"cello/48-90\.wav"):
        note_labels.find_instruments([Path("a/take.wav")])


def test_a_stored_label_becomes_a_condition_that_moves_with_the_sound() -> None:
    stored = torch.tensor(
        [
            note_labels.stored_label(NoteLabel("alto sax", 60, 100), INSTRUMENTS),
            note_labels.stored_label(None, INSTRUMENTS),
        ]
    )
    condition = note_labels.condition_of(stored.half(), torch.tensor([0.5, 0.5]))
    assert condition.tolist() == [[2, 1 + 16 * 60 + 8, 101], [0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cello pitch 48 velocity 0.5", [1, 1 + 16 * 48, 65]),
        ("alto sax", [2, 0, 0]),
        ("pitch 60.5", [0, 1 + 16 * 60 + 8, 0]),
        ("velocity 0", [0, 0, 2]),
        ("cello velocity 1e-05", [1, 0, 2]),
    ],
)
def test_words_ask_for_a_note(text: str, expected: list[int]) -> None:
    assert note_labels.parse_condition(text, INSTRUMENTS) == expected


@pytest.mark.parametrize(
    "text",
    ["celo", "cello pitch 130", "velocity 1.2", "cello pitch 4.4.4", "cello pitch -3", "ce\nllo", "velocity nan"],
)
def test_what_no_model_plays_is_refused(text: str) -> None:
    with pytest.raises(MusicaeError):
        note_labels.parse_condition(text, INSTRUMENTS)


def test_what_is_not_asked_for_is_drawn_from_what_the_instruments_play() -> None:
    asked = torch.zeros(300, 3, dtype=torch.int64)
    asked[100:200, 1] = 1 + 16 * 40  # too low for a saxophone
    asked[200:] = torch.tensor([2, 1 + 16 * 60, 90])

    drawn = note_labels.with_draws(asked, INSTRUMENTS, torch.Generator().manual_seed(0))

    assert set(drawn[:100, 0].tolist()) == {1, 2}
    for row in drawn[:100].tolist():
        known = INSTRUMENTS[row[0] - 1]
        assert known.lowest <= (row[1] - 1) / 16 <= known.highest
        assert 2 <= row[2] <= 128
    assert set(drawn[100:200, 0].tolist()) == {1}
    assert torch.equal(drawn[200:], asked[200:])
    assert not asked[:100].any()


def test_the_first_example_of_a_file_has_its_label(tmp_path: Path) -> None:
    (tmp_path / "cello").mkdir()
    path = tmp_path / "cello" / "69-64.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE_HZ) / RATE_HZ), RATE_HZ)
    config = AudioConfig(n_fft=512, chunk_s=0.6, representation="magnitude", labels=True)
    domain = AudioDomain(AudioDomain.configure(config, [path]))

    stored = torch.from_numpy(domain.read(path).examples)
    batch = domain.tensor(stored)

    assert len(stored) > 1
    assert batch.target.shape[1:] == domain.spec.shape
    assert batch.condition is not None
    assert batch.condition.tolist() == [[1, 1 + 16 * 69, 65], *[[0, 0, 0]] * (len(stored) - 1)]
    assert domain.labels(stored)["label"][:2] == ["cello", "(none)"]
    assert domain.condition("cello pitch 69", 2).tolist() == [[1, 1 + 16 * 69, 0]] * 2


def test_labels_are_for_models_that_make_sound() -> None:
    with pytest.raises(MusicaeError, match="labels=true"):
        AudioDomain.configure(AudioConfig(labels=True), [Path("cello/48.wav")], "denoise")
