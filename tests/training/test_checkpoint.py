"""Checkpoints: what is written comes back, former ones are read, and what is damaged or unknown says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import SIZES
from tiny_models import untrained as fresh

from musicae.errors import CheckpointError, MusicaeError
from musicae.models import MODELS, build_model, model_name
from musicae.models.conv import MLPAutoencoder, MLPConfig
from musicae.shipped import MANIFEST, WEIGHTS
from musicae.spec import Layout, TensorSpec
from musicae.tensor_files import quantise, quantise_in_groups, write_tensors
from musicae.training.checkpoint import (
    load_checkpoint,
    read_manifest,
    read_tensors,
    save_checkpoint,
    take_over,
    with_present_names,
)

FORMER = Path(__file__).parent / "former"
"""Tiny checkpoints written before layers got the names they have, with what the models answered then."""


def batch_of(spec: TensorSpec) -> torch.Tensor:
    """Two examples, the same every time."""
    if spec.layout is Layout.STEPS:
        count = torch.arange(2 * spec.shape[0]).view(2, -1)
        values = [torch.zeros_like(count)] * len(spec.values)
        return torch.stack([*(count * 7 % size for size in spec.vocabulary), *values], -1)
    return torch.linspace(0, 1, 2 * spec.numel).view(2, *spec.shape)


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


def test_every_model_comes_back_bit_for_bit(tmp_path):
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
        batch = batch_of(domain.spec)
        with torch.no_grad():
            assert torch.equal(model.eval().reconstruct(batch), loaded.reconstruct(batch))
    assert len(SIZES) == len(MODELS)


def test_a_checkpoint_is_safetensors_and_json_and_no_pickle(saved, tiny_run):
    assert sorted(path.name for path in saved.iterdir()) == [MANIFEST, WEIGHTS]
    run = tiny_run("image")
    files = [path for path in run.rglob("*") if path.is_file()]
    assert {"run.json", WEIGHTS, MANIFEST, "state.safetensors", "state.json"} <= {path.name for path in files}
    for path in files:
        is_other = path.parent.name == "tensorboard" or path.name == ".lock"
        assert path.suffix in {".safetensors", ".json", ".jsonl", ".png"} or is_other
        head = path.read_bytes()[:2]
        assert head != b"PK" and head[:1] != b"\x80", f"{path} looks like a pickle"


def test_half_precision_is_half_as_large_and_loads_as_float32(tmp_path):
    model, manifest = fresh("mlp", width=256)
    save_checkpoint(tmp_path / "full", model, manifest)
    save_checkpoint(tmp_path / "half", model, manifest, weights="float16")
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("full", "half")]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.02)
    loaded = load_checkpoint(tmp_path / "half")[0].state_dict()
    for name, value in model.state_dict().items():
        assert loaded[name].dtype == value.dtype
        assert torch.equal(loaded[name], value.half().float())


def test_eight_bits_a_weight_are_a_quarter_as_large_and_off_by_half_a_step_of_a_channel(tmp_path):
    model, manifest = fresh("mlp", width=256)
    with torch.no_grad():
        model.encoder[0].weight[0] *= 1000  # its own channel's scale, and no other's
        model.encoder[0].weight[1] = 0
    save_checkpoint(tmp_path / "full", model, manifest)
    save_checkpoint(tmp_path / "small", model, manifest, weights="int8")
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("full", "small")]
    assert sizes[1] == pytest.approx(sizes[0] / 4, rel=0.05)
    loaded = load_checkpoint(tmp_path / "small")[0].state_dict()
    rounded = 0
    for name, value in model.state_dict().items():
        assert loaded[name].dtype == value.dtype
        error = (loaded[name] - value).abs()
        if value.dim() < 2 or value.numel() < 4096:
            assert torch.equal(loaded[name], value.half().float())
        else:
            largest = value.flatten(1).abs().amax(1)
            assert (error.flatten(1).amax(1) <= 1.001 * largest / 254).all()
            rounded += 1
    assert rounded >= 4
    assert not loaded["encoder.0.weight"][1].any()


@pytest.mark.parametrize("bits", [4, 5, 6])
def test_few_bits_a_weight_are_off_by_half_a_step_of_a_group(tmp_path, bits):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "matrix": torch.randn(70, 100, generator=generator),  # 100 is no multiple of a group
        "kernel": torch.randn(64, 8, 3, 5, generator=generator),
        "small": torch.randn(8, 8, generator=generator),
        "counts": torch.arange(10_000).view(100, 100),
    }
    tensors["matrix"][0, :32] *= 1000  # the scale of its own group, and of no other
    tensors["matrix"][1] = 0
    write_tensors(tmp_path / "stored.safetensors", quantise_in_groups(tensors, bits))
    read = read_tensors(tmp_path / "stored.safetensors")
    assert set(read) == set(tensors)
    assert torch.equal(read["small"], tensors["small"]) and torch.equal(read["counts"], tensors["counts"])
    assert not read["matrix"][1].any()
    for name in ("matrix", "kernel"):
        assert read[name].shape == tensors[name].shape and read[name].dtype == torch.float32
        rows, own = tensors[name].flatten(1), (read[name] - tensors[name]).abs().flatten(1)
        for start in range(0, rows.shape[1], 32):
            largest = rows[:, start : start + 32].abs().amax(1)
            assert (own[:, start : start + 32].amax(1) <= 1.01 * largest / (2**bits - 2)).all()
    size = (tmp_path / "stored.safetensors").stat().st_size
    assert size < (bits + 0.8) / 8 * (tensors["matrix"].numel() + tensors["kernel"].numel()) + 8 * 10_000 + 4000


@pytest.mark.parametrize(
    "changed",
    [
        {"matrix.group_shape": torch.tensor([70, 2**40])},
        {"matrix.group_shape": torch.tensor([70, 101, 2])},
        {"matrix.group_shape": torch.tensor([7000])},
        {"matrix.group_shape": torch.tensor([-70, -100])},
        {"matrix.group_shape": torch.ones(70, 100, dtype=torch.int64)},
        {"matrix.group_scale": torch.ones(70, 3).half()},
        {"matrix.group_scale": torch.ones(70, 4, dtype=torch.int64)},
        {"matrix": torch.zeros(70, 4, 16)},
        {"matrix": torch.zeros(70, 4, 15, dtype=torch.uint8)},
    ],
    ids=str,
)
def test_parts_of_groups_that_do_not_fit_are_refused(tmp_path, changed):
    stored = quantise_in_groups({"matrix": torch.randn(70, 100)}, 4)
    write_tensors(tmp_path / "stored.safetensors", stored | changed)
    with pytest.raises(CheckpointError, match=r"the scales of 'matrix' do not fit it"):
        read_tensors(tmp_path / "stored.safetensors")


def test_numbers_that_are_counts_are_not_rounded(tmp_path):
    tensors = {"order": torch.arange(10_000).view(100, 100), "weight": torch.randn(100, 100)}
    stored = quantise(tensors)
    assert torch.equal(stored["order"], tensors["order"])
    assert stored["weight"].dtype == torch.int8
    assert stored["weight"].abs().max() == 127
    write_tensors(tmp_path / "stored.safetensors", stored)
    read = read_tensors(tmp_path / "stored.safetensors")
    assert set(read) == set(tensors) and read["weight"].dtype == torch.float32
    assert torch.equal(read["order"], tensors["order"])


@pytest.mark.parametrize("name", sorted(path.name for path in FORMER.iterdir()))
def test_a_checkpoint_with_former_names_of_layers_answers_as_it_did(name):
    model, domain, manifest = load_checkpoint(FORMER / name)
    assert manifest.model == name
    batch, condition = batch_of(domain.spec), None
    if domain.spec.condition is not None:
        length, classes = domain.spec.condition
        condition = torch.arange(2 * length).view(2, -1) % classes
    with torch.no_grad():
        scored = model.score(batch, batch, torch.Generator().manual_seed(0), condition)
        found = {
            "mean": scored.posterior.mean,
            "parameters": scored.parameters,
            "reconstruction": scored.loss.reconstruction,
            "kl": scored.loss.kl,
            "answer": model.reconstruct(batch, condition=condition),
        }
    expected = np.load(FORMER / name / "answers.npz")
    assert set(expected) == set(found)
    for key, value in found.items():
        flat = value.float().numpy().reshape(-1)
        np.testing.assert_allclose(flat[:: max(1, flat.size // 200)], expected[key], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(path.name for path in FORMER.iterdir()))
def test_former_names_are_read_below_any_prefix_and_by_those_who_start_from_a_checkpoint(name):
    stored = read_tensors(FORMER / name / WEIGHTS)
    model, domain, manifest = load_checkpoint(FORMER / name)
    present = set(model.state_dict())
    assert set(with_present_names(stored)) == set(with_present_names(model.state_dict())) == present
    assert (set(stored) == present) == (name in {"mlp", "musicvae"})  # of these two no layer was renamed
    below = with_present_names({f"average.module.{key}": value for key, value in stored.items()})
    assert set(below) == {f"average.module.{key}" for key in present}
    other = build_model(name, domain.spec, manifest.model_settings)
    assert take_over(other, FORMER / name) == len(stored)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in other.state_dict().items())


class Doubled(MLPAutoencoder):
    """A class of a user's own."""

    class Config(MLPConfig):
        factor: float = 2.0

    def parameters_of(self, z, condition=None):
        return self.config.factor * super().parameters_of(z, condition)


