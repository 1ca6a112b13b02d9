"""The second stage: it changes nothing of the first, and draws what the first decodes to music in a key."""

import json
import re
from pathlib import Path

import pytest
import torch
from music_pieces import common
from tiny_models import SIZES, untrained

from musicae.errors import CheckpointError, MusicaeError
from musicae.models import build_model, refuse_misfit
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.nn.flow_matching import FlowMatching
from musicae.shipped import MANIFEST, WEIGHTS, find_model
from musicae.trained import load
from musicae.training.callbacks import Callback
from musicae.training.checkpoint import load_checkpoint, read_manifest, save_checkpoint, take_over
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


class StopAt(Callback):
    """Ends a run at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, run):
        if run.step == self.step:
            run.stop()


def test_a_second_stage_that_was_stopped_goes_on_as_if_it_had_not(run, tmp_path):
    """Also while mean and scale of the codes are measured."""
    settings = {**QUICK, **FLOW, "start_from": "melody-2bar", "learning_rate": 1e-2}
    experiment = Experiment.resolve("music", task="reconstruct", data=(), model=None, settings=settings)
    experiment.run(tmp_path / "run", experiment.read(), callbacks=(StopAt(5),))
    assert last_weights(tmp_path / "run")["flow.batches"] == 5
    experiment = Experiment.of_run(tmp_path / "run", data=())
    experiment.run(tmp_path / "run", experiment.read(), resume=True)
    broken, unbroken = map(last_weights, (tmp_path / "run", run))
    assert unbroken["flow.batches"] == 12
    assert broken.keys() == unbroken.keys()
    assert all(torch.equal(broken[name], unbroken[name]) for name in unbroken)


def last_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(find_model(f"{run}/last"))[0].state_dict()


def test_samples_repeat_and_differ_by_seed_and_key(run):
    model = load(run)
    first, again, other = (model.sample(3, seed=seed).tensor for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_key_is_asked_for_by_its_scale_and_else_any(run, monkeypatch):
    model, asked = load(run), []
    draw = FlowMatching.draw

    def noting(self, noise, condition=None, label=None, **how):
        asked.append(label.tolist())
        return draw(self, noise, condition, label, **how)

    monkeypatch.setattr(FlowMatching, "draw", noting)
    model.sample(3, seed=1, key="D minor")
    model.sample(40, seed=1)
    assert set(asked[0]) == {5}
    assert len(set(asked[1])) > 6
    assert max(asked[1]) < 12


def test_fine_tuning_changes_the_first_stage(run, tmp_path):
    """A model that has a second stage is fine-tuned like any other, without it."""
    settings = {**QUICK, "start_from": str(run), "learning_rate": 1e-3}
    experiment = Experiment.resolve("music", task="reconstruct", data=(), model=None, settings=settings)
    experiment.run(tmp_path / "tuned", experiment.read())
    before, after = (load_checkpoint(find_model(str(place)))[0].state_dict() for place in (run, tmp_path / "tuned"))
    assert not any(name.startswith("flow.") for name in after)
    assert not torch.equal(before["phrase_encoder.0.weight"], after["phrase_encoder.0.weight"])
    shared = "latent.prior.couplings.0.order"
    assert torch.equal(before[shared], after[shared])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "--start-from"), ({"start_from": "melody-2bar", "width": 64}, "lacks what this training keeps")],
    ids=["no start", "other sizes"],
)
def test_what_stays_as_it_is_must_have_been_trained(tmp_path, settings, message):
    with pytest.raises(MusicaeError, match=message):
        experiment = Experiment.resolve(
            "music", task="reconstruct", data=(), model=None, settings={**QUICK, **FLOW, **settings}
        )
        experiment.run(tmp_path / "run", experiment.read())


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
    assert all(name.startswith(("flow.", "latent.prior.")) for name in learned)


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


def test_other_weights_than_those_it_was_stored_without_are_refused(shared):
    assert re.fullmatch("[0-9a-f]{64}", read_manifest(shared / "rest").shares_sha256)
    start, manifest = untrained("steps")
    save_checkpoint(shared / "start", start, manifest, weights="int6")
    for call in (load_checkpoint, lambda folder: take_over(untrained("phrases")[0], folder)):
        with pytest.raises(CheckpointError, match=r"other weights of start than this musicae .* has; install musicae"):
            call(shared / "rest")
    load_checkpoint(shared / "whole")


def test_a_model_stored_before_another_changed_elsewhere_still_loads(shared):
    """Only what is shared counts: not what the other one has beside it, such as its second stage."""
    start = load_checkpoint(shared / "start")[0]
    more, manifest = untrained("steps", **FLOW)
    more.load_state_dict(start.state_dict(), strict=False)
    save_checkpoint(shared / "start", more, manifest, weights="int6")
    whole, rest = (load_checkpoint(shared / name)[0].state_dict() for name in ("whole", "rest"))
    assert all(torch.equal(whole[name], rest[name]) for name in whole)


def test_without_a_digest_shared_weights_are_not_loaded(shared):
    content = json.loads((shared / "rest" / MANIFEST).read_text())
    del content["shares_sha256"]
    (shared / "rest" / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="other weights of start"):
        load_checkpoint(shared / "rest")


@pytest.mark.parametrize("name", ["../start", "/start", "", "Start", "start/", "a" * 300])
def test_names_that_are_paths_are_refused(shared, name):
    content = (shared / "rest" / MANIFEST).read_text()
    (shared / "rest" / MANIFEST).write_text(content.replace('"shares": "start"', f'"shares": "{name}"'))
    with pytest.raises(CheckpointError, match="shares"):
        load_checkpoint(shared / "rest")


def test_the_label_of_the_rest_does_not_look_at_what_is_unknown():
    torch.manual_seed(0)
    model = build_model("phrases", MusicDomain(MusicConfig(bars=4)).spec, {**SIZES["phrases"], **FLOW})
    tokens = torch.zeros(1, 4 * 16, 2, dtype=torch.int64)  # the last column names the time signature
    tokens[0, ::4, 0] = torch.tensor([60, 62, 64, 65, 67, 69, 71, 72, *[61, 63, 66, 68] * 2]) - 19
    x = MusicDomain(MusicConfig(bars=4)).tensor(torch.nn.functional.pad(tokens, (0, 0, 0, 8))).target
    whole = model.spec.labels.of(x)
    rest = model.label_of_rest(x, torch.tensor([False, True]))
    assert rest.tolist() == [0]
    assert whole.tolist() != [0]
    assert untrained("phrases")[0].label_of_rest(x, torch.tensor([False, True])) is None
