"""Judges of what models make: features of digits and of notes, and the Fréchet distance in them.

No judge knows any of the models. That of digits is a small convolutional network that learns the official training
digits; that of notes, mel-frequency cepstra, learns nothing. The distance is that of two Gaussians fitted to features
(Dowson & Landau, 1982), as in the Fréchet Inception Distance (Heusel et al., 2017), but with other features, so that
the numbers cannot be compared with a FID.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 64
_EPOCHS, _BATCH, _LEARNING_RATE = 4, 256, 2e-3
_PART = 1000
_CEPSTRA = 13


class DigitClassifier(nn.Module):
    """Grey digits `(batch, 1, 28, 28)` in 0…1 → logits of the ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(64 * 7 * 7, FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.classes = nn.Linear(FEATURES, 10)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.classes(F.dropout(self.features(pictures), 0.3, self.training))

    @torch.no_grad()
    def describe(self, pictures: Tensor) -> np.ndarray:
        """`(pictures, FEATURES)`."""
        return torch.cat([self.features(part) for part in pictures.split(_PART)]).double().numpy()

    @torch.no_grad()
    def classify(self, pictures: Tensor) -> Tensor:
        """int64 `(pictures,)`."""
        return torch.cat([self(part).argmax(1) for part in pictures.split(_PART)])


def train_classifier(pictures: Tensor, classes: Tensor, seed: int = 0) -> DigitClassifier:
    """Learns digits from 0…9, ready to judge.

    Args:
        pictures: `(pictures, 1, 28, 28)` in 0…1.
        classes: int64 `(pictures,)`.
        seed: of weights, dropout and order.
    """
    torch.manual_seed(seed)
    judge = DigitClassifier().train()
    steps_an_epoch = len(pictures) // _BATCH
    steps = _EPOCHS * steps_an_epoch
    optimizer = torch.optim.Adam(judge.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    for step in range(steps):
        if step % steps_an_epoch == 0:
            order = torch.randperm(len(pictures))
        rows = order[step % steps_an_epoch * _BATCH :][:_BATCH]
        loss = F.cross_entropy(judge(pictures[rows]), classes[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return judge.eval()


def cepstra(log_mel: Tensor) -> np.ndarray:
    """Features of notes: means and deviations over time of the first mel-frequency cepstra.

    Args:
        log_mel: `(examples, bands, time)`.

    Returns:
        `(examples, 26)`.
    """
    from scipy.fft import dct

    found = dct(log_mel.numpy(), axis=1, norm="ortho")[:, :_CEPSTRA]
    return np.concatenate([found.mean(2), found.std(2)], axis=1)


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|m₁ - m₂|² + tr(C₁ + C₂ - 2·(C₁·C₂)^½) of two sets of features `(examples, features)`."""
    mean = ((first.mean(0) - second.mean(0)) ** 2).sum()
    covariances = np.cov(first.T), np.cov(second.T)
    values, axes = np.linalg.eigh(covariances[0])
    root = axes * np.sqrt(values.clip(0)) @ axes.T
    # C₁·C₂ has the eigenvalues of the symmetric C₁^½·C₂·C₁^½, and the root's trace is the sum of their roots.
    crossed = np.linalg.eigvalsh(root @ covariances[1] @ root)
    return float(mean + np.trace(covariances[0] + covariances[1]) - 2 * np.sqrt(crossed.clip(0)).sum())
