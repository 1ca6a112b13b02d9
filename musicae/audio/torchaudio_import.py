"""The one place that imports torchaudio, and survives a torchaudio that doesn't fit its torch.

torchaudio's wheel carries a compiled part built for one version of torch and CUDA. Beside a CPU build of
torch its import fails with OSError ("libc10_cuda.so"), beside another CUDA with RuntimeError ("compiled
with different CUDA versions"). What musicae takes from it (mel filters, Griffin-Lim) is plain Python, so the
compiled part is left out and the import made again. Not available then: `forced_align`, `rnnt_loss`, the CTC
decoder; `lfilter` falls back to a slow loop. Reading and writing files with torchaudio is not offered at all:
that is `musicae.audio.formats`.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


def import_torchaudio() -> ModuleType:
    """Imports torchaudio, without its compiled part where that doesn't load.

    Nothing is imported before this is called; later calls return the same module.

    Raises:
        ModuleNotFoundError: torchaudio is not installed.
    """
    try:
        return importlib.import_module("torchaudio")
    except (OSError, RuntimeError):
        _forget_half_imported()
    extension = _empty_extension()
    sys.modules[extension.__name__] = extension
    try:
        return importlib.import_module("torchaudio")
    except BaseException:
        # A second failure has another cause; the stand-in must not hide it from the next import.
        _forget_half_imported()
        raise


def _forget_half_imported() -> None:
    """Drops every torchaudio module, so that the next import starts from nothing."""
    for name in [name for name in sys.modules if name == "torchaudio" or name.startswith("torchaudio.")]:
        del sys.modules[name]


def _empty_extension() -> ModuleType:
    """A `torchaudio._extension` that says the compiled part is not there."""
    extension = ModuleType("torchaudio._extension")
    stand_in: dict[str, Any] = {
        "_IS_TORCHAUDIO_EXT_AVAILABLE": False,
        "_IS_ALIGN_AVAILABLE": False,
        "fail_if_no_align": lambda function: function,
        "_check_cuda_version": lambda: None,
    }
    vars(extension).update(stand_in)
    return extension
