"""`TrainedModel` on small trained models: codes and batches, any source, what is refused, what is kept: nothing."""

import copy
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile
import torch
from PIL import Image
from tile_domain import TileDomain, tiles
from tiny_models import write_chords

import musicae
from musicae import shipped
from musicae.audio.sound import Sound
from musicae.domains import DOMAINS
from musicae.errors import CheckpointError, MusicaeError
from musicae.image.picture import Picture
from musicae.music.piece import Piece
from musicae.shipped import PRETRAINED, find_model, shipped_models
from musicae.starter import starter_file
from musicae.trained import TrainedModel, load

Run = Callable[[str], Path]
A, B = starter_file("a.mid"), starter_file("b.mid")


def picture(path: Path, size: int = 8, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)).save(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".musicae-cache"))


# Codes and batches


def test_codes_and_batches_have_the_promised_shapes(music: TrainedModel, image: TrainedModel) -> None:
    for trained, source in ((music, A), (image, np.zeros((20, 30), np.uint8))):
        spec = trained.domain.spec
        batch = trained.decode(torch.randn(5, *trained.network.latent_shape))
        assert batch.shape == (5, *spec.shape)
        assert trained.encode(batch).shape == (5, *trained.network.latent_shape)
        assert trained.reconstruct(batch).shape == batch.shape
        assert trained.encode(source).shape == (1, *trained.network.latent_shape)
        assert trained.tensor(source).shape == (1, *spec.shape)
        assert torch.equal(trained.encode(trained.tensor(source)), trained.encode(source))


def test_a_reconstruction_is_the_decoded_code(music: TrainedModel, image: TrainedModel) -> None:
    for trained in (music, image):
        batch = trained.sample(3, seed=1).tensor
        assert torch.equal(trained.reconstruct(batch), trained.decode(trained.encode(batch)))


def test_the_small_melody_model_tells_its_inputs_apart(music: TrainedModel) -> None:
    """Guards the tests of the operations: a model that answers everything alike would pass them."""
    a, b = (music.decode(music.encode(path)) for path in (A, B))
    assert not torch.equal(a, b)


def test_a_chosen_bar_is_another_code(music: TrainedModel) -> None:
    assert not torch.equal(music.encode(A, bar=1), music.encode(A, bar=3))


def test_a_batch_of_any_size_is_computed_in_parts(image: TrainedModel) -> None:
    batch = torch.rand(300, *image.domain.spec.shape)
    assert len(batch) > image.domain.spec.evaluation_batch
    whole = image.decode(image.encode(batch))
    torch.testing.assert_close(whole[280:], image.decode(image.encode(batch[280:])))


def test_a_network_learns_in_a_loop_of_ones_own(image: TrainedModel) -> None:
    batch = image.sample(4, seed=0).tensor
    before = image.network.loss(batch, generator=torch.Generator().manual_seed(0)).total
    optimizer = torch.optim.SGD(image.network.parameters(), 1e-4)
    before.backward()
    optimizer.step()
    assert image.network.loss(batch, generator=torch.Generator().manual_seed(0)).total < before


def test_a_loaded_model_is_in_evaluation_mode_and_gives_no_gradients(music: TrainedModel) -> None:
    assert not music.network.training
    batch = music.sample(1, seed=0).tensor
    assert not music.reconstruct(batch).requires_grad
    assert not music.encode(batch).requires_grad
    assert not music.decode(music.encode(batch)).requires_grad


# Whatever a person has


def test_a_melody_is_the_same_as_a_file_its_bytes_a_piece_and_a_pretty_midi_object(music: TrainedModel) -> None:
    expected = music.encode(A)
    for source in (str(A), A.read_bytes(), io.BytesIO(A.read_bytes()), Piece.open(A), pretty_midi.PrettyMIDI(str(A))):
        assert torch.equal(music.encode(source), expected)


