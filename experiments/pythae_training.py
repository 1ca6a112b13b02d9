"""The same network trained by Pythae: what `image_training.py` compares the speed of training with.

The encoder and decoder are a musicae model's own layers, wrapped as Pythae's documentation asks for, so weights
and shapes are equal; trainer, optimiser, data loading and loss are Pythae's. Its `amp` is left off: it is written for
CUDA alone, and for the loss "bce" the trainer turns it off itself.
"""

import contextlib
import io
from pathlib import Path

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor

from musicae.models.grid import GridAutoencoder


class Encoder(BaseEncoder):
    """A musicae model's encoder and latent, as Pythae calls them."""

    def __init__(self, network: GridAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> ModelOutput:
        posterior = self.network.encode(x)
        return ModelOutput(embedding=posterior.mean, log_covariance=posterior.log_variance)


class Decoder(BaseDecoder):
    """A musicae model's decoder, as Pythae calls it: probabilities, not logits."""

    def __init__(self, network: GridAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network.parameters_of(z).sigmoid())


def wrapped(network: GridAutoencoder) -> VAE:
    """Pythae's VAE around the network; both hold the same weights."""
    latent = network.config.latent_size
    config = VAEConfig(input_dim=tuple(network.spec.shape), latent_dim=latent, reconstruction_loss="bce")
    return VAE(config, encoder=Encoder(network), decoder=Decoder(network))


def trainer(
    network: GridAutoencoder, pictures: Tensor, *, batch_size: int, learning_rate: float, workers: int, folder: Path
) -> BaseTrainer:
    """Pythae's trainer, ready for its first epoch: `train_step` trains for one.

    Args:
        network: trained in place.
        pictures: float32 `(pictures, *spec.shape)`, in memory.
        batch_size, learning_rate: of Adam, Pythae's default.
        workers: processes that load; 0, Pythae's default, loads in the training one.
        folder: Pythae makes its own in it.
    """
    config = BaseTrainerConfig(
        output_dir=str(folder),
        per_device_train_batch_size=batch_size,
        learning_rate=learning_rate,
        train_dataloader_num_workers=workers,
    )
    made = BaseTrainer(wrapped(network), BaseDataset(pictures, torch.ones(len(pictures))), training_config=config)
    made.prepare_training()
    return made


def train_epoch(made: BaseTrainer, epoch: int) -> None:
    """One epoch, its progress bar unseen."""
    with contextlib.redirect_stderr(io.StringIO()):
        made.train_step(epoch)
