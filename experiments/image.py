"""Pictures: every kind of autoencoder beside what usually beats it; results as JSON and tables.

    python experiments/image.py --sets FOLDER --runs FOLDER

`--sets` is a folder with the unpacked data sets (mnist, eurosat64, kodak24), `--runs` one with the runs of
`figures.py` whose names are below. Nothing is trained here but the judge of what is drawn. All scores are of data
that the models never saw.
"""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from digit_judge import Judge, frechet_distance, train_judge
from photographs import enlarge
from torch import Tensor

from musicae.data.dataset import DataSet, load_dataset, unseen
from musicae.evaluation.evaluate import evaluate_files
from musicae.evaluation.linear import fitted_pca, fitted_ridge, pca_restored, ridge_restored, tensors
from musicae.trained import TrainedModel, load

RESULTS = Path(__file__).parent / "image.json"
FIGURES = Path(__file__).parent / "figures.json"
DRAWS = 5000
AUTOENCODERS = {2: 0.55, 8: 0.28, 32: 0.20, 128: 0.20}  # numbers in the code → share of PCA's error to be reached
RESTORERS = {"mnist-denoise": 20.0, "mnist-upscale-2": 28.5, "mnist-upscale-4": 22.0}  # dB to be reached


@click.command(help=__doc__)
@click.option("--sets", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--runs", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of trained runs.")
@click.option("--table", "table_only", is_flag=True, help="Only print what the last run measured.")
def main(sets: Path, runs: Path, table_only: bool) -> None:
    if not table_only:
        results = measure(sets, runs)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    click.echo(tables(json.loads(RESULTS.read_text())))


def measure(sets: Path, runs: Path) -> dict[str, Any]:
    """All measurements, named as in the tables."""
    digits = sets / "mnist"

    def model(name: str) -> TrainedModel:
        return load(runs / name, "cpu")

    results: dict[str, Any] = {}
    for name in RESTORERS:
        results[name] = evaluate_files(model(name), [digits])
    # With 500 draws a digit it takes a quarter of an hour; figures.py has done it.
    results["mnist-vae-40"] = json.loads(FIGURES.read_text())["mnist-vae-40"]
    files = sorted((sets / "kodak24").glob("*.png"))
    for scale in (2, 3, 4):
        results[f"photographs-{scale}"] = enlarge(model(f"satellite-upscale-{scale}"), files)
    for numbers in AUTOENCODERS:
        results[f"mnist-ae-{numbers}"] = evaluate_files(model(f"mnist-ae-{numbers}"), [digits])
    results["drawn"] = drawn({name: model(name) for name in DRAWN}, digits)
    results["elsewhere"] = elsewhere({name: model(name) for name in ELSEWHERE}, digits, sets / "eurosat64")
    return results


# What models draw

DRAWN = ("mnist-vae-40", "mnist-aae-8", "mnist-conditional", "mnist-ae-8", "mnist-ae-32")


def drawn(models: dict[str, TrainedModel], digits: Path) -> dict[str, float]:
    """Fréchet distances of draws to the test digits, and how often the judge agrees with the label asked for."""
    told = models["mnist-conditional"]
    dataset = load_dataset(told.domain, [digits])
    train, test = (labelled(told, dataset, dataset.splits[split]) for split in ("train", "test"))
    judge = train_judge(*train)
    wanted = judge.describe(test[0])

    def distance(pictures: Tensor) -> float:
        return frechet_distance(judge.describe(pictures), wanted)

    found = {
        "judge_accuracy": float((judge.classify(test[0]) == test[1]).float().mean()),
        "training digits": distance(train[0][:DRAWS]),
    }
    for name, model in models.items():
        if name == "mnist-conditional":
            pictures, found["label_agreement"] = asked(model, judge)
            found[name] = distance(pictures)
        elif model.model.latent.is_generative:
            found[name] = distance(many(model, DRAWS, seed=0))
        else:
            codes = model.encode(train[0]).double()
            generator = torch.Generator().manual_seed(0)
            noise = torch.randn(DRAWS, codes.shape[1], generator=generator, dtype=torch.double)
            fitted = codes.mean(0) + noise @ torch.linalg.cholesky(torch.cov(codes.T)).T
            found[f"{name}, N(0, I)"] = distance(model.decode(noise.float()))
            found[f"{name}, fitted Gaussian"] = distance(model.decode(fitted.float()))
    return found