def test_a_picture_is_the_same_as_a_file_its_bytes_an_image_and_an_array(image: TrainedModel, tmp_path: Path) -> None:
    path = picture(tmp_path / "in.png")
    with Image.open(path) as opened:
        array, pil = np.asarray(opened), opened.copy()
    expected = image.encode(path)
    for source in (str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), pil, array, Picture.open(path)):
        assert torch.equal(image.encode(source), expected)


def test_a_sound_is_the_same_as_a_file_its_bytes_and_samples_with_their_rate(
    audio: TrainedModel, tmp_path: Path
) -> None:
    path = write_chords(tmp_path / "in", 1) / "chord-0.wav"
    samples, rate_hz = soundfile.read(path, dtype="float32")
    expected = audio.encode(path)
    for source in (path.read_bytes(), Sound.open(path), Sound.open(samples, sample_rate_hz=rate_hz)):
        assert torch.equal(audio.encode(source), expected)


# Results are values


def test_nothing_is_stored_in_a_model_between_calls_and_no_file_is_written(
    music: TrainedModel, image: TrainedModel, audio: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = write_chords(tmp_path / "in", 1) / "chord-0.wav"
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    calls: dict[TrainedModel, list[Callable[[], Any]]] = {
        music: [
            lambda: music.reconstruct(A),
            lambda: music.interpolate(A, B, 2).remarks,
            lambda: music.interpolate_songs(A, B, 2).remarks,
            lambda: music.interpolate_corners(A, B, B, A, 2).remarks,
            lambda: music.vary(A, seed=1).remarks,
            lambda: music.sample(2, seed=1, length=4).remarks,
            lambda: music.attributes(A),
            lambda: music.embed(A),
            lambda: music.encode(A),
        ],
        image: [
            lambda: image.sample(2, seed=1, temperature=0.5).plot(),
            lambda: image.reconstruct(np.zeros((8, 8), np.uint8)),
        ],
        audio: [lambda: audio.denoise(sound, strength=0.5).samples],
    }
    for trained, made in calls.items():
        before = dict(vars(trained)), vars(trained.domain).copy()
        weights = copy.deepcopy(trained.network.state_dict())
        for call in made:
            call()
        assert (dict(vars(trained)), vars(trained.domain)) == before
        assert all(torch.equal(value, weights[name]) for name, value in trained.network.state_dict().items())
    assert names(empty) == []


def test_other_settings_are_another_model_with_the_same_network(music: TrainedModel) -> None:
    other = music.with_settings(track="Violin")
    assert other.network is music.network
    assert (other.domain.config.track, music.domain.config.track) == ("Violin", None)
    with pytest.raises(MusicaeError, match="changes the shape of the model's tensors"):
        music.with_settings(bars=4)
    with pytest.raises(MusicaeError, match=r"unknown music setting 'trak'\. Did you mean 'track'"):
        music.with_settings(trak="Violin")


# What is refused


@pytest.mark.parametrize("name", ["music", "image", "audio"])
def test_what_is_no_batch_of_the_models_is_one_sentence(tiny_run: Run, name: str) -> None:
    trained = load(tiny_run(name), "cpu")
    spec = trained.domain.spec
    is_steps = name == "music"
    good = torch.zeros(2, *spec.shape, dtype=torch.int64 if is_steps else torch.float32)
    bad: dict[str, torch.Tensor] = {
        r"expected a batch of shape": good[:, :, :-1],
        r"expected a batch of (floats|whole numbers)": good.float() if is_steps else good.long(),
        r"at least one example": good[:0],
    }
    if is_steps:
        bad |= {r"symbols from 0 to 93, got 94": good + 94, r"symbols from 0 to 93, got -1": good - 1}
    else:
        bad |= {r"expected finite numbers": good * torch.nan, r"got a batch with NaN or infinity": good + torch.inf}
    refusing = [trained.encode, trained.denoise if name == "audio" else trained.reconstruct]
    if name == "audio":  # restorers of grids take other heights and widths, and as many channels
        bad[r"expected a batch of shape"] = good[:, :1]
    else:
        refusing.append(lambda batch: trained.interpolate(batch[:1], batch[:1], 2))
    for sentence, batch in bad.items():
        for refused in refusing[: 2 if "at least" in sentence else None]:
            with pytest.raises(ValueError, match=sentence) as caught:
                refused(batch)
            assert "\n" not in str(caught.value)


def test_what_is_no_code_is_one_sentence(music: TrainedModel) -> None:
    shape = music.network.latent_shape
    for bad, sentence in (
        (np.zeros((1, *shape), np.float32), "expected codes as a tensor .*, got ndarray"),
        (torch.zeros(1, shape[0] + 1), r"got \(1, 25\)"),
        (torch.zeros(shape), "expected codes as a tensor"),
        (torch.full((1, *shape), torch.nan), "expected finite codes"),
        (torch.zeros(0, *shape), "at least one code"),
        (torch.zeros(1, *shape, dtype=torch.int64), "expected codes as a float tensor"),
    ):
        with pytest.raises(ValueError, match=sentence) as caught:
            music.decode(bad)
        assert "\n" not in str(caught.value)


def test_objects_of_another_medium_or_none_are_one_sentence(
    music: TrainedModel, image: TrainedModel, audio: TrainedModel
) -> None:
    tone = np.sin(np.arange(9000) / 10).astype(np.float32)
    objects = {
        music: [Picture.open(np.zeros((8, 8), np.uint8)), Sound.open(tone, sample_rate_hz=8000), tone, 3, None],
        image: [Piece.open(A), Sound.open(tone, sample_rate_hz=8000), tone, np.full((8, 8), np.nan), 3, None],
        audio: [Piece.open(A), Picture.open(np.zeros((8, 8), np.uint8)), tone, 3, None],
    }
    checked = 0
    for trained, others in objects.items():
        for other in others:
            for refused in (trained.encode, trained.denoise if trained is audio else trained.reconstruct):
                with pytest.raises(ValueError) as caught:
                    refused(other)
                assert "\n" not in str(caught.value)
                checked += 1
    assert checked == 32


def test_samples_need_finite_numbers_and_their_rate(audio: TrainedModel) -> None:
    tone = np.sin(np.arange(9000) / 10).astype(np.float32)
    with pytest.raises(ValueError, match="sample_rate_hz"):
        audio.denoise(tone)
    with pytest.raises(ValueError, match="not finite"):
        audio.denoise(np.full(9000, np.nan, np.float32), sample_rate_hz=8000)
    assert len(audio.denoise(tone, sample_rate_hz=8000).samples) == 9000


def test_a_file_of_another_domain_is_refused_and_the_own_endings_are_listed(
    music: TrainedModel, image: TrainedModel, audio: TrainedModel, tmp_path: Path
) -> None:
    sound = write_chords(tmp_path / "in", 1) / "chord-0.wav"
    drawn = picture(tmp_path / "in" / "in.png")
    checked = 0
    for trained, others in ((music, (sound, drawn)), (image, (sound, A)), (audio, (drawn, A))):
        for other in others:
            for refused in (trained.encode, trained.reconstruct):
                with pytest.raises(MusicaeError) as caught:
                    refused(other)
                sentence = str(caught.value)
                assert sentence.startswith(f"{other.name} is no {trained.domain.name} file")
                assert trained.domain.suffixes[0] in sentence
                assert caught.value.exit_code == 2
                checked += 1
    assert checked == 12


def test_missing_files_and_folders_are_named(music: TrainedModel, tmp_path: Path) -> None:
    for refused in (music.encode, music.reconstruct):
        with pytest.raises(MusicaeError, match=r"no such file: nowhere.mid"):
            refused("nowhere.mid")
        with pytest.raises(MusicaeError, match="is a folder; give one file"):
            refused(tmp_path)


def test_only_a_model_trained_to_denoise_denoises(music: TrainedModel, image: TrainedModel) -> None:
    for trained, source in ((music, A), (image, np.zeros((8, 8), np.uint8))):
        with pytest.raises(MusicaeError, match="was trained to reconstruct, not to denoise"):
            trained.denoise(source)
        with pytest.raises(MusicaeError, match="was trained to reconstruct, not to upscale"):
            trained.upscale(source)


def test_a_restoring_model_neither_decodes_nor_samples_nor_interpolates(audio: TrainedModel, tmp_path: Path) -> None:
    sound = write_chords(tmp_path, 1) / "chord-0.wav"
    z = audio.encode(sound)
    assert z.shape == (1, *audio.network.latent_shape)
    for refused in (
        lambda: audio.decode(z),
        audio.sample,
        audio.grid,
        lambda: audio.interpolate(sound, sound),
        lambda: audio.interpolate_songs(sound, sound),
        lambda: audio.interpolate_corners(sound, sound, sound, sound),
        lambda: audio.morph(sound, sound),
        lambda: audio.vary(sound),
        lambda: audio.shift(sound, "brightness"),
        lambda: audio.reconstruct(sound, chords="C"),
    ):
        with pytest.raises(MusicaeError, match=r"restores \(denoise\) and cannot"):
            refused()


# Loading and training


def test_a_run_its_checkpoint_and_text_load_the_same_model(tiny_run: Run) -> None:
    run = tiny_run("image")
    models = [load(place) for place in (run, run / "best", str(run))]
    batch = models[0].sample(2, seed=0).tensor
    assert all(torch.equal(model.reconstruct(batch), models[0].reconstruct(batch)) for model in models)
    assert musicae.load is load
    assert repr(models[0]) == "<TrainedModel image-run: image, reconstruct, model mlp>"


def test_an_unknown_name_lists_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"unknown model 'melody-3bar'.*Or give a run's folder") as caught:
        load("melody-3bar")
    assert all(name in str(caught.value) for name in shipped_models())


