"""Judges of what models make: features of pictures and of notes, and the Fréchet distance in them.

No judge knows any of the models. That of pictures is a small convolutional network that learns the training pictures'
classes; that of notes, mel-frequency cepstra, learns nothing. The distance is that of two Gaussians fitted to features
(Dowson & Landau, 1982), as in the Fréchet Inception Distance (Heusel et al., 2017), but with other features, so that
the numbers cannot be compared with a FID.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 64
_LEARNING_RATE = 2e-3
_COARSEST = 8
"""Side to which pictures are halved."""
_PART = 1000
_CEPSTRA = 13


class Classifier(nn.Module):
    """Square pictures `(batch, channels, side, side)` in 0…1 → logits of the classes.

    Args:
        channels, side: of the pictures.
        classes: how many there are.
        is_pooled: whether it is all the same where something is, as in a satellite's photograph.
    """

    def __init__(self, channels: int = 1, side: int = 28, classes: int = 10, *, is_pooled: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width, kernel = 32, 5
        while side > _COARSEST:
            layers.append(nn.Conv2d(channels, width, kernel, stride=2, padding=kernel // 2, bias=not is_pooled))
            layers += [nn.BatchNorm2d(width), nn.ReLU()] if is_pooled else [nn.ReLU()]
            channels, width, kernel, side = width, 2 * width, 3, -(-side // 2)
        if is_pooled:
            layers.append(nn.AdaptiveAvgPool2d(1))
        numbers = channels * (1 if is_pooled else side**2)
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(numbers, FEATURES), nn.ReLU())
        self.classes = nn.Linear(FEATURES, classes)

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


def train_classifier(
    pictures: Tensor, classes: Tensor, *, epochs: int = 4, batch: int = 256, is_turned: bool = False, seed: int = 0
) -> Classifier:
    """Learns classes from 0 on, ready to judge.

    Args:
        pictures: `(pictures, channels, side, side)` in 0…1.
        classes: int64 `(pictures,)`.
        epochs, batch: how often each is shown, and how many at a time.
        is_turned: whether they are mirrored and turned, each batch alike, and features pooled over all places.
        seed: of weights, dropout and order.
    """
    torch.manual_seed(seed)
    judge = Classifier(*pictures.shape[1:3], int(classes.max()) + 1, is_pooled=is_turned).train()
    steps_an_epoch = len(pictures) // batch
    steps = epochs * steps_an_epoch
    optimizer = torch.optim.Adam(judge.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    for step in range(steps):
        if step % steps_an_epoch == 0:
            order = torch.randperm(len(pictures))
        rows = order[step % steps_an_epoch * batch :][:batch]
        shown = pictures[rows]
        if is_turned:
            quarters, mirrored = torch.randint(4, ()), torch.rand(()) < 0.5
            shown = torch.rot90(shown.flip(-1) if mirrored else shown, int(quarters), (-2, -1))
        loss = F.cross_entropy(judge(shown), classes[rows])
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
