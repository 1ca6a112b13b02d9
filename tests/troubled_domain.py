"""A domain for tests whose files' names say what goes wrong while they are read."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from musicae.domain import Reading
from musicae.music.domain import MusicDomain


class TroubledMusic(MusicDomain):
    """Melodies; files whose names end in -hang, -hungry, -crash and -wrong are trouble."""

    def read(self, path: Path) -> Reading:
        trouble = path.stem.rpartition("-")[2]
        if trouble == "hang":
            time.sleep(1000)
        if trouble == "hungry":
            np.empty(3 * 2**30, np.uint8)  # untouched, so it is granted where there is no guard
        if trouble == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "wrong":
            raise ZeroDivisionError(path.name)
        return super().read(path)
