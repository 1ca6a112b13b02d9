"""Sound files and spectra: read as streams, cut, damaged, measured and written. It knows no models."""
