"""Symbolic music: files to notes, notes to tokens and back. Pure numpy; knows no torch and no models."""
