"""Trained models as files that other programs run, without musicae and without PyTorch."""
