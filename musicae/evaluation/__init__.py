"""Scores of trained models: reconstruction, likelihood bounds, samples and paths, with bootstrap intervals."""