def asked(model: TrainedModel, judge: Judge) -> tuple[Tensor, float]:
    """As many draws of each class, and the share that the judge takes for it."""
    each = [many(model, DRAWS // 10, seed=digit, label=str(digit)) for digit in range(10)]
    agreed = [(judge.classify(pictures) == digit).float().mean() for digit, pictures in enumerate(each)]
    return torch.cat(each), float(torch.stack(agreed).mean())


def many(model: TrainedModel, count: int, seed: int, label: str | None = None) -> Tensor:
    """Draws from the prior, some at a time."""
    parts = range(0, count, 500)
    return torch.cat([batch(model.sample(500, seed=1000 * seed + start, label=label)) for start in parts])


def labelled(model: TrainedModel, dataset: DataSet, indices: np.ndarray) -> tuple[Tensor, Tensor]:
    """Grey pictures, and their digits."""
    names = model.domain.labels(torch.from_numpy(np.array(dataset.examples[indices])))["label"]
    return tensors(model.domain, dataset, indices), torch.tensor([int(name) for name in names])


def batch(found: Any) -> Tensor:
    """What was drawn without a file to write."""
    assert isinstance(found, Tensor)
    return found


# Where models never learned

ELSEWHERE = ("mnist-ae-32", "mnist-denoise", "mnist-upscale-2")


def elsewhere(models: dict[str, TrainedModel], digits: Path, photographs: Path) -> dict[str, dict[str, float]]:
    """Models and baselines that learned digits, on digits and on satellite photographs, grey and of a digit's size."""
    found = {}
    for name, model in models.items():
        domain, task = model.domain, model.manifest.task
        learned = load_dataset(domain, [digits])
        train = learned.splits["train"]
        pca = fitted_pca(domain, learned, train, model.model.latent_shape[0]) if task == "reconstruct" else None
        ridge = None if pca is not None else fitted_ridge(domain, learned, train, task, seed=1)
        row = {}
        for place, data, split in (("digits", digits, "test"), ("satellite", photographs, "train")):
            dataset = load_dataset(domain, [data])
            kept = unseen(domain, dataset, "test") if split == "test" else dataset.splits[split]
            target = tensors(domain, dataset, kept)
            if pca is not None:
                ours, theirs = (
                    float((answer - target).square().mean())
                    for answer in (batch(model.reconstruct(target)), pca_restored(pca, target))
                )
                row |= {f"{place}_mse": ours, f"{place}_pca_mse": theirs}
                row[f"{place}_gain_db"] = 10 * float(np.log10(theirs / ours))
                continue
            damage = domain.corruption(task, split="test")
            assert damage is not None and ridge is not None
            damaged = damage(target, torch.Generator().manual_seed(0))
            restore = model.denoise if task == "denoise" else model.upscale
            answers = {"": batch(restore(damaged)), "ridge_": ridge_restored(ridge, damaged), "in_": damaged}
            for side, answer in answers.items():
                row[f"{place}_{side}psnr_db"] = float(domain.metrics(answer, target, target)["psnr_db"].mean())
            strongest = max(row[f"{place}_ridge_psnr_db"], row[f"{place}_in_psnr_db"])
            row[f"{place}_gain_db"] = row[f"{place}_psnr_db"] - strongest
        found[name] = row
    return found


# Tables


def tables(results: dict[str, Any]) -> str:
    """The results as they stand in README.md."""
    lines = ["| digits | baseline | here | to be reached |", "|---|---|---|---|"]
    for numbers, share in AUTOENCODERS.items():
        row = results[f"mnist-ae-{numbers}"]
        error = row.get("mse_mean", row["mse"])
        reached = f"{error:.4f}, {error / row['pca_mse']:.3f} of it"
        lines.append(f"| {numbers} numbers, MSE | PCA {row['pca_mse']:.4f} | {reached} | {share:.2f} of it |")
    row = results["mnist-ae-2"]
    lines.append(
        f"| 2 numbers, class of the nearest codes | PCA {row['pca_knn_accuracy']:.3f} | {row['knn_accuracy']:.3f} "
        f"| {row['pca_knn_accuracy'] + 0.35:.3f} |"
    )
    for name, wanted in RESTORERS.items():
        row = results[name]
        given = "noisy" if "denoise" in name else "bicubic"
        lines.append(
            f"| `{name}` | {given} {row['psnr_in_db']:.1f} dB, ridge {row['ridge_psnr_db']:.1f} dB | "
            f"{row['psnr_db']:.1f} dB | {wanted} dB |"
        )
    row, found = results["mnist-vae-40"], results["drawn"]
    lines.append(
        f"| `mnist-vae-40`, NLL with k = {row['importance_draws']} | negative ELBO {-row['elbo_nats']:.1f} nats | "
        f"{row['nll_importance_nats']:.2f} nats | 83.5 nats |"
    )
    lines.append(
        f"| `mnist-conditional`, drawn as asked | the judge on test digits {found['judge_accuracy']:.3f} | "
        f"{found['label_agreement']:.3f} | 0.95 |"
    )
    lines += ["", "| drawn | Fréchet distance to test digits |", "|---|---|"]
    lines += [f"| {name} | {found[name]:.1f} |" for name in found if name not in ("judge_accuracy", "label_agreement")]
    lines += ["", "| learned digits | beats on digits | by | on satellite photographs by |", "|---|---|---|---|"]
    for name, row in results["elsewhere"].items():
        baseline = "PCA" if "digits_mse" in row else "the better of ridge and input"
        gains = " | ".join(f"{row[f'{place}_gain_db']:+.1f} dB" for place in ("digits", "satellite"))
        lines.append(f"| `{name}` | {baseline} | {gains} |")
    lines += [
        "",
        "| scale | bicubic | model | gain | smallest gain | above on | SSIM |",
        "|---|---|---|---|---|---|---|",
    ]
    for scale in (2, 3, 4):
        row = results[f"photographs-{scale}"]
        lines.append(
            f"| ×{scale} | {row['bicubic_psnr_db']:.2f} dB | {row['psnr_db']:.2f} dB | {row['gain_db']:.2f} dB | "
            f"{row['least_gain_db']:.2f} dB | {row['above']} of {row['pictures']} | "
            f"{row['bicubic_ssim']:.3f} → {row['ssim']:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
