"""Checkpoints: what is written comes back, and what is damaged, newer or of another model says so."""

import json
import os
from pathlib import Path

import pytest
import torch

from musicae.domains import DOMAINS
from musicae.errors import CheckpointError, MusicaeError
from musicae.models import MODELS, Autoencoder, build_model
from musicae.spec import Layout
from musicae.training.checkpoint import MANIFEST, WEIGHTS, Manifest, load_checkpoint, read_manifest, save_checkpoint

SIZES = {
    "conv": {"widths": [4, 6], "latent_size": 3},
    "spectrogram": {"widths": [4, 6], "latent_size": 3, "moment_size": 1},
    "mlp": {"width": 8, "latent_size": 3},
    "unet": {"widths": [4, 6], "latent_size": 3},
    "causal": {"width": 8, "layers": 2, "latent_size": 3},
    "steps": {"width": 8, "step_width": 8, "embedding": 4, "unrolled": 4, "latent_size": 3},
    "restorer": {"width": 8, "step_width": 8, "embedding": 4, "unrolled": 4, "latent_size": 3, "reach": 2},
    "musicvae": {"encoder_width": 4, "decoder_width": 4, "latent_size": 3},
}


def fresh(name: str = "mlp", **settings) -> tuple[Autoencoder, Manifest]:
    """A small untrained model and its manifest."""
    is_music = MODELS[name].layout is Layout.STEPS
    kind = DOMAINS["music" if is_music else "audio" if name == "causal" else "image"]
    domain = kind(kind.suited(kind.Config(), (), "reconstruct" if MODELS[name].rebuilds else "denoise"))
    sizes = {**SIZES[name], **settings}
    manifest = Manifest(
        domain=domain.name,
        domain_settings=domain.config.model_dump(mode="json"),
        task="reconstruct" if MODELS[name].rebuilds else "denoise",
        model=name,
        model_settings=sizes,
        metrics={"loss": 1.5},
    )
    return build_model(name, domain.spec, sizes), manifest


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model, manifest = fresh()
    save_checkpoint(tmp_path / "model", model, manifest)
    return tmp_path / "model"


def edit_manifest(folder: Path, **changes) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, **changes}))


