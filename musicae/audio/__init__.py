"""Sound files and spectra: read as streams, corrupted, measured, restored and written. It knows no networks."""
