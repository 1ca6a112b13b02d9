"""`TrainedModel` on small trained models: files to files, tensors to tensors, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
import torch
from midi_notes import notes
from PIL import Image
from symusic import Score
from tiny_models import write_chords

import musicae
from musicae.errors import CheckpointError, MusicaeError
from musicae.inference.latent_paths import slerp
from musicae.starter import starter_file
from musicae.trained import PRETRAINED, TrainedModel, load, shipped_models

Run = Callable[[str], Path]


@pytest.fixture
def plain(tiny_run: Run) -> TrainedModel:
    return load(tiny_run("plain"), "cpu")


@pytest.fixture
def audio(tiny_run: Run) -> TrainedModel:
    return load(tiny_run("audio"), "cpu")


A, B = starter_file("a.mid"), starter_file("b.mid")


def picture(path: Path, size: int = 8, seed: int = 0) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)).save(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".musicae-cache"))


# Codes and batches


def test_codes_and_batches_have_the_promised_shapes(music, image):
    for trained, file in ((music, A), (image, None)):
        spec = trained.domain.spec
        batch = trained.decode(torch.randn(5, *trained.model.latent_shape))
        assert batch.shape == (5, *spec.shape)
        assert trained.encode(batch).shape == (5, *trained.model.latent_shape)
        assert trained.reconstruct(batch).shape == batch.shape
        if file:
            assert trained.encode(file).shape == (1, *trained.model.latent_shape)


def test_a_reconstruction_is_the_decoded_code(music, image):
    for trained in (music, image):
        batch = trained.sample(3, seed=1)
        assert torch.equal(trained.reconstruct(batch), trained.decode(trained.encode(batch)))


def test_the_small_melody_model_tells_its_inputs_apart(music):
    """Guards the tests below: a model that answers everything alike would pass them."""
    a, b = (music.decode(music.encode(path)) for path in (A, B))
    assert not torch.equal(a, b)


def test_a_chosen_bar_is_another_code(music):
    assert not torch.equal(music.encode(A, bar=1), music.encode(A, bar=3))


def test_a_pretty_midi_object_serves_as_its_file_does(music, tmp_path):
    midi = pretty_midi.PrettyMIDI(str(A))
    assert torch.equal(music.encode(midi), music.encode(A))
    music.interpolate(midi, B, steps=2, out=tmp_path / "object")
    music.interpolate(A, B, steps=2, out=tmp_path / "file")
    for name in ("step-01.mid", "step-02.mid", "interpolation.mid"):
        assert notes(tmp_path / "object" / name) == notes(tmp_path / "file" / name)
    music.reconstruct(midi, tmp_path / "object.mid")
    music.reconstruct(A, tmp_path / "file.mid")
    assert notes(tmp_path / "object.mid") == notes(tmp_path / "file.mid")


def test_an_object_without_a_name_names_its_output_by_its_type(music, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert music.reconstruct(pretty_midi.PrettyMIDI(str(A))) == Path("PrettyMIDI-reconstruct.mid")


# Interpolation


def test_the_ends_of_a_path_are_the_reconstructions_of_the_inputs(music, image):
    for trained in (music, image):
        a, b = trained.sample(2, seed=4).split(1)
        for method in ("slerp", "lerp"):
            path = trained.interpolate(a, b, 5, method=method)
            assert path.shape == (5, *trained.domain.spec.shape)
            torch.testing.assert_close(path[:1], trained.reconstruct(a))
            torch.testing.assert_close(path[-1:], trained.reconstruct(b))


def test_the_steps_of_a_path_change_about_equally_unless_the_way_is_wanted_evenly(image):
    a, b = image.sample(2, seed=4).split(1)
    z_a, z_b = (image.model.latent.to_base(image.encode(end))[0] for end in (a, b))
    uniform = image.interpolate(a, b, 7, spacing="uniform")
    torch.testing.assert_close(uniform, image.decode(image.model.latent.from_base(slerp(z_a, z_b, 7))))
    even = image.interpolate(a, b, 7)
    unevenness = [(path[1:] - path[:-1]).flatten(1).norm(dim=1) for path in (even, uniform)]
    assert unevenness[0].max() / unevenness[0].mean() < unevenness[1].max() / unevenness[1].mean()
    with pytest.raises(ValueError, match=r"unknown spacing 'evn'\. Did you mean 'even'"):
        image.interpolate(a, b, 7, spacing="evn")


def test_the_ends_of_a_path_between_files_are_their_windows_reconstructed(music, tmp_path):
    music.interpolate(A, B, steps=4, out=tmp_path / "path")
    for end, source in (("step-01.mid", A), ("step-04.mid", B)):
        music.domain.write(music.decode(music.encode(source)), tmp_path / "end.mid")
        assert notes(tmp_path / "path" / end) == notes(tmp_path / "end.mid") != []


def test_a_path_is_written_whole_and_step_by_step_with_picture_and_sound(music, tmp_path):
    whole = music.interpolate(A, B, steps=3, out=tmp_path / "deep" / "path")
    assert whole == tmp_path / "deep" / "path" / "interpolation.mid"
    steps = ["step-01.mid", "step-02.mid", "step-03.mid"]
    assert names(whole.parent) == ["interpolation.mid", "interpolation.png", "interpolation.wav", *steps]
    assert names(whole.parent.parent) == ["path"]
    in_a_row = [
        (start + 8 * number, end + 8 * number, pitch)
        for number, step in enumerate(steps)
        for start, end, pitch in notes(whole.parent / step)
    ]
    assert notes(whole) == sorted(in_a_row)
    with Image.open(whole.with_suffix(".png")) as drawn:
        assert min(drawn.size) > 100
    sound, rate_hz = soundfile.read(whole.with_suffix(".wav"))
    assert np.sqrt(np.mean(sound**2)) > 0.01
    assert len(sound) / rate_hz > 1


def test_the_tempo_of_the_first_file_is_kept(music, tmp_path):
    slow = Score(str(A))
    slow.tempos[0].qpm = 71.0
    slow.dump_midi(str(tmp_path / "slow.mid"))
    whole = music.interpolate(tmp_path / "slow.mid", B, steps=2, out=tmp_path / "path")
    assert [tempo.qpm for tempo in Score(str(whole)).tempos] == pytest.approx([71.0], abs=1e-3)
    assert [tempo.qpm for tempo in Score(str(whole.with_name("step-02.mid"))).tempos] == pytest.approx([71], abs=1e-3)


def test_the_parts_that_were_taken_are_told(music, tmp_path):
    music.interpolate(A, B, steps=2, out=tmp_path / "path", choice_a={"bar": 3})
    assert music.remarks[0].startswith("from bars 3–4 of track ")
    chosen = notes(tmp_path / "path" / "step-01.mid")
    music.domain.write(music.decode(music.encode(A, bar=3)), tmp_path / "end.mid")
    assert chosen == notes(tmp_path / "end.mid")


def test_steps_are_numbered_so_that_names_sort(image, tmp_path):
    image.sample(101, seed=0, out=tmp_path / "many")
    files = sorted((tmp_path / "many").glob("sample-*.png"))
    assert [int(path.stem.removeprefix("sample-")) for path in files] == list(range(1, 102))


def test_nothing_is_written_when_the_second_file_is_bad(music, tmp_path):
    bad = tmp_path / "bad.mid"
    bad.write_text("not MIDI")
    for second in (bad, tmp_path / "missing.mid"):
        with pytest.raises(MusicaeError, match=second.name):
            music.interpolate(A, second, out=tmp_path / "path")
    assert names(tmp_path) == ["bad.mid"]


def test_nothing_is_written_when_the_preview_fails(music, tmp_path, monkeypatch):
    def no_space(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(music.domain), "preview", no_space)
    with pytest.raises(OSError, match="No space"):
        music.interpolate(A, B, steps=2, out=tmp_path / "path")
    assert names(tmp_path) == []


def test_an_output_folder_that_is_a_file_is_refused(music, tmp_path):
    (tmp_path / "path").write_text("mine")
    with pytest.raises(MusicaeError, match="is a file; --out wants a folder"):
        music.interpolate(A, B, steps=2, out=tmp_path / "path")
    assert (tmp_path / "path").read_text() == "mine"


@pytest.mark.parametrize("steps", [1, 0, -3, 1001])
def test_a_path_has_two_to_a_thousand_steps(music, tmp_path, steps):
    with pytest.raises(ValueError, match=f"steps is between 2 and 1000, got {steps}"):
        music.interpolate(A, B, steps, out=tmp_path / "path")


def test_bad_arguments_of_a_path_are_named(music):
    batch = music.sample(2, seed=0)
    with pytest.raises(ValueError, match=r"unknown method 'slrp'. Did you mean 'slerp'"):
        music.interpolate(A, B, method="slrp")
    with pytest.raises(ValueError, match="batches of one, got 2 and 1"):
        music.interpolate(batch, batch[:1])
    with pytest.raises(ValueError, match="two files or two batches"):
        music.interpolate(A, batch[:1])


# Samples


def test_a_seed_fixes_the_samples(music, image):
    for trained in (music, image):
        assert torch.equal(trained.sample(4, seed=3), trained.sample(4, seed=3))
        assert not torch.equal(trained.sample(4, seed=3), trained.sample(4, seed=4))
        assert not torch.equal(trained.sample(4), trained.sample(4))


def test_samples_do_not_touch_the_global_generator(music):
    before = torch.get_rng_state()
    music.sample(2, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_are_written_like_a_path(image, tmp_path):
    sheet = image.sample(3, seed=0, out=tmp_path / "samples")
    assert names(sheet.parent) == ["sample-01.png", "sample-02.png", "sample-03.png", "samples.png"]
    with Image.open(sheet) as whole, Image.open(sheet.with_name("sample-02.png")) as second:
        assert second.size == (8, 8)
        assert whole.width > 10 * whole.height / 4 > 100  # all three in a row, large enough to be looked at


def test_a_plain_autoencoder_is_not_sampled(plain, tmp_path):
    with pytest.raises(MusicaeError, match="a plain autoencoder has no prior"):
        plain.sample(2, out=tmp_path / "samples")
    assert names(tmp_path) == []


@pytest.mark.parametrize(("settings", "sentence"), [({"count": 0}, "got 0"), ({"temperature": -1.0}, "got -1.0")])
def test_bad_arguments_of_a_sample_are_named(image, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        image.sample(**settings)


# Whole files


def test_a_reconstructed_melody_is_as_long_as_its_file(music, tmp_path):
    out = music.reconstruct(A, tmp_path / "deep" / "out.mid")
    assert out == tmp_path / "deep" / "out.mid"
    assert Score(str(out)).time_signatures[0].numerator == 4
    ends = [max(end for _, end, _ in notes(path)) for path in (A, out)]
    assert ends[1] == pytest.approx(ends[0], abs=8)


def test_a_denoised_sound_keeps_length_and_rate(audio, tmp_path):
    rate_hz = 11_025
    source = write_chords(tmp_path / "in", 1, sample_rate_hz=rate_hz, duration_s=1.7) / "chord-0.wav"
    out = audio.denoise(source, tmp_path / "out.wav")
    before, after = soundfile.info(source), soundfile.info(out)
    assert (after.frames, after.samplerate, after.subtype) == (before.frames, before.samplerate, before.subtype)
    assert np.isfinite(soundfile.read(out)[0]).all()
    assert not np.array_equal(soundfile.read(out)[0], soundfile.read(source)[0])


def test_a_picture_is_reconstructed_at_the_models_size(image, tmp_path):
    out = image.reconstruct(picture(tmp_path / "in.png", 20), tmp_path / "out.png")
    with Image.open(out) as drawn:
        assert drawn.size == (8, 8)


def test_the_default_output_is_named_after_the_input(music, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert music.reconstruct(A) == Path("a-reconstruct.mid")
    assert music.interpolate(A, B, 2) == Path("output/a-to-b/interpolation.mid")
    assert names(tmp_path) == ["a-reconstruct.mid", "output"]


def test_the_input_is_not_written_over(music, tmp_path, monkeypatch):
    (tmp_path / "a.mid").write_bytes(A.read_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MusicaeError, match="is the input itself"):
        music.reconstruct(tmp_path / "a.mid", "a.mid")
    assert (tmp_path / "a.mid").read_bytes() == A.read_bytes()


@pytest.mark.parametrize(("kind", "ending"), [("music", ".wav"), ("image", ".mid"), ("audio", ".mid")])
def test_an_output_of_another_kind_is_refused(tiny_run, tmp_path, kind, ending):
    source = {"music": A, "image": picture(tmp_path / "in.png")}.get(kind)
    source = source or write_chords(tmp_path / "in", 1) / "chord-0.wav"
    before = names(tmp_path)
    with pytest.raises(MusicaeError, match=f"out{ending}"):
        load(tiny_run(kind)).reconstruct(source, tmp_path / f"out{ending}")
    assert names(tmp_path) == before


def test_a_file_of_another_domain_is_refused_and_the_own_kinds_are_listed(music, image, audio, tmp_path):
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
                assert trained.domain.output_suffix in sentence
                assert caught.value.exit_code == 2
                checked += 1
    assert checked == 12


def test_missing_files_and_folders_are_named(music, tmp_path):
    for refused in (music.encode, music.reconstruct):
        with pytest.raises(MusicaeError, match=r"no such file: nowhere.mid"):
            refused("nowhere.mid")
        with pytest.raises(MusicaeError, match="is a folder; give one file"):
            refused(tmp_path)


# Tasks


def test_only_a_model_trained_to_denoise_denoises(music, image, tmp_path):
    for trained, source in ((music, A), (image, picture(tmp_path / "in.png"))):
        with pytest.raises(MusicaeError, match="was trained to reconstruct, not to denoise"):
            trained.denoise(source, tmp_path / "out")
    assert names(tmp_path) == ["in.png"]


def test_a_restoring_model_neither_decodes_nor_samples_nor_interpolates(audio, tmp_path):
    sound = write_chords(tmp_path, 1) / "chord-0.wav"
    z = audio.encode(sound)
    assert z.shape == (1, *audio.model.latent_shape)
    for refused in (lambda: audio.decode(z), audio.sample, lambda: audio.interpolate(sound, sound)):
        with pytest.raises(MusicaeError, match=r"restores \(denoise\) and cannot"):
            refused()


# Loading


def test_a_run_its_checkpoint_and_text_load_the_same_model(tiny_run):
    run = tiny_run("image")
    models = [load(place) for place in (run, run / "best", str(run))]
    batch = models[0].sample(2, seed=0)
    assert all(torch.equal(model.reconstruct(batch), models[0].reconstruct(batch)) for model in models)
    assert musicae.load is load


def test_a_loaded_model_is_in_evaluation_mode_and_gives_no_gradients(music):
    assert not music.model.training
    assert not music.reconstruct(music.sample(1, seed=0)).requires_grad
    assert not music.encode(A).requires_grad


def test_an_unknown_name_lists_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"unknown model 'melody-3bar'.*Or give a run's folder") as caught:
        load("melody-3bar")
    assert all(name in str(caught.value) for name in shipped_models())


def test_shipped_names_are_the_folders_with_a_manifest(tmp_path, tiny_run, monkeypatch):
    import shutil

    from musicae import shipped

    shutil.copytree(tiny_run("image") / "best", tmp_path / "digits-tiny")
    (tmp_path / "unfinished").mkdir()
    monkeypatch.setattr(shipped, "PRETRAINED", tmp_path)
    assert shipped_models() == ["digits-tiny"]
    assert load("digits-tiny").domain.name == "image"
    with pytest.raises(CheckpointError, match="Did you mean 'digits-tiny'"):
        load("digits-tyni")


def test_a_folder_that_is_no_model_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="is no model: neither it nor its best/"):
        load(tmp_path)
    assert PRETRAINED.is_dir()
