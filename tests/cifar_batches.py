"""Batches in the binary form of CIFAR-10, built byte by byte as its authors describe it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def noise(count: int, seed: int = 0) -> np.ndarray:
    """uint8 `(count, 32, 32, 3)`: height, width, colour."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def batch_bytes(pictures: np.ndarray, labels: Sequence[int]) -> bytes:
    """One byte of class, then the red, the green and the blue plane, each row by row."""
    content = b""
    for picture, label in zip(pictures, labels, strict=True):
        content += bytes([label])
        for colour in range(3):
            for row in picture:
                content += bytes(int(pixel[colour]) for pixel in row)
    return content


def write_set(folder: Path, training: int = 4, test: int = 3) -> Path:
    """All six batches and the names, which end in an empty line as the true ones do."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, 6):
        labels = [(number + place) % 10 for place in range(training)]
        (folder / f"data_batch_{number}.bin").write_bytes(batch_bytes(noise(training, number), labels))
    (folder / "test_batch.bin").write_bytes(batch_bytes(noise(test), [9, 0, 3][:test]))
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return folder
