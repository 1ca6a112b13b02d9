"""`compile_networks`: lets torch compile the networks of a model (`torch.compile`), where it can.

Encoders and decoders are compiled, each for itself and in place: weights keep their names, and the draws, the latent
and the likelihood, which are exact, stay as they are. Nothing here knows data or the loop.
"""

import torch
from torch import nn

from musicae.errors import MusicaeError
from musicae.models.autoencoder import Autoencoder

_EXACT = ("latent", "likelihood")


def compile_networks(model: Autoencoder, device: torch.device, backend: str = "inductor") -> int:
    """Compiles the networks of a model, in place; each when it is first called.

    Args:
        model: its direct parts are compiled, but the latent, the likelihood, LSTMs (torch has one of its own) and
            single layers.
        device: where it will be called.
        backend: of `torch.compile`.

    Returns:
        How many networks are compiled.

    Raises:
        MusicaeError: torch can't compile here, as without a C++ compiler.
    """
    _refuse_where_it_fails(device, backend)
    networks = [part for name, part in model.named_children() if name not in _EXACT and _is_network(part)]
    for network in networks:
        network.compile(dynamic=False, backend=backend)
    return len(networks)


def _is_network(part: nn.Module) -> bool:
    parts = list(part.modules())
    return len(parts) > 3 and not any(isinstance(below, nn.LSTM) for below in parts)


def _refuse_where_it_fails(device: torch.device, backend: str) -> None:
    """Compiles one sum, since what is missing shows only when something is compiled."""
    try:
        torch.compile(lambda x: x + x.cos(), dynamic=False, backend=backend)(torch.zeros(8, device=device))
    except Exception as error:  # compilers, their drivers and torch itself each raise classes of their own
        reason = " ".join(str(error).split())[:200]
        raise MusicaeError(
            f"compile=true can't be used here, since torch can't compile ({reason}); install a C++ compiler such as "
            "g++ (for a GPU also triton), or leave compile out."
        ) from error
