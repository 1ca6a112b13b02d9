"""The shelf keeps what fits, and the desk computes one thing after the other."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from musicae.studio.desk import BusyError, Desk, StoppedError, TooLongError
from musicae.studio.media import file_name
from musicae.studio.shelf import NotThereError, Shelf


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs it in a thread of its own: a browser of other tests may have a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


class Thing(NamedTuple):
    name: str


def test_equal_things_have_one_name_and_others_have_others():
    shelf = Shelf()
    names = [shelf.add(Thing("a"), b"1"), shelf.add(Thing("a"), b"1"), shelf.add(Thing("a"), b"2")]
    assert names[0] == names[1] != names[2]
    assert (len(shelf), shelf.nbytes) == (2, 2)


@pytest.mark.parametrize("limits", [{"most_items": 3}, {"most_bytes": 30}])
def test_what_was_not_asked_for_longest_is_given_up(limits):
    shelf = Shelf(**limits)
    names = [shelf.add(Thing(str(number)), bytes([number] * 10)) for number in range(3)]
    assert shelf.get(names[0]) == Thing("0")
    shelf.add(Thing("3"), b"3" * 10)
    with pytest.raises(NotThereError, match="drop the file again"):
        shelf.get(names[1])
    assert shelf.get(names[0]) == Thing("0") and shelf.nbytes == 30


def test_one_after_the_other_and_no_more_than_fit():
    running, most = 0, 0
    lock = threading.Lock()

    def work(_):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return "done"

    async def ask() -> list[object]:
        desk = Desk(most_waiting=2)
        try:
            return await asyncio.gather(*(desk.run(work) for _ in range(5)), return_exceptions=True)
        finally:
            desk.close()

    answers = _run(ask())
    assert most == 1
    assert [answer for answer in answers if isinstance(answer, str)] == ["done"] * 3
    assert sum(isinstance(answer, BusyError) for answer in answers) == 2


def test_what_takes_too_long_is_stopped():
    stopped = threading.Event()

    def work(ticket):
        try:
            while True:
                ticket.check(0.5)
                time.sleep(0.01)
        except StoppedError:
            stopped.set()
            raise

    async def ask() -> None:
        desk = Desk(timeout_s=0.2)
        try:
            with pytest.raises(TooLongError, match="ask for less"):
                await desk.run(work, "job")
            assert await asyncio.to_thread(stopped.wait, 5)
            assert await desk.run(lambda _: 7) == 7  # the place is free again
        finally:
            desk.close()

    _run(ask())


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a.mid", "a.mid"),
        ("../../x/a.mid", "a.mid"),
        ("C:\\music\\a.mid", "a.mid"),
        ("a\0b\n.mid", "ab.mid"),
        ("", "file"),
    ],
)
def test_a_file_has_a_name_and_no_place(given, name):
    assert file_name(given) == name
