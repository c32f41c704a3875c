"""Jobs are done in order, none is lost, and no thread waits where there are none."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

import pytest

from mlrepro_nb.capture import worker
from mlrepro_nb.capture.worker import Worker


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def alive(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def test_jobs_are_done_in_order_and_the_thread_goes(name: str) -> None:
    done: list[int] = []
    one = Worker[int](name, done.extend, most=7)
    assert alive(name) == 0
    for turn in range(3):
        for job in range(100):
            one.put(100 * turn + job)
        until(lambda: len(done) == 100 * (turn + 1))  # noqa: B023 - called at once
        until(lambda: alive(name) == 0)
    assert done == list(range(300))


def test_batches_are_no_larger_than_was_said(name: str) -> None:
    sizes: list[int] = []
    going = threading.Event()

    def work(jobs: list[int]) -> None:
        going.wait(60)
        sizes.append(len(jobs))

    one = Worker[int](name, work, most=4)
    for job in range(10):
        one.put(job)
    going.set()
    until(lambda: sum(sizes) == 10)
    assert max(sizes) <= 4


def test_a_job_that_comes_as_the_thread_goes_is_done(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_LINGER", 0.0)
    done: list[int] = []
    one = Worker[int](name, done.extend)
    putters = [
        threading.Thread(target=lambda start=start: [one.put(start + i) for i in range(2000)])
        for start in (0, 2000, 4000)
    ]
    for putter in putters:
        putter.start()
    for putter in putters:
        putter.join()
    until(lambda: len(done) == 6000)
    assert sorted(done) == list(range(6000))
    until(lambda: alive(name) == 0)


def test_a_finaliser_that_runs_amid_a_put_may_put_as_well(name: str) -> None:
    done: list[str] = []
    one = Worker[str](name, done.extend)

    class Closed:
        def __del__(self) -> None:
            one.put("from a finaliser")

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            cycle = [Closed()]
            cycle.append(cycle)  # type: ignore[arg-type]
            del cycle
            one.put("from a cell")
    finally:
        gc.set_threshold(*before)
    gc.collect()
    until(lambda: len(done) == 400)


def test_where_no_thread_can_be_started_nothing_is_raised_and_the_next_job_tries_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    one = Worker[int](name, done.extend)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        one.put(1)
    assert done == []
    one.put(2)
    until(lambda: done == [1, 2])
