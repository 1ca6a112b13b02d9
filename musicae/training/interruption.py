"""Ctrl-C as a flag: a run reads it between steps, so that no save is cut."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_flag() -> Iterator[threading.Event]:
    """Turns Ctrl-C into a flag that the loop reads between steps, so that a save is never cut."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = signal.signal(signal.SIGINT, lambda *_: flag.set())
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