def test_a_class_of_ones_own_is_named_in_the_checkpoint_and_given_again_to_load_it(tmp_path):
    _, manifest = fresh("mlp")
    settings = {**SIZES["mlp"], "factor": 3.0}
    own = manifest.model_copy(update={"model": model_name(Doubled), "model_settings": settings})
    spec = own.build_domain().spec
    model = build_model(Doubled, spec, settings).eval()
    save_checkpoint(tmp_path / "own", model, own)
    assert read_manifest(tmp_path / "own").model == f"{__name__}:Doubled"
    loaded, _, _ = load_checkpoint(tmp_path / "own", Doubled)
    assert isinstance(loaded, Doubled) and loaded.config.factor == 3.0
    batch = batch_of(spec)
    with torch.no_grad():
        assert torch.equal(loaded.reconstruct(batch), model.reconstruct(batch))
    assert "network_class=Doubled)" in refusal(tmp_path / "own")
    with pytest.raises(CheckpointError, match="Doubled, not mlp"):
        load_checkpoint(tmp_path / "own", MLPAutoencoder)


def test_code_that_a_checkpoint_names_is_not_imported(saved, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    edit_manifest(saved, model="trap:Model")
    assert "trap:Model, which is not part of musicae" in refusal(saved)
    assert "trap" not in sys.modules


def test_finding_a_model_and_finding_none_cost_no_torch(saved):
    code = f"""if True:
        import sys
        from pathlib import Path
        from musicae.errors import CheckpointError
        from musicae.shipped import find_model
        assert find_model({str(saved)!r}) == Path({str(saved)!r})
        try:
            find_model("nowhere")
        except CheckpointError:
            assert not {{"torch", "pydantic"}} & set(sys.modules)
        else:
            raise AssertionError
    """
    subprocess.run([sys.executable, "-c", code], check=True)


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
    assert f"has format {version!r}" in sentence
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
