"""What scores are compared with: the same by scikit-learn, and by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from tiny_models import write_chords

import musicae
from musicae.data.dataset import DataSet, unseen
from musicae.domain import Domain
from musicae.evaluation.evaluate import evaluate, evaluate_files
from musicae.evaluation.probes import class_accuracy
from musicae.trained import TrainedModel

Starter = Callable[[Domain], DataSet]


def test_pca_is_scikit_learns(image: TrainedModel, starter_set: Starter) -> None:
    trained, dataset = image, starter_set(image.domain)
    pixels = dataset.examples[..., :8, :].reshape(len(dataset.examples), -1) / 255.0
    for split in ("test", "validation"):
        kept = unseen(trained.domain, dataset, split)
        pca = PCA(trained.network.latent_shape[0]).fit(pixels[dataset.splits["train"]])
        expected = np.mean((pca.inverse_transform(pca.transform(pixels[kept])) - pixels[kept]) ** 2)
        assert evaluate(trained, dataset, split=split)["pca_mse"] == pytest.approx(expected, rel=1e-4)


def test_classes_in_the_codes_are_found_as_scikit_learn_finds_them(plain: TrainedModel, starter_set: Starter) -> None:
    trained, dataset = plain, starter_set(plain.domain)
    kept = unseen(trained.domain, dataset, "test")
    learned = dataset.splits["train"]
    classes = load_digits().target
    assert len(classes) == len(dataset.examples)
    codes = trained.encode(trained.domain.tensor(torch.from_numpy(np.array(dataset.examples))).target).numpy()
    scores = evaluate(trained, dataset)
    neighbours = KNeighborsClassifier(5).fit(codes[learned], classes[learned])
    assert scores["knn_accuracy"] == pytest.approx(neighbours.score(codes[kept], classes[kept]), abs=0.011)
    assert scores["knn_accuracy"] > 0.5
    pixels = dataset.examples[..., :8, :].reshape(len(classes), -1) / 255.0
    pca = PCA(codes.shape[1]).fit(pixels[learned])
    components = StandardScaler().fit_transform(pca.transform(pixels))
    probe = LogisticRegression(max_iter=1000).fit(components[learned], classes[learned])
    found = probe.score(components[kept], classes[kept])
    assert scores["pca_probe_accuracy"] == pytest.approx(found, abs=0.03)


def test_a_restorer_stands_beside_ridge_regression(starter_set: Starter, tmp_path: Path) -> None:
    settings = {"corruption": "salt_and_pepper", "steps": 2, "widths": (8,), "evaluate_every": 2, "precision": "no"}
    trained = musicae.train("image", task="denoise", out=tmp_path / "run", log_with=(), **settings)
    dataset = starter_set(trained.domain)
    scores = evaluate(trained, dataset)
    target = trained.domain.tensor(torch.from_numpy(np.array(dataset.examples))).target
    corrupted = trained.domain.corruption("denoise")(target, torch.Generator().manual_seed(5))
    learned = dataset.splits["train"]
    kept = unseen(trained.domain, dataset, "test")
    flat, clean = corrupted.flatten(1).numpy(), target.flatten(1).numpy()
    # The same by its normal equations, with a corruption of its own.
    inputs = flat[learned] - flat[learned].mean(0)
    weights = np.linalg.solve(inputs.T @ inputs + np.eye(64), inputs.T @ (clean[learned] - clean[learned].mean(0)))
    restored = (flat[kept] - flat[learned].mean(0)) @ weights + clean[learned].mean(0)
    assert scores["ridge_mse"] == pytest.approx(np.mean((restored - clean[kept]) ** 2), rel=0.05)
    assert scores["ridge_psnr_db"] > scores["psnr_in_db"]


def test_codes_that_are_the_classes_give_them_away_and_noise_does_not():
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, 600)
    codes = np.eye(3)[classes] + 0.01 * random.normal(size=(600, 3))
    found = class_accuracy(codes[:400], classes[:400], codes[400:], classes[400:])
    assert found == {"knn_accuracy": 1.0, "probe_accuracy": 1.0}
    noise = random.normal(size=(600, 3))
    found = class_accuracy(noise[:400], classes[:400], noise[400:], classes[400:])
    assert all(value == pytest.approx(1 / 3, abs=0.12) for value in found.values())
    with pytest.raises(ValueError, match="one class alone"):
        class_accuracy(codes, np.zeros(600), codes, classes)


def test_a_class_too_rare_to_be_drawn_costs_the_probe_and_not_the_scores(monkeypatch):
    monkeypatch.setattr("musicae.evaluation.probes._MOST_PROBED", 50)
    random = np.random.default_rng(0)
    classes = np.array(["common"] * 999 + ["rare"])
    codes = random.normal(size=(1000, 2))
    found = class_accuracy(codes, classes, codes, classes)
    assert set(found) <= {"knn_accuracy", "probe_accuracy"}
    assert found["knn_accuracy"] > 0.99


def test_pictures_of_no_known_class_have_no_accuracies(plain, tmp_path):
    random = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / f"{number}.png")
    scores = evaluate_files(plain, [tmp_path])
    assert "pca_mse" in scores
    assert not any("accuracy" in name for name in scores)


def test_sound_that_is_rebuilt_has_no_picture_baselines(tmp_path):
    settings = {"widths": (4, 8), "latent_size": 8, "n_fft": 256, "sample_rate_hz": 8000, "chunk_s": 0.6}
    settings |= {"steps": 2, "evaluate_every": 2, "batch_size": 2, "precision": "no"}
    data = write_chords(tmp_path / "chords", 4)
    trained = musicae.train("audio", data=data, model="conv", out=tmp_path / "run", log_with=(), **settings)
    scores = evaluate_files(trained, [write_chords(tmp_path / "others", 2)], split="all")
    assert scores["log_mel_l1"] > scores["log_mel_l1_copy_synthesis"] > 0
    assert not any(name.startswith(("pca", "ridge", "knn")) for name in scores)
