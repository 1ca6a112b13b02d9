"""The second stage: it changes nothing of the first, and draws what the first decodes to music in a key."""

import pytest
import torch
from music_pieces import common
from tiny_models import SIZES, untrained

from musicae.errors import CheckpointError, MusicaeError
from musicae.models import build_model, refuse_misfit
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.shipped import MANIFEST, WEIGHTS, find_model
from musicae.trained import load
from musicae.training.checkpoint import load_checkpoint, save_checkpoint, take_over
from musicae.training.experiment import Experiment

QUICK = {"steps": 12, "evaluate_every": 12, "batch_size": 16, "warmup_steps": 2, "precision": "no", "log_with": ()}
FLOW = {"second_stage": True, "flow_width": 16, "flow_blocks": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the second stage that starts from the shipped model of two bars, on the starter tunes."""
    folder = tmp_path_factory.mktemp("second") / "run"
    settings = {**QUICK, **FLOW, "start_from": "melody-2bar", "learning_rate": 1e-2}
    experiment = Experiment.resolve("music", task="reconstruct", data=(), model=None, settings=settings)
    experiment.run(folder, experiment.read())
    return folder


def test_the_first_stage_stays_as_it_is(run):
    before, after = (load_checkpoint(find_model(str(place)))[0].state_dict() for place in ("melody-2bar", run))
    first = [name for name in after if not name.startswith("flow.")]
    assert len(first) > 20
    assert all(torch.equal(before[name], after[name]) for name in first)
    assert after["flow.output_projection.1.weight"].any(), "the second stage has not learned"


def test_samples_repeat_and_differ_by_seed_and_key(run):
    model = load(run)
    first, again, other = (model.sample(3, seed=seed).tensor for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(model.sample(3, seed=1, key="F").tensor, first)


@pytest.mark.parametrize("name", ["phrases", "keyboard"])
def test_codes_in_a_row_are_completed_by_it(name):
    torch.manual_seed(0)
    model, _ = untrained(name, **FLOW)
    count = model.codes_in_a_row
    assert count > 1
    assert model.completes
    z = torch.randn(2, *model.latent_shape)
    unknown = torch.arange(count) == 1
    drawn = model.completed(z, unknown, torch.Generator().manual_seed(0), 0.5)
    same = drawn.unflatten(1, (count, -1)) == z.unflatten(1, (count, -1))
    assert same.all(2).all(0).tolist() == (~unknown).tolist()
    x = torch.zeros(2, *model.spec.shape, dtype=torch.int64)
    model.train()
    loss = model.loss(x).total
    loss.backward()
    learned = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learned
    assert all(model.learns(name) for name in learned)


def test_only_new_priors_learn_beside_it():
    phrases, _ = untrained("phrases", **FLOW)
    learns = {
        name.split(".")[0] if "prior" not in name else ".".join(name.split(".")[:3])
        for name in phrases.state_dict()
        if phrases.learns(name)
    }
    assert "flow" in learns
    assert "latent.prior.blocks" in learns
    assert not {"latent.prior.phrase", "phrase_encoder", "head"} & learns


def test_a_second_stage_of_other_codes_is_left_behind(tmp_path, run):
    """A model of sixteen bars starts from the first stage of one of two that has a second one."""
    domain = MusicDomain(MusicConfig(bars=16))
    settings = {**load_checkpoint(find_model(str(run)))[2].model_settings, "prior_width": 16, "prior_blocks": 1}
    model = build_model(
        "phrases", domain.spec, {key: value for key, value in settings.items() if key != "sample_spread"}
    )
    taken = take_over(model, find_model(str(run)))
    assert taken > 20
    phrase = load_checkpoint(find_model(str(run)))[0].latent.prior.state_dict()
    assert all(torch.equal(model.latent.prior.phrase.state_dict()[name], value) for name, value in phrase.items())


def test_a_code_without_a_posterior_has_none():
    with pytest.raises(MusicaeError, match="second stage"):
        refuse_misfit("steps", common().spec, {"second_stage": True, "latent": "deterministic"})


def test_noisier_codes_have_larger_deviations():
    torch.manual_seed(0)
    domain = common(bars=8)
    sizes = SIZES["phrases"]
    plain = build_model("phrases", domain.spec, sizes).eval()
    noisy = build_model("phrases", domain.spec, {**sizes, "code_noise": 1.5}).eval()
    noisy.load_state_dict(plain.state_dict())
    x = torch.zeros(2, *domain.spec.shape, dtype=torch.int64)
    before, after = (model.encode(x) for model in (plain, noisy))
    assert torch.equal(before.mean, after.mean)
    torch.testing.assert_close(
        after.variance.sqrt() / before.variance.sqrt(), torch.full_like(before.mean, 1.5), rtol=0.05, atol=0
    )


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A model that goes on with a stored one, whose folder is in the place of the shipped ones."""
    torch.manual_seed(0)
    monkeypatch.setattr("musicae.training.checkpoint.PRETRAINED", tmp_path)
    start, manifest = untrained("steps")
    save_checkpoint(tmp_path / "start", start, manifest, weights="int6")
    model, manifest = untrained("phrases")
    take_over(model, tmp_path / "start")
    save_checkpoint(tmp_path / "whole", model, manifest)
    save_checkpoint(tmp_path / "rest", model, manifest.model_copy(update={"shares": "start"}))
    return tmp_path


def test_shared_weights_are_stored_once(shared):
    whole, rest = (load_checkpoint(shared / name)[0].state_dict() for name in ("whole", "rest"))
    assert all(torch.equal(whole[name], rest[name]) for name in whole)
    sizes = [(shared / name / WEIGHTS).stat().st_size for name in ("whole", "rest")]
    assert sizes[1] < 0.8 * sizes[0]
    model, _ = untrained("phrases")
    take_over(model, shared / "rest")
    assert all(torch.equal(value, whole[name]) for name, value in model.state_dict().items())


def test_what_it_shares_weights_with_must_be_there(shared):
    (shared / "start" / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="upgrade musicae"):
        load_checkpoint(shared / "rest")


@pytest.mark.parametrize("name", ["../start", "/start", "", "Start", "start/"])
def test_names_that_are_paths_are_refused(shared, name):
    content = (shared / "rest" / MANIFEST).read_text()
    (shared / "rest" / MANIFEST).write_text(content.replace('"shares": "start"', f'"shares": "{name}"'))
    with pytest.raises(CheckpointError):
        load_checkpoint(shared / "rest")