def refusal(folder: Path) -> str:
    """The one sentence with which a checkpoint is refused."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_every_kind_of_model_comes_back_bit_for_bit(tmp_path):
    for name in MODELS:
        model, manifest = fresh(name)
        save_checkpoint(tmp_path / name, model, manifest)
        loaded, domain, read = load_checkpoint(tmp_path / name)
        assert read == manifest
        assert domain.spec == model.spec
        assert not loaded.training
        weights = loaded.state_dict()
        assert list(weights) == list(model.state_dict())
        assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert len(SIZES) == len(MODELS)


def test_a_checkpoint_is_safetensors_and_json_and_no_pickle(saved, tiny_run):
    assert sorted(path.name for path in saved.iterdir()) == [MANIFEST, WEIGHTS]
    run = tiny_run("image")
    files = [path for path in run.rglob("*") if path.is_file()]
    assert {"best", "last", "state"} <= {path.parent.name for path in files}
    for path in files:
        assert path.suffix in {".safetensors", ".json", ".jsonl", ".png"} or path.parent.name == "tensorboard"
        head = path.read_bytes()[:2]
        assert head != b"PK" and head[:1] != b"\x80", f"{path} looks like a pickle"


def test_half_precision_is_half_as_large_and_loads_as_float32(tmp_path):
    model, manifest = fresh("mlp", width=256)
    save_checkpoint(tmp_path / "full", model, manifest)
    save_checkpoint(tmp_path / "half", model, manifest, half=True)
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("full", "half")]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.02)
    loaded = load_checkpoint(tmp_path / "half")[0].state_dict()
    for name, value in model.state_dict().items():
        assert loaded[name].dtype == value.dtype
        assert torch.equal(loaded[name], value.half().float())


def test_a_missing_checkpoint_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'} is no model: it has no config.json."
    assert "is no model" in refusal(tmp_path / "empty")


def test_missing_weights_are_named(saved):
    (saved / WEIGHTS).unlink()
    assert "model.safetensors is missing" in refusal(saved)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "{}", "nul", '"text"', "\x00\xff"])
def test_a_damaged_manifest_says_so(saved, content):
    (saved / MANIFEST).write_bytes(content.encode("latin-1"))
    assert f"{saved / MANIFEST} is damaged" in refusal(saved)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_say_so(saved, kept):
    data = (saved / WEIGHTS).read_bytes()
    (saved / WEIGHTS).write_bytes(data[:kept])
    assert "model.safetensors is damaged" in refusal(saved)


@pytest.mark.parametrize("version", [2, 99, "2", None])
def test_a_newer_format_asks_for_an_upgrade(saved, version):
    edit_manifest(saved, format_version=version)
    sentence = refusal(saved)
    assert f"has format {version}" in sentence
    assert "upgrade musicae" in sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "conf"}, "unknown model 'conf'. Did you mean 'conv'?"),
        ({"domain": "musik"}, "unknown domain 'musik'. Did you mean 'music'?"),
        ({"colour": 3}, "unknown config.json key 'colour'"),
        ({"model_settings": {"widht": 8}}, "unknown model setting 'widht'. Did you mean 'width'?"),
        ({"model_settings": {"width": 0}}, "model setting width=0"),
        ({"domain_settings": {"sise": 8}}, "unknown image setting 'sise'. Did you mean 'size'?"),
        ({"task": 3}, "config.json key task=3"),
        ({"model": "steps", "model_settings": SIZES["steps"]}, "model 'steps' takes steps tensors, not grid"),
    ],
)
def test_what_this_version_does_not_know_is_named(saved, changes, sentence):
    edit_manifest(saved, **changes)
    assert sentence in refusal(saved)


def test_a_missing_key_is_named(saved):
    content = json.loads((saved / MANIFEST).read_text())
    del content["task"]
    (saved / MANIFEST).write_text(json.dumps(content))
    assert "task" in refusal(saved)


@pytest.mark.parametrize(("name", "settings"), [("mlp", {"width": 9}), ("conv", {})])
def test_weights_of_another_model_say_so(saved, tmp_path, name, settings):
    other, manifest = fresh(name, **settings)
    save_checkpoint(tmp_path / "other", other, manifest)
    (tmp_path / "other" / WEIGHTS).replace(saved / WEIGHTS)
    assert "are not those of its config.json" in refusal(saved)


def test_saving_again_replaces(saved):
    model, manifest = fresh()
    save_checkpoint(saved, model, manifest.model_copy(update={"metrics": {"loss": 0.5}}))
    assert read_manifest(saved).metrics == {"loss": 0.5}
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_an_interrupted_write_leaves_the_old_one_whole(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    model, manifest = fresh()
    write_text = Path.write_text

    def interrupted(path, *args, **kwargs):
        write_text(path, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(saved, model, manifest)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_rename_that_fails_puts_the_old_one_back(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    model, manifest = fresh()
    rename = Path.rename

    def fails_on_the_new_one(path, target):
        if ".writing-" in path.name:
            raise OSError(5, "Input/output error", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_on_the_new_one)
    with pytest.raises(OSError, match="Input/output"):
        save_checkpoint(saved, model, manifest)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


@pytest.mark.skipif(os.name == "nt", reason="limits the size of files with the resource module")
def test_weights_that_do_not_fit_on_the_disk_are_one_sentence_and_leave_the_old_ones(saved):
    import resource
    import signal

    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    model, manifest = fresh(width=256)
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        with pytest.raises(MusicaeError, match=r"cannot write .*model") as caught:
            save_checkpoint(saved, model, manifest)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]
