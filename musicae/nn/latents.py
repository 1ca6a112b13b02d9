"""`LATENTS`: all latents by the names that the setting `latent` has for them."""

from musicae.nn.latent import AdversarialLatent, DeterministicLatent, GaussianLatent, Latent
from musicae.nn.quantisation import FSQLatent, VQLatent

LATENTS: dict[str, type[Latent]] = {
    "deterministic": DeterministicLatent,
    "gaussian": GaussianLatent,
    "adversarial": AdversarialLatent,
    "fsq": FSQLatent,
    "vq": VQLatent,
}
