"""torchaudio imports beside a torch it wasn't built for."""

import subprocess
import sys
import textwrap

import pytest

# Makes the compiled part fail the way it does beside another torch, whatever is installed here.
BREAK = """
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder, ModuleSpec

class Broken(Loader):
    def create_module(self, spec): return None
    def exec_module(self, module): raise {error}

class BreakExtension(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            return ModuleSpec(name, Broken(), is_package=True)

sys.meta_path.insert(0, BreakExtension())
"""

USE = """
from musicae.audio.torchaudio_import import import_torchaudio
assert "torchaudio" not in sys.modules, "importing our module must not import torchaudio"
torchaudio = import_torchaudio()
assert import_torchaudio() is torchaudio
import torch
filters = torchaudio.functional.melscale_fbanks(257, 0.0, 8000.0, 40, 16000)
assert filters.shape == (257, 40) and filters.sum() > 0
spectrum = torchaudio.transforms.Spectrogram(n_fft=512)(torch.randn(1, 4096))
sound = torchaudio.transforms.GriffinLim(n_fft=512, n_iter=2)(spectrum)
assert sound.isfinite().all()
print("works")
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "error",
    [
        "OSError('libc10_cuda.so: cannot open shared object file')",
        "RuntimeError('Detected that PyTorch and TorchAudio were compiled with different CUDA versions.')",
    ],
)
def test_both_failures_of_the_compiled_part_are_survived(error: str) -> None:
    result = run(BREAK.format(error=error, module="torchaudio._extension") + USE)

    assert result.stdout == "works\n", result.stderr


def test_torchaudio_imports_beside_the_torch_installed_here() -> None:
    result = run("import sys\n" + USE)

    assert result.stdout == "works\n", result.stderr


def test_another_failure_is_not_hidden() -> None:
    code = """
    from musicae.audio.torchaudio_import import import_torchaudio
    try:
        import_torchaudio()
    except RuntimeError as error:
        print("raised", error)
    print([name for name in sys.modules if name.startswith("torchaudio")])
    """
    broken = BREAK.format(error="RuntimeError('something else')", module="torchaudio.functional")

    result = run(broken + textwrap.dedent(code))

    assert result.stdout == "raised something else\n[]\n", result.stderr
