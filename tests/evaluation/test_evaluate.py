"""Scores: their names, and their values against scikit-learn, torch.distributions and models with known answers."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from music_pieces import common
from tiny_models import write_chords
from torch import Tensor
from torch.distributions import Independent, LowRankMultivariateNormal, Normal, kl_divergence

from musicae.audio.domain import AudioConfig, AudioDomain
from musicae.audio.sound import Sound
from musicae.data.dataset import DataSet, load_dataset, unseen
from musicae.data.store import ReadReport
from musicae.domain import Domain
from musicae.errors import MusicaeError
from musicae.evaluation.evaluate import evaluate, evaluate_files
from musicae.image.domain import ImageConfig, ImageDomain
from musicae.likelihoods import Gaussian
from musicae.models import Autoencoder, ModelConfig
from musicae.music.statistics import bar_before
from musicae.nn.latent import Posterior
from musicae.spec import Layout, TensorSpec
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import Manifest

Run = Callable[[str], Path]
Starter = Callable[[Domain], DataSet]
COUNTS = {"examples", "left_out_seen_in_training"}
NATS_AND_BITS = ("reconstruction_nats", "kl_nats", "bits_per_number")
LINEAR = ("pca_mse", "knn_accuracy", "probe_accuracy", "pca_knn_accuracy", "pca_probe_accuracy")


def with_ends(*names: str) -> set[str]:
    """Names of scores that have an interval, and of its ends."""
    return {name + ending for name in names for ending in ("", "_low", "_high")}


class Copier(Autoencoder):
    """Answers with its input; its code says nothing."""

    def __init__(self, domain: Domain, latent: str = "deterministic") -> None:
        super().__init__(domain.spec, ModelConfig(latent=latent, latent_size=1))
        self._build_latent()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (1,)

    @property
    def autoregressive(self) -> bool:
        return self.spec.layout is Layout.STEPS

    @property
    def restores(self) -> bool:
        return True

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        mean = torch.zeros(len(x), 1)
        return Posterior(mean, mean if self.config.latent == "gaussian" else None)

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        raise NotImplementedError

    def reconstruct(
        self, x: Tensor, *, generator: torch.Generator | None = None, condition: Tensor | None = None
    ) -> Tensor:
        return x

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        if self.spec.layout is Layout.STEPS:
            return torch.nn.functional.one_hot(target[..., 0], self.spec.vocabulary[0]) * 100.0
        return x


class LinearGaussian(Autoencoder):
    """Probabilistic PCA (Tipping & Bishop, 1999) on a grid, with orthogonal loadings.

    Then the posterior is factorised and known, and so is log p(x) = log N(x; μ, W·Wᵀ + σ²·I).
    """

    def __init__(self, spec: TensorSpec, size: int, sigma: float, posterior_scale: float = 1.0) -> None:
        super().__init__(spec, ModelConfig(latent_size=size))
        random = torch.Generator().manual_seed(5)
        axes = torch.linalg.qr(torch.randn(spec.numel, size, generator=random)).Q
        self.loadings = axes * torch.linspace(0.5, 1.5, size)
        self.centre = 0.5 + 0.1 * torch.randn(spec.numel, generator=random)
        self.sigma, self.scale = sigma, posterior_scale
        assert isinstance(self.likelihood, Gaussian)
        raw = math.log(math.expm1(math.log(sigma) + 6.0))  # what softplus takes to log σ + 6
        self.likelihood.scaled_log_sigma.data.fill_((raw - 6.0) / 10.0)
        self._build_latent()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_size,)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        precision = self.loadings.square().sum(0) / self.sigma**2 + 1
        mean = (x.flatten(1) - self.centre) @ self.loadings / self.sigma**2 / precision
        return Posterior(mean, (self.scale**2 / precision).log().expand_as(mean))

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        return (z @ self.loadings.T + self.centre).view(-1, *self.spec.shape)

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self.decode(z)

    def log_prob(self, x: Tensor) -> Tensor:
        """The exact log p(x), `(batch,)`."""
        exact = LowRankMultivariateNormal(
            self.centre.double(), self.loadings.double(), torch.full_like(self.centre, self.sigma**2).double()
        )
        return exact.log_prob(x.flatten(1).double())


def copying(domain: Domain, task: str = "reconstruct", latent: str = "deterministic") -> TrainedModel:
    manifest = Manifest(domain=domain.name, domain_settings={}, task=task, model="copier", model_settings={})
    return TrainedModel(Copier(domain, latent), domain, manifest, "cpu")


def chords(tmp_path: Path, **settings: object) -> tuple[AudioDomain, DataSet]:
    config = {"sample_rate_hz": 8000, "n_fft": 256, "chunk_s": 0.6, **settings}
    domain = AudioDomain(AudioConfig.model_validate(config))
    return domain, load_dataset(domain, [write_chords(tmp_path / "chords", 6)])


# Names


def test_music_scores_have_the_promised_names(music: TrainedModel, starter_set: Starter) -> None:
    scores = evaluate(music, starter_set(music.domain), limit=40)
    promised = with_ends("accuracy_free_running", "onset_f1", "kl_bits", "elbo_nats")
    promised |= {"accuracy_teacher_forced", "accuracy_free_running_mean", "onset_f1_mean", "active_units"}
    promised |= {"accuracy_hold", "accuracy_copy", "onset_f1_hold", "onset_f1_copy", *NATS_AND_BITS}
    assert set(scores) == promised | COUNTS
    assert all(math.isfinite(value) for value in scores.values())
    shares = [name for name in scores if "accuracy" in name or "f1" in name]
    assert len(shares) == 13
    assert all(0 <= scores[name] <= 1 for name in shares)
    assert scores["kl_bits"] > 0


def test_image_scores_have_the_promised_names(image: TrainedModel, starter_set: Starter) -> None:
    scores = evaluate(image, starter_set(image.domain))
    promised = with_ends("mse", "psnr_db", "ssim", "kl_bits", "elbo_nats")
    promised |= {"active_units", *LINEAR, *NATS_AND_BITS}
    assert set(scores) == promised | {"mse_mean", "psnr_db_mean", "ssim_mean"} | COUNTS
    assert all(math.isfinite(value) for value in scores.values())
    assert scores["kl_bits"] == pytest.approx(scores["kl_nats"] / math.log(2))
    assert scores["bits_per_number"] == pytest.approx(-scores["elbo_nats"] / math.log(2) / 64)
    assert scores["mse_mean"] < scores["mse"]


def test_a_plain_autoencoder_has_no_bits(plain: TrainedModel, starter_set: Starter) -> None:
    scores = evaluate(plain, starter_set(plain.domain))
    assert set(scores) == with_ends("mse", "psnr_db", "ssim") | {*LINEAR, "reconstruction_nats"} | COUNTS


def test_audio_scores_have_the_promised_names(audio: TrainedModel) -> None:
    scores = evaluate_files(audio, [])
    # One chord is kept for testing, and one recording says nothing of how much others differ.
    of_both = {"si_sdr_out_db", "si_sdr_gain_db", "log_mel_l1", "log_spectral_distance_db", "multi_resolution_distance"}
    baselines = ("wiener", "oracle_mask")
    promised = {"si_sdr_in_db", *of_both, *(f"{name}_{baseline}" for name in of_both for baseline in baselines)}
    promised |= {"reconstruction_nats", "real_time_factor", *(f"beats_{baseline}" for baseline in baselines)}
    optional = {name for name in scores if name.startswith(("pesq", "stoi")) or "noisereduce" in name}
    assert set(scores) - optional == promised | COUNTS
    assert scores["si_sdr_out_db_oracle_mask"] > scores["si_sdr_out_db"]
    assert scores["beats_oracle_mask"] == 0
    assert scores["real_time_factor"] > 1
    gain_db = scores["si_sdr_out_db_wiener"] - scores["si_sdr_in_db"]
    assert scores["si_sdr_gain_db_wiener"] == pytest.approx(gain_db, abs=1e-3)
    assert scores["si_sdr_gain_db"] == pytest.approx(scores["si_sdr_out_db"] - scores["si_sdr_in_db"], abs=1e-3)


# Values


def test_scores_at_the_mean_are_those_of_the_reconstructions(image: TrainedModel, starter_set: Starter) -> None:
    dataset = starter_set(image.domain)
    batch = image.domain.tensor(torch.from_numpy(dataset.examples[dataset.splits["test"]])).target
    scores = evaluate(image, dataset)
    assert scores["examples"] == len(batch)
    assert scores["mse_mean"] == pytest.approx(float((image.reconstruct(batch) - batch).square().mean()), rel=1e-4)


def test_bits_and_elbo_are_those_of_the_distributions(image: TrainedModel, starter_set: Starter) -> None:
    dataset = starter_set(image.domain)
    batch = image.domain.tensor(torch.from_numpy(dataset.examples[dataset.splits["test"]])).target
    with torch.no_grad():
        posterior = image.network.encode(batch)
    assert posterior.log_variance is not None
    q = Independent(Normal(posterior.mean, (0.5 * posterior.log_variance).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(posterior.mean), 1.0), 1)
    scores = evaluate(image, dataset)
    assert scores["kl_bits"] == pytest.approx(float(kl_divergence(q, prior).mean()) / math.log(2), rel=1e-5)
    nats = scores["reconstruction_nats"] + scores["kl_bits"] * math.log(2)
    assert scores["elbo_nats"] == pytest.approx(-nats, rel=1e-6)
    assert scores["active_units"] == int((posterior.mean.var(0, correction=0) > 0.01).sum())


def test_a_perfect_melody_model_scores_one_and_its_silent_code_costs_nothing(starter_set: Starter) -> None:
    domain = common()
    scores = evaluate(copying(domain, latent="gaussian"), starter_set(domain))
    for name in ("accuracy_teacher_forced", "accuracy_free_running", "accuracy_free_running_mean", "onset_f1"):
        assert scores[name] == 1.0
    assert scores["kl_bits"] == scores["active_units"] == 0
    assert scores["elbo_nats"] == pytest.approx(0.0, abs=1e-6)


def test_a_perfect_picture_model_has_no_error(starter_set: Starter) -> None:
    domain = ImageDomain()
    scores = evaluate(copying(domain), starter_set(domain))
    assert (scores["mse"], scores["psnr_db"]) == (0.0, 100.0)
    assert scores["ssim"] == pytest.approx(1.0)


def test_a_denoiser_that_does_nothing_gains_nothing_at_the_noise_it_was_given(tmp_path: Path) -> None:
    domain, dataset = chords(tmp_path, snr_db_low=5.0, snr_db_high=5.0)
    scores = evaluate(copying(domain, "denoise"), dataset)
    assert scores["si_sdr_gain_db"] == 0.0
    assert scores["si_sdr_in_db"] == scores["si_sdr_out_db"] == pytest.approx(5.0, abs=0.5)
    assert scores["log_mel_l1"] > 0.1


def test_files_and_what_was_trained_on_are_read_and_scored(image: TrainedModel, starter_set: Starter) -> None:
    assert evaluate_files(image, [], limit=20) == evaluate(image, starter_set(image.domain), limit=20)


def test_a_noise_setting_changes_the_test(audio: TrainedModel) -> None:
    scores = {
        level: evaluate_files(audio, [], settings={"snr_db_low": level, "snr_db_high": level}) for level in (0, 20)
    }
    assert scores[20]["si_sdr_in_db"] - scores[0]["si_sdr_in_db"] == pytest.approx(20, abs=2)


# Which examples, which draws


@pytest.mark.parametrize("name", ["music", "image", "audio"])
def test_a_seed_fixes_the_scores(tiny_run: Run, name: str) -> None:
    trained = load(tiny_run(name), "cpu")
    dataset = load_dataset(trained.domain, [Path(path) for path in trained.manifest.data["paths"]])
    first, again, other = (evaluate(trained, dataset, limit=30, seed=seed) for seed in (1, 1, 2))
    for scores in (first, again):
        scores.pop("real_time_factor", None)  # depends on what else the machine does
    assert first == again
    assert first["reconstruction_nats"] != other["reconstruction_nats"]


def test_a_limit_is_spread_over_the_split(starter_set: Starter) -> None:
    domain = ImageDomain()
    dataset = starter_set(domain)
    total = len(dataset.splits["test"])
    for limit in (1, 7, total, 10 * total):
        examples = evaluate(copying(domain, latent="gaussian"), dataset, limit=limit)["examples"]
        assert min(limit, total) / 2 <= examples <= limit
    assert examples == total


def test_examples_that_stand_in_training_are_left_out_and_counted(starter_set: Starter) -> None:
    domain = common()
    whole = starter_set(domain)
    examples = np.array(whole.examples)
    train, test = whole.splits["train"], unseen(domain, whole, "test")
    melody = examples[train[0]]
    examples[test[:3]] = np.where(melody >= 2, melody + 1, melody)  # a semitone up is the same melody
    scores = evaluate(copying(domain), DataSet(examples, {**whole.splits, "test": test}, "", "", ReadReport()))
    assert scores["left_out_seen_in_training"] == 3
    assert scores["examples"] == len(test) - 3


def test_a_split_without_an_unseen_example_says_so() -> None:
    domain = ImageDomain()
    examples = np.zeros((4, 1, 8, 8), np.uint8)
    splits = {"train": np.array([0, 1]), "validation": np.array([2]), "test": np.array([3])}
    dataset = DataSet(examples, splits, "", "", ReadReport())
    with pytest.raises(MusicaeError, match="the test split has no example that does not also stand in training"):
        evaluate(copying(domain), dataset)
    with pytest.raises(MusicaeError, match="the validation split has no example"):
        evaluate(copying(domain), dataset, split="validation")


def test_files_that_no_training_saw_are_all_scored(audio: TrainedModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Sound.open(0.1 * rng.standard_normal(40_000), sample_rate_hz=16_000).save(tmp_path / "one.wav")
    with pytest.raises(MusicaeError, match="or split 'all' for files that the model never saw"):
        evaluate_files(audio, [tmp_path])
    examples = len(load_dataset(audio.domain, [tmp_path]).examples)
    scores = evaluate_files(audio, [tmp_path], split="all")
    assert scores["examples"] == examples > 0
    assert scores["left_out_seen_in_training"] == 0
    assert "damaged_files" not in scores
    (tmp_path / "broken.wav").write_bytes(b"RIFF and nothing more")
    again = evaluate_files(audio, [tmp_path], split="all")
    assert (again["examples"], again["damaged_files"]) == (examples, 1)
    with pytest.raises(MusicaeError, match="'all' keeps none"):
        evaluate_files(audio, [tmp_path], split="all", samples=4)
    with pytest.raises(MusicaeError, match="name them with --data"):
        evaluate_files(audio, [], split="all")
    seen = [Path(path) for path in audio.manifest.data["paths"]]
    with pytest.raises(MusicaeError, match="the files the model was trained on"):
        evaluate_files(audio, seen, split="all")


def test_a_test_set_alone_is_scored_without_the_baseline(image: TrainedModel, starter_set: Starter) -> None:
    whole = starter_set(image.domain)
    none = np.zeros(0, np.int64)
    alone = DataSet(whole.examples, {**whole.splits, "train": none, "validation": none}, "", "", ReadReport())
    scores, expected = evaluate(image, alone), evaluate(image, whole)
    assert "pca_mse" not in scores
    assert scores["mse"] == pytest.approx(expected["mse"])


def test_settings_that_do_not_fit_the_model_are_refused(image: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="changes the shape of the model's tensors"):
        evaluate_files(image, [], settings={"size": 16})
    with pytest.raises(MusicaeError, match=r"unknown image setting 'sise'. Did you mean 'size'"):
        evaluate_files(image, [], settings={"sise": 16})


def test_data_that_is_gone_is_named(audio: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(MusicaeError, match=r"no such file or folder: .*gone"):
        evaluate_files(audio, [tmp_path / "gone"])


# What scores without a model, and how sure the scores are


def test_holding_and_copying_are_scored_as_a_model_that_does_so_would_be(starter_set: Starter) -> None:
    domain = common()
    dataset = starter_set(domain)
    target = np.array(dataset.examples[unseen(domain, dataset, "test")], np.int64)
    scores = evaluate(copying(domain), dataset)
    assert scores["accuracy_hold"] == pytest.approx((target == 0).mean())
    assert scores["onset_f1_hold"] == 0.0
    copied = torch.from_numpy(bar_before(np.zeros(1, int), target, 16))
    expected = domain.metrics(copied, torch.from_numpy(target), copied)
    assert scores["accuracy_copy"] == pytest.approx(float(expected["accuracy"].mean()))
    assert scores["onset_f1_copy"] == pytest.approx(float(expected["onset_f1"].mean()), rel=1e-5)
    assert 0.05 < scores["onset_f1_copy"] < scores["accuracy_copy"] < 1


def test_the_symbol_that_is_held_is_the_most_frequent_in_training(starter_set: Starter) -> None:
    domain = common()
    whole = starter_set(domain)
    examples = np.array(whole.examples)
    examples[whole.splits["train"]] = 40
    examples[whole.splits["validation"]] = 40
    scores = evaluate(copying(domain), DataSet(examples, whole.splits, "", "", ReadReport()))
    target = examples[whole.splits["test"]]
    assert scores["accuracy_hold"] == pytest.approx((target == 40).mean())


def test_a_bar_alone_has_no_copy_to_compare_with(starter_set: Starter) -> None:
    domain = common(bars=1)
    scores = evaluate(copying(domain), starter_set(domain))
    assert "accuracy_hold" in scores
    assert "accuracy_copy" not in scores


def test_scores_lie_in_their_intervals_and_more_examples_make_them_narrow(
    music: TrainedModel, starter_set: Starter
) -> None:
    alone = replace(starter_set(music.domain), owner=None)
    few, many = (evaluate(music, alone, limit=limit) for limit in (20, 10_000))
    assert many["examples"] > 4 * few["examples"]
    for name in ("accuracy_free_running", "onset_f1", "kl_bits", "elbo_nats"):
        for scores in (few, many):
            assert scores[f"{name}_low"] < scores[name] < scores[f"{name}_high"]
        assert many[f"{name}_high"] - many[f"{name}_low"] < few[f"{name}_high"] - few[f"{name}_low"]


def test_examples_of_one_item_are_drawn_together(music: TrainedModel, starter_set: Starter) -> None:
    whole = starter_set(music.domain)
    widths = []
    for owners in (1, 4, len(whole.examples)):
        owner = np.arange(len(whole.examples)) * owners // len(whole.examples)
        scores = evaluate(music, replace(whole, owner=owner))
        widths.append(scores["kl_bits_high"] - scores["kl_bits_low"] if "kl_bits_low" in scores else None)
    assert widths[0] is None  # one item says nothing about others
    assert widths[1] != widths[2]
    assert widths[2] is not None and widths[2] > 0


# The likelihood


@pytest.fixture
def linear(starter_set: Starter) -> tuple[ImageDomain, DataSet]:
    domain = ImageDomain(ImageConfig.model_validate({"likelihood": "gaussian", "size": 8}))
    return domain, starter_set(domain)


def evaluated_linear(
    linear: tuple[ImageDomain, DataSet], scale: float, importance: int
) -> tuple[dict[str, float], float]:
    """Scores of a linear-Gaussian model, and its exact -log p of the same examples."""
    domain, dataset = linear
    model = LinearGaussian(domain.spec, size=6, sigma=0.3, posterior_scale=scale)
    manifest = Manifest(domain=domain.name, domain_settings={}, task="reconstruct", model="linear", model_settings={})
    scores = evaluate(TrainedModel(model, domain, manifest, "cpu"), dataset, importance=importance)
    batch = domain.tensor(torch.from_numpy(dataset.examples[unseen(domain, dataset, "test")])).target
    return scores, -float(model.log_prob(batch).mean())


def test_with_the_true_posterior_one_draw_gives_the_exact_likelihood(linear: tuple[ImageDomain, DataSet]) -> None:
    scores, exact = evaluated_linear(linear, scale=1.0, importance=1)
    assert scores["nll_importance_nats"] == pytest.approx(exact, rel=1e-5)
    assert scores["importance_draws"] == 1
    assert -scores["elbo_nats"] == pytest.approx(exact, abs=0.5)


def test_more_draws_bring_the_bound_down_to_the_exact_likelihood(linear: tuple[ImageDomain, DataSet]) -> None:
    bounds = []
    for draws in (1, 10, 500):
        scores, exact = evaluated_linear(linear, scale=2.0, importance=draws)
        bounds.append(scores["nll_importance_nats"] - exact)
    assert bounds[0] > 3 * bounds[1] > 0.5
    assert bounds[2] == pytest.approx(0, abs=0.05)
    assert -scores["elbo_nats"] - exact == pytest.approx(bounds[0], rel=0.3)


def test_the_likelihood_is_asked_for_and_changes_no_other_score(music: TrainedModel, starter_set: Starter) -> None:
    plain, asked = (evaluate(music, starter_set(music.domain), limit=30, importance=draws) for draws in (0, 4))
    assert set(asked) - set(plain) == with_ends("nll_importance_nats") | {
        "importance_draws",
        "nll_importance_bits_per_number",
    }
    assert plain == {name: asked[name] for name in plain}
    assert asked["nll_importance_nats"] < -plain["elbo_nats"]


def test_a_plain_autoencoder_has_no_likelihood(plain: TrainedModel, starter_set: Starter) -> None:
    with pytest.raises(MusicaeError, match="gives no likelihood"):
        evaluate(plain, starter_set(plain.domain), importance=2)


# What the model makes


def test_samples_and_paths_are_scored_where_they_are_asked_for(music: TrainedModel, starter_set: Starter) -> None:
    dataset = starter_set(music.domain)
    plain, asked = (evaluate(music, dataset, limit=30, samples=number, pairs=number) for number in (0, 4))
    assert asked["samples"] == asked["pairs"] == 4
    assert {"sample_copied", "path_jump"} <= set(asked) - set(plain)
    assert plain == {name: asked[name] for name in plain}


def test_what_a_restorer_of_music_was_given_is_scored_beside_its_answer(starter_set: Starter) -> None:
    domain = common()
    dataset = starter_set(domain)
    scores = evaluate(copying(domain, "denoise"), dataset)
    assert scores["accuracy_corrupted"] == scores["accuracy_free_running"] < 1
    assert 0.3 < scores["onset_f1_corrupted"] == scores["onset_f1"] < 0.95
    assert not [name for name in evaluate(copying(domain), dataset) if "corrupted" in name]
