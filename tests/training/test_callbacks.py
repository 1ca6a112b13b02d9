"""What a script adds to a run: callbacks and trackers; and `run_training`, which takes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tile_domain import TileDomain, tiles

from musicae.domains import DOMAINS
from musicae.errors import CheckpointError, MusicaeError
from musicae.models.conv import ConvAutoencoder, ConvConfig
from musicae.shipped import find_model
from musicae.training.callbacks import Callback, RunStatus, check_callbacks
from musicae.training.checkpoint import load_checkpoint, read_manifest
from musicae.training.experiment import Experiment, run_folder, run_training
from musicae.training.run_log import TRACKERS, check_trackers

TINY = {"widths": (8, 8), "latent_size": 4, "batch_size": 32, "warmup_steps": 5, "precision": "no", "log_with": ()}
TILES = tiles(240)


@pytest.fixture(autouse=True)
def _tile_domain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(DOMAINS, "tile", lambda: TileDomain)
    monkeypatch.chdir(tmp_path)


class Recorder(Callback):
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.steps: list[RunStatus] = []
        self.evaluations: list[RunStatus] = []
        self.ends: list[RunStatus] = []

    def on_step(self, run: RunStatus) -> None:
        self.steps.append(run)

    def on_evaluation(self, run: RunStatus) -> None:
        self.evaluations.append(run)
        assert read_manifest(find_model(str(run.folder / "last"))).domain == "tile"

    def on_end(self, run: RunStatus) -> None:
        self.ends.append(run)


def test_a_callback_sees_every_step_every_evaluation_and_the_end():
    recorder = Recorder()
    best = run_training("tile", data=TILES, steps=10, evaluate_every=4, callbacks=[recorder], **TINY)
    assert [run.step for run in recorder.steps] == list(range(1, 11))
    assert [run.step for run in recorder.evaluations] == [4, 8, 10]
    assert [run.step for run in recorder.ends] == [10]
    assert [run.progress for run in recorder.steps[:2]] == pytest.approx([0.1, 0.2])
    assert all(run.loss.total.isfinite() and not run.loss.total.requires_grad for run in recorder.steps)
    assert recorder.steps[2].metrics == {}
    assert recorder.steps[4].metrics == recorder.evaluations[0].metrics
    assert read_manifest(best).metrics == min(
        (run.metrics for run in recorder.evaluations), key=lambda row: row["loss"]
    )
    assert recorder.evaluations[0].elapsed_s < recorder.ends[0].elapsed_s
    # What is evaluated is the average of the weights that are trained.
    trained, averaged = recorder.steps[-1].model, recorder.ends[0].model
    assert trained is not averaged
    assert [name for name, _ in trained.named_parameters()] == [name for name, _ in averaged.named_parameters()]


def test_a_callback_can_stop_a_run_which_is_evaluated_then():
    class Stop(Recorder):
        def on_step(self, run: RunStatus) -> None:
            super().on_step(run)
            if run.step == 5:
                run.stop()

    stop, later = Stop(), Recorder()
    best = run_training("tile", data=TILES, steps=100, evaluate_every=50, callbacks=[stop, later], **TINY)
    assert [run.step for run in later.steps] == list(range(1, 6))
    assert [run.step for run in later.evaluations] == [5]
    assert [run.step for run in later.ends] == [5]
    assert best == find_model(str(best.parents[1]))


def test_a_callback_can_stop_a_run_at_an_evaluation():
    class Stop(Recorder):
        def on_evaluation(self, run: RunStatus) -> None:
            run.stop()

    stop = Stop()
    run_training("tile", data=TILES, steps=100, evaluate_every=3, callbacks=[stop], **TINY)
    assert stop.ends[0].step == 3


def test_any_object_with_the_three_methods_will_do_and_others_are_refused_before_anything_is_read():
    class Partial:
        def on_step(self, run: RunStatus) -> None:
            """Does nothing."""

    class Other(Partial):
        on_evaluation = on_end = Partial.on_step

    check_callbacks([Other()])
    with pytest.raises(ValueError, match="Partial has no on_evaluation, on_end; subclass"):
        run_training("tile", data="nowhere", callbacks=[Partial()])
    with pytest.raises(ValueError, match="Recorder is a class and no object of one"):
        run_training("tile", data="nowhere", callbacks=[Recorder])


def test_a_tracker_that_is_unknown_or_not_installed_is_one_sentence(monkeypatch):
    with pytest.raises(MusicaeError, match=r"unknown tracker 'wandbb'\. Did you mean 'wandb'\?"):
        run_training("tile", data=TILES, log_with=["wandbb"])
    monkeypatch.setitem(TRACKERS, "no_such_tracker", "some-package")
    with pytest.raises(MusicaeError, match=r"no_such_tracker .* pip install some-package\."):
        check_trackers(["tensorboard", "no_such_tracker"])
    assert not Path("runs").exists()


def test_trackers_are_those_that_accelerate_knows():
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    assert set(TRACKERS) == set(LOGGER_TYPE_TO_CLASS)


def test_no_tracker_writes_nothing_but_the_lines(tmp_path):
    best = run_training("tile", data=TILES, steps=2, **TINY)
    assert not (best.parents[1] / "tensorboard").exists()
    assert (best.parents[1] / "metrics.jsonl").is_file()


# Where runs are, and going on with them


def test_runs_without_a_folder_of_their_own_are_numbered(tmp_path):
    folders = [run_training("tile", data=TILES, steps=2, **TINY).parents[1] for _ in range(2)]
    assert folders == [Path("runs/tile-reconstruct"), Path("runs/tile-reconstruct-2")]
    assert run_folder("tile", "denoise") == Path("runs/tile-denoise")
    with pytest.raises(MusicaeError, match="already holds a run"):
        run_training("tile", data=TILES, steps=2, out=folders[0], **TINY)


def test_a_run_goes_on_where_the_same_array_is_given_again(tmp_path):
    given = {**TINY, "steps": 20, "evaluate_every": 5, "out": tmp_path / "run"}

    class Stop(Callback):
        def on_step(self, run: RunStatus) -> None:
            if run.step == 7:
                run.stop()

    run_training("tile", data=TILES, callbacks=[Stop()], **given)
    run_training("tile", data=TILES.copy(), resume=True, **given)
    whole = run_training("tile", data=TILES, **{**given, "out": tmp_path / "whole"})
    broken = tmp_path / "run"
    weights = [
        load_checkpoint(find_model(str(folder / "last")))[0].state_dict() for folder in (broken, whole.parents[1])
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    with pytest.raises(MusicaeError, match="data changed"):
        run_training("tile", data=tiles(240, seed=1), resume=True, **given)
    with pytest.raises(MusicaeError, match=r"data in memory; continue it in Python"):
        Experiment.of_run(broken)


def test_a_run_goes_on_with_what_it_began_with_only(tmp_path):
    given = {**TINY, "steps": 2, "out": tmp_path / "run"}
    run_training("tile", data=TILES, **given)
    for change, name in (
        ({"steps": 3}, "steps=3"),
        ({"task": "denoise"}, "task='denoise'"),
        ({"model": "mlp"}, "model='mlp'"),
        ({"start_from": "elsewhere"}, "start_from='elsewhere'"),
    ):
        with pytest.raises(MusicaeError, match=f"{name}.* is not what the run began with"):
            run_training("tile", data=TILES, resume=True, **{**given, **change})
    with pytest.raises(CheckpointError, match="holds no run"):
        run_training("tile", data=TILES, resume=True, **{**given, "out": tmp_path / "elsewhere"})
    with pytest.raises(ValueError, match="give out"):
        run_training("tile", data=TILES, resume=True)


class OwnConfig(ConvConfig):
    """Of the model below."""

    scale: float = 1.0


class OwnModel(ConvAutoencoder):
    """A model that is in no table."""

    Config = OwnConfig


def test_a_model_of_ones_own_is_trained_stored_by_name_and_gone_on_with(tmp_path):
    given = {**TINY, "steps": 4, "scale": 2.0, "out": tmp_path / "run", "model": OwnModel}
    best = run_training("tile", data=TILES, **given)
    assert read_manifest(best).model == f"{__name__}:OwnModel"
    assert read_manifest(best).model_settings["scale"] == 2.0
    network, _, _ = load_checkpoint(best, OwnModel)
    assert type(network) is OwnModel
    run_training("tile", data=TILES, resume=True, **given)
    with pytest.raises(MusicaeError, match="a model of your own"):
        Experiment.of_run(tmp_path / "run", data=TILES)


def test_what_is_no_model_and_settings_that_nothing_has_are_refused():
    with pytest.raises(ValueError, match="a model's name or a subclass of Autoencoder"):
        run_training("tile", data=TILES, model=np.ndarray)
    with pytest.raises(MusicaeError, match=r"unknown setting 'widhts'\. Did you mean 'widths'"):
        run_training("tile", data=TILES, widhts=(8,))
    with pytest.raises(MusicaeError, match="model mlp has no setting blocks; leave it out, or use --model conv"):
        run_training("tile", data=TILES, model="mlp", blocks=2)
    with pytest.raises(MusicaeError, match="unknown model 'con'"):
        run_training("tile", data=TILES, model="con")
