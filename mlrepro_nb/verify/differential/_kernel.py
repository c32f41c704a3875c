"""Holds one kind of chance still in a kernel; runs inside it, before its first cell.

The text of this file becomes part of the kernel's configuration, so that it works in any
interpreter: it imports nothing of the package. What the kernel's own machinery asks for
stays real, or the kernel would come out of step with whoever talks to it.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

_MACHINERY = frozenset(
    {"ipykernel", "IPython", "jupyter_client", "tornado", "asyncio", "zmq", "traitlets", "logging",
     "mlrepro_nb", "threading", "selectors", "queue", "concurrent", "subprocess", "history",
     "debugpy", "pydevd", "_pydevd_bundle", "comm", "msgspec", "psutil"}
)  # fmt: skip
_BETWEEN = frozenset({"uuid", "secrets", "random", "os", "datetime", "time", __name__})


def hold(told: dict[str, Any]) -> None:
    """Hold still what is told, by name: ``seeds entropy clock listing one-thread``."""
    for name, act in (
        ("seeds", _seeds), ("entropy", _entropy), ("clock", _clock), ("listing", _listing),
        ("one-thread", _one_thread),
    ):  # fmt: skip
        if name in told:
            act(told[name])


def _by_machinery() -> bool:
    here: Any = sys._getframe(2)  # noqa: SLF001 - who asks
    while here is not None:
        if here.f_code.co_filename != __file_of_this:
            root = str(here.f_globals.get("__name__", "")).partition(".")[0]
            if root not in _BETWEEN:
                return root in _MACHINERY
        here = here.f_back
    return True


__file_of_this = sys._getframe(0).f_code.co_filename  # noqa: SLF001


def _imported(name: str, act: Callable[[Any], None]) -> None:
    """Act on a module, now or once it has been imported."""
    if name in sys.modules:
        act(sys.modules[name])
        return
    import importlib.abc
    import importlib.util

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname: str, *_: Any) -> Any:
            if fullname != name or self not in sys.meta_path:
                return None
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(fullname)
            if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
                return spec
            run = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                act(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
            return spec

    sys.meta_path.insert(0, Finder())


# --- generators


def _seeds(seed: int) -> None:
    import random

    count = [seed]
    original = random.Random.seed

    def seeded(self: Any, a: Any = None, version: int = 2) -> Any:
        if a is None and type(self) is not random.SystemRandom:
            count[0] += 1
            a = count[0]
        return original(self, a, version)

    random.Random.seed = seeded  # type: ignore[method-assign]
    random.seed = random._inst.seed  # noqa: SLF001
    random.seed(seed)

    def numpy(module: Any) -> None:
        bits: Any = sys.modules.get("numpy.random.bit_generator")
        if bits is not None and hasattr(bits, "randbits"):
            number = [seed]

            def randbits(size: int) -> int:
                number[0] += 1
                return number[0] & ((1 << size) - 1)

            bits.randbits = randbits
        module.seed(seed % 2**32)

    _imported("numpy.random", numpy)
    _imported("torch", lambda module: module.manual_seed(seed))
    _imported("tensorflow", lambda module: module.random.set_seed(seed))


def _entropy(seed: int) -> None:
    import hashlib
    import os
    import random
    import uuid

    count = [0]
    system, real_uuid1 = os.urandom, uuid.uuid1

    def stream(size: int) -> bytes:
        if size < 0:
            raise ValueError("negative argument not allowed")
        count[0] += 1
        return hashlib.shake_256(b"%d %d" % (seed, count[0])).digest(size)

    def urandom(size: int, /) -> bytes:
        return system(size) if _by_machinery() else stream(size)

    def uuid1(node: Any = None, clock_seq: Any = None) -> uuid.UUID:
        if _by_machinery():
            return real_uuid1(node, clock_seq)
        return uuid.UUID(bytes=stream(16), version=1)

    def numpy(_: Any) -> None:
        bits: Any = sys.modules.get("numpy.random.bit_generator")
        # Its generators' seeds are not entropy that a notebook asked for.
        if bits is not None and getattr(bits.randbits, "__name__", "") == "randbits" and (
            getattr(bits.randbits, "__module__", "") == "secrets" or hasattr(
                bits.randbits, "__self__")):  # fmt: skip
            bits.randbits = lambda size: (
                int.from_bytes(system((size + 7) // 8), "big") >> (-size % 8)
            )

    os.urandom = urandom
    if hasattr(random, "_urandom"):
        random._urandom = urandom  # noqa: SLF001
    uuid.uuid1 = uuid1
    if hasattr(os, "getrandom"):
        os.getrandom = lambda size, flags=0: urandom(size)
    _imported("numpy.random", numpy)


# --- the clock


def _clock(told: dict[str, Any]) -> None:
    import time

    moments = sorted((int(n), float(at)) for n, at in told["moments"].items())
    names = ("time", "time_ns", "sleep", "localtime", "gmtime", "strftime", "ctime", "asctime")
    real = {name: getattr(time, name) for name in names}
    state = {"cell": -1, "base": float(told["at"]), "passed": 0.0, "last": 0.0}

    def cell() -> int:
        shell = sys.modules.get("IPython")
        kernel = shell.get_ipython() if shell is not None else None
        return int(getattr(kernel, "execution_count", 0) or 0)

    def now() -> float:
        here = cell()
        if here != state["cell"]:
            base = [at for number, at in moments if number <= here]
            state.update(cell=here, base=base[-1] if base else float(told["at"]), passed=0.0)
        # It moves on a little: what waits for it to pass must not wait for ever.
        state["passed"] += 1e-6
        state["last"] = max(state["base"] + state["passed"], state["last"] + 1e-6)
        return state["last"]

    def held(name: str, frozen: Callable[..., Any]) -> None:
        original = real[name]

        @functools.wraps(original)
        def wrapped(*arguments: Any) -> Any:
            return original(*arguments) if _by_machinery() else frozen(*arguments)

        setattr(time, name, wrapped)

    def sleep(seconds: float) -> None:
        real["sleep"](seconds)
        state["passed"] += seconds

    local, gm, text = real["localtime"], real["gmtime"], real["strftime"]
    held("time", now)
    held("time_ns", lambda: int(now() * 1e6) * 1000)
    held("sleep", sleep)
    held("localtime", lambda at=None: local(now() if at is None else at))
    held("gmtime", lambda at=None: gm(now() if at is None else at))
    held("strftime", lambda form, at=None: text(form, local(now()) if at is None else at))
    held("ctime", lambda at=None: real["ctime"](now() if at is None else at))
    held("asctime", lambda at=None: real["asctime"](local(now()) if at is None else at))

    def moment() -> float:
        return real["time"]() if _by_machinery() else now()

    _dates(moment)


def _dates(moment: Callable[[], float]) -> None:
    """Have `datetime`'s and pandas' classes take the time from a function.

    The classes stay what they are: extension modules derive from them, and check them.
    """
    import ctypes
    import datetime as dt
    import gc

    def current(cls: Any, tz: Any = None) -> Any:
        return cls.fromtimestamp(moment(), tz)

    def utcnow(cls: Any) -> Any:
        return cls.fromtimestamp(moment(), dt.timezone.utc).replace(tzinfo=None)

    def today(cls: Any) -> Any:
        return cls.fromtimestamp(moment())

    def put(kind: type, **methods: Any) -> None:
        # A built-in class can be changed in its dictionary alone.
        held = gc.get_referents(kind.__dict__)[0]
        for name, method in methods.items():
            held[name] = classmethod(method)
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))

    put(dt.date, today=today)
    put(dt.datetime, now=current, utcnow=utcnow, today=today)

    def pandas(module: Any) -> None:
        stamp = module.Timestamp
        utc = dt.timezone.utc

        def at(_: Any, tz: Any = None) -> Any:
            plain = dt.datetime.fromtimestamp(moment(), utc if tz is not None else None)
            return stamp(plain).tz_convert(tz) if tz is not None else stamp(plain)

        stamp.now = stamp.today = classmethod(at)
        stamp.utcnow = classmethod(lambda _: stamp(dt.datetime.fromtimestamp(moment(), utc)))

    _imported("pandas", pandas)


# --- the file system and threads


def _listing(order: str) -> None:
    import os
    import pathlib

    listdir, scandir = os.listdir, os.scandir
    backwards = order == "reversed"

    def sorted_names(path: Any = ".") -> Any:
        return sorted(listdir(path), reverse=backwards)

    class Scan:
        """What `os.scandir` returns, in order."""

        def __init__(self, path: Any) -> None:
            with scandir(path) as entries:
                self._entries = iter(sorted(entries, key=lambda e: e.name, reverse=backwards))

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            return next(self._entries)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def close(self) -> None:
            self._entries = iter(())

    os.listdir = sorted_names
    os.scandir = lambda path=".": Scan(path)  # type: ignore[assignment]
    # Python 3.10 keeps its own references.
    accessor = getattr(pathlib, "_NormalAccessor", None)
    if accessor is not None:
        accessor.listdir = staticmethod(os.listdir)
        accessor.scandir = staticmethod(os.scandir)


def _one_thread(_: Any) -> None:
    def torch(module: Any) -> None:
        module.set_num_threads(1)

    def executors(module: Any) -> None:
        for name in ("ThreadPoolExecutor", "ProcessPoolExecutor"):
            single(getattr(module, name, None), "max_workers")

    def pools(module: Any) -> None:
        single(module.Pool, "processes")

    def single(kind: Any, name: str) -> None:
        if kind is None:
            return
        make = kind.__init__

        @functools.wraps(make)
        def made(self: Any, *arguments: Any, **named: Any) -> None:
            named.pop(name, None)
            make(self, 1, *arguments[1:], **named)

        kind.__init__ = made

    _imported("torch", torch)
    _imported("concurrent.futures.thread", executors)
    _imported("concurrent.futures.process", executors)
    _imported("multiprocessing.pool", pools)
