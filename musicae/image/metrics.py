"""How alike pictures are: mean squared error, PSNR and SSIM (Wang et al., *Image quality assessment*, 2004)."""

from typing import cast

import torch

# Pictures that are the same to the last bit have no error; 100 dB stands for it.
_LEAST_MSE = 1e-10


def similarity(estimate: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scores each picture of a batch, of the values as they are, not cut to 0…1.

    Args:
        estimate: `(batch, channels, height, width)`.
        target: the same shape, in 0…1.

    Returns:
        `mse`, `psnr_db` (100 where equal) and `ssim`, each `(batch,)`.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    mse = (estimate - target).square().flatten(1).mean(1)
    # The window of 11 pixels that is customary (σ = 1.5) does not fit into the smallest pictures.
    sigma = min(1.5, min(target.shape[-2:]) * 3 / 16)
    ssim = structural_similarity_index_measure(estimate, target, sigma=sigma, data_range=1.0, reduction="none")
    return {"mse": mse, "psnr_db": -10 * mse.clamp_min(_LEAST_MSE).log10(), "ssim": cast(torch.Tensor, ssim)}
