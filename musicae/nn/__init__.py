"""Layers: convolutional, sequential and latent. They take plain numbers and know no config."""
