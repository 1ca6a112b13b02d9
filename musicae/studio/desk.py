"""`Desk`: one computation after the other, a short queue before it, and a limit of time.

What comes when the queue is full is refused at once. A computation is asked to stop when nobody waits for it any more;
it stops at the next layer of a network, or at its next `Ticket.check`.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

from musicae.errors import MusicaeError

MOST_WAITING = 8
TIMEOUT_S = 300.0


class BusyError(MusicaeError):
    """The queue is full."""


class StoppedError(MusicaeError):
    """Nobody waits for the result any more."""


class TooLongError(MusicaeError):
    """A computation took longer than it may."""


class Ticket:
    """What a computation knows of whoever waits for it.

    Attributes:
        progress: share that is done, 0 to 1.
    """

    def __init__(self) -> None:
        self.progress = 0.0
        self._stopped = Event()

    def stop(self) -> None:
        """Asks the computation to stop."""
        self._stopped.set()

    def check(self, progress: float | None = None) -> None:
        """Says how far a computation is. Raises `StoppedError` where it is to stop."""
        if self._stopped.is_set():
            raise StoppedError("stopped.")
        if progress is not None:
            self.progress = progress


class Desk:
    """Runs computations in a thread, one at a time.

    Args:
        most_waiting: how many may wait for the one that runs.
        timeout_s: how long one may take, its waiting included.
    """

    def __init__(self, most_waiting: int = MOST_WAITING, timeout_s: float = TIMEOUT_S) -> None:
        self.most_waiting, self.timeout_s = most_waiting, timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="studio")
        self._named: dict[str, Ticket] = {}
        self._tickets: set[Ticket] = set()

    async def run(self, compute: Callable[[Ticket], Any], name: str | None = None) -> Any:
        """Computes something.

        Args:
            compute: gets a ticket, and gives the result.
            name: under which its progress can be asked for, and it can be stopped.

        Raises:
            BusyError: too many are waiting.
            TooLongError: it took too long.
        """
        if len(self._tickets) > self.most_waiting:
            raise BusyError("the studio is busy; try again in a moment.")
        ticket = Ticket()
        self._tickets.add(ticket)
        if name is not None:
            self._named[name] = ticket
        future = self._thread.submit(_run, compute, ticket)
        # A thread can't be ended: one that nobody waits for keeps its place until it has noticed.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._left, name, ticket))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.timeout_s)
        except TimeoutError:
            raise TooLongError(
                f"this took longer than {self.timeout_s:.0f} s and was stopped; ask for less, or use the command line."
            ) from None
        finally:
            ticket.stop()

    def _left(self, name: str | None, ticket: Ticket) -> None:
        self._tickets.discard(ticket)
        if name is not None and self._named.get(name) is ticket:
            del self._named[name]

    def ticket(self, name: str) -> Ticket | None:
        """The ticket of a computation that waits or runs; None where there is none of that name."""
        return self._named.get(name)

    def close(self) -> None:
        """Stops what runs, and lets nothing more begin."""
        for ticket in list(self._tickets):
            ticket.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)


def _run(compute: Callable[[Ticket], Any], ticket: Ticket) -> Any:
    ticket.check()
    with stopped_at_layers(ticket):
        return compute(ticket)


@contextmanager
def stopped_at_layers(ticket: Ticket) -> Iterator[None]:
    """Inside, every layer of a network asks first whether the computation is to stop."""
    from torch.nn.modules.module import register_module_forward_pre_hook

    hook = register_module_forward_pre_hook(lambda layer, arguments: ticket.check())
    try:
        yield
    finally:
        hook.remove()
