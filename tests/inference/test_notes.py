"""Notes that are asked for by instrument, pitch and velocity, and pieces that they play."""

from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
import torch
from click.testing import CliRunner

from musicae.cli import main
from musicae.errors import MusicaeError
from musicae.music.piece import Piece
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment

RATE_HZ = 16_000
SETTINGS = {
    "n_fft": 512, "chunk_s": 0.6, "widths": (8, 12, 16), "latent_size": 8, "moment_size": 2, "beta": 0.02,
    "batch_size": 8, "learning_rate": 4e-3, "ema_decay": 0.9, "precision": "no", "kl_warmup": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a model of two instruments."""
    folder = tmp_path_factory.mktemp("notes")
    time_s = np.arange(round(0.8 * RATE_HZ)) / RATE_HZ
    for name, partials in (("flute", 1), ("organ", 6)):
        (folder / name).mkdir()
        for pitch in range(48, 85, 2):
            frequency_hz = 440 * 2 ** ((pitch - 69) / 12)
            tone = sum(np.sin(2 * np.pi * n * frequency_hz * time_s) / n for n in range(1, partials + 1))
            soundfile.write(folder / name / f"{pitch}-90.wav", 0.2 * tone * np.exp(-2 * time_s), RATE_HZ)
    data = [folder / "flute", folder / "organ"]
    settings = {**SETTINGS, "labels": True, "steps": 150, "evaluate_every": 150}
    experiment = Experiment.resolve("audio", data=data, settings=settings)
    return experiment.run(folder / "run", experiment.read())


@pytest.fixture
def model(trained: Path) -> TrainedModel:
    return load(trained, "cpu")


def piece(*notes: tuple[float, float, int, int]) -> Piece:
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes = [pretty_midi.Note(velocity, pitch, start, end) for start, end, pitch, velocity in notes]
    return Piece.open(midi)


def centroid_hz(samples: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(samples.reshape(-1))) ** 2
    return float((power * np.fft.rfftfreq(samples.size, 1 / RATE_HZ)).sum() / power.sum())


def test_a_higher_pitch_and_a_richer_instrument_are_brighter(model: TrainedModel) -> None:
    low, high, rich = (
        model.sample(1, label=label, pitch=pitch, velocity=0.7, spread=0.0)[0].samples
        for label, pitch in (("flute", 52), ("flute", 76), ("organ", 52))
    )
    assert centroid_hz(high) > 1.5 * centroid_hz(low)
    assert centroid_hz(rich) > 1.2 * centroid_hz(low)


def test_the_same_seed_draws_the_same_notes_and_what_is_not_asked_for_differs(model: TrainedModel) -> None:
    first, again = (model.sample(3, seed=4).tensor for _ in range(2))
    assert first is not None and again is not None
    assert torch.equal(first, again)
    assert (first[0] - first[1]).abs().max() > 1e-3


def test_another_instrument_is_refused_with_those_there_are(model: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="flute, organ"):
        model.sample(1, label="oboe")
    with pytest.raises(MusicaeError, match="flute, organ"):
        model.instrument("oboe")
    with pytest.raises(MusicaeError, match="plays no notes"):
        load("denoise-48k", "cpu").instrument("flute")


def test_a_piece_is_played_by_an_instrument_between_two(model: TrainedModel) -> None:
    played = piece((0.5, 0.9, 60, 100), (1.5, 1.9, 72, 30))
    sounds = {
        share: played.render(RATE_HZ, instrument=model.instrument("flute", "organ", share)) for share in (0, 0.5, 1)
    }
    for sound in sounds.values():
        samples = sound.samples.reshape(-1)
        assert not samples[: round(0.45 * RATE_HZ)].any()
        loud, soft = (np.abs(samples[round(start * RATE_HZ) :][:4000]).max() for start in (0.5, 1.5))
        assert loud > 3 * soft > 0
    flute, between, organ = (centroid_hz(sound.samples) for sound in sounds.values())
    assert flute < between < organ


def test_a_model_plays_by_itself_and_drums_are_heard(model: TrainedModel) -> None:
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0, is_drum=True))
    midi.instruments[0].notes = [pretty_midi.Note(100, 38, 0.0, 0.1)]
    drums = Piece.open(midi).render(RATE_HZ, instrument=model)
    assert np.abs(drums.samples).max() > 0.1
    assert np.abs(piece((0, 0.4, 60, 90)).render(RATE_HZ, instrument=model).samples).max() > 0.1


def test_the_commands_ask_for_notes_and_play_pieces(trained: Path, tmp_path: Path) -> None:
    model, song = str(trained), tmp_path / "song.mid"
    piece((0, 0.4, 60, 90)).save(song)
    asked = [
        "sample",
        "--model",
        model,
        "--count",
        "1",
        "--label",
        "organ",
        "--pitch",
        "60",
        "--out",
        str(tmp_path / "o"),
    ]
    played = ["render", str(song), "--instrument", "flute", "--towards", "organ", "--share", "0.2", "--model", model]
    for arguments in (asked, [*played, "--out", str(tmp_path / "song.wav")]):
        result = CliRunner().invoke(main, arguments, prog_name="musicae")
        assert result.exit_code == 0, result.output
    assert soundfile.info(tmp_path / "song.wav").frames > RATE_HZ
    refused = CliRunner().invoke(main, ["render", str(song), "--towards", "organ", "--model", model])
    assert refused.exit_code != 0 and "--instrument" in refused.output


def test_rows_of_several_frequencies_make_the_same_grid() -> None:
    from musicae.models import build_model
    from musicae.spec import Layout, TensorSpec

    spec = TensorSpec(layout=Layout.GRID, shape=(1, 1025, 16), likelihood="magnitude")
    settings = {"widths": (4, 8), "latent_size": 4, "moment_size": 2}
    banded, plain = (build_model("spectrogram", spec, {**settings, "banded": value}).eval() for value in (True, False))
    made = banded.reconstruct(torch.rand(2, *spec.shape))
    assert made.shape == (2, *spec.shape)
    assert banded.latent_shape[0] < 0.5 * plain.latent_shape[0]
    assert torch.equal(made[:, :, 600], made[:, :, 601])  # one row


def test_what_is_asked_for_is_drawn_alike_by_an_exported_model(model: TrainedModel, tmp_path: Path) -> None:
    import onnxruntime

    exported = model.export(tmp_path / "exported")

    session = onnxruntime.InferenceSession(str(tmp_path / "exported" / "draw.onnx"))
    base = torch.randn(2, *model.network.latent_shape, generator=torch.Generator().manual_seed(0))
    condition = model.pipeline.condition("organ pitch 60 velocity 0.7", 2)
    (found,) = session.run(None, {"base": base.numpy(), "condition": condition.numpy()})
    with torch.no_grad():
        expected = model.network.drawn(base, condition)
    assert np.abs(found - expected.numpy()).max() < 1e-4 * float(expected.abs().max())
    assert exported.card["tensors"]["meaning"]["instruments"] == ["flute", "organ"]