def test_shipped_names_are_the_folders_with_a_manifest(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(find_model(str(tiny_run("image"))), tmp_path / "digits-tiny")
    (tmp_path / "unfinished").mkdir()
    monkeypatch.setattr(shipped, "PRETRAINED", tmp_path)
    assert shipped_models() == ["digits-tiny"]
    assert load("digits-tiny").domain.name == "image"
    with pytest.raises(CheckpointError, match="Did you mean 'digits-tiny'"):
        load("digits-tyni")


def test_a_folder_that_is_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no model: neither it nor its best checkpoint"):
        load(tmp_path)
    assert PRETRAINED.is_dir()


def test_a_domain_of_ones_own_is_a_file_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOMAINS, "tile", lambda: TileDomain)
    settings = {"steps": 60, "evaluate_every": 30, "widths": (8,), "latent_size": 4, "learning_rate": 3e-3}
    array = tiles(240)
    for number, tile in enumerate(array[:40]):
        (tmp_path / "tiles").mkdir(exist_ok=True)
        TileDomain.media(tile, f"{number}").save(tmp_path / "tiles" / f"{number}.tile")
    for number, data in enumerate((array, tmp_path / "tiles")):
        trained = musicae.train(
            "tile", data=data, out=tmp_path / f"run-{number}", log_with=(), precision="no", **settings
        )
        assert isinstance(trained, TrainedModel)
        assert trained.manifest.domain == "tile"
    tile = trained.reconstruct(tmp_path / "tiles" / "3.tile")
    assert (tile.name, tile.array.shape) == ("3", (8, 8))
    path = trained.interpolate(array[0], array[1], 3, spacing="uniform")
    assert path.save(tmp_path / "path") == tmp_path / "path" / "interpolation.tile"
    torch.testing.assert_close(path.tensor[:1], trained.reconstruct(trained.tensor(array[0])))
    again = load(tmp_path / "run-1")
    assert torch.equal(again.encode(array[0]), trained.encode(array[0]))
    assert np.array_equal(again.reconstruct(array[0]).array, trained.reconstruct(array[0]).array)
