"""Reading the state of a generator at the price of a memory copy, and putting it back.

A reader's `read` gives a token: equal tokens, equal states. Only where a token
changed is it worth a fingerprint, and only of an unseeded generator the whole
state is kept, in a form that any version can restore.

`random.getstate` and NumPy's ``bit_generator.state`` make 624 Python integers
(15 and 60 microseconds). The same words lie in memory: NumPy gives out their
address, CPython's begin behind the object's head. Both are believed only after
they were held against the public call.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import hashlib
import platform
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

_WORDS = 624
_SIZE = 4 * _WORDS + 4

Portable = dict[str, Any]
"""A state as JSON: ``{"mt19937": key, "pos": n, "gauss": x}`` or ``{"torch": bytes}``."""


class Reader(Protocol):
    """Reads one generator."""

    def read(self) -> Any:
        """Return a token of the state."""

    def glance(self) -> Any:
        """Return the token as of the last cell where it is costly to be sure of it."""

    def portable(self, token: Any) -> Portable | None:
        """Return the state as JSON, where it can be restored."""

    def restore(self, state: Portable) -> None:
        """Put a state back."""


def fingerprint(token: Any) -> str:
    """Return 32 hex digits that stand for a state."""
    return hashlib.blake2b(b"\0".join(_flat(token)), digest_size=16).hexdigest()


def looks_untouched(portable: Portable | None) -> bool:
    """Say whether a Mersenne Twister looks as it does before the first draw.

    Seeding leaves it at the end of its words; a draw moves on, and comes back
    there once in 624 draws.
    """
    return portable is not None and portable.get("pos") == _WORDS and portable["gauss"] is None


class PythonRandom:
    """A `random.Random`.

    Parameters
    ----------
    instance : random.Random
        The generator.
    """

    def __init__(self, instance: Any) -> None:
        self._instance = instance
        self._address = _address_of(instance)

    def read(self) -> Any:
        """Return a token of the state."""
        if self._address:
            return ctypes.string_at(self._address, _SIZE), self._instance.gauss_next
        return self._instance.getstate()

    glance = read

    def words(self) -> bytes | None:
        """Return the words that the next numbers are made of."""
        return ctypes.string_at(self._address, _SIZE) if self._address else None

    def portable(self, token: Any) -> Portable | None:
        """Return the state as JSON."""
        raw, gauss = token if len(token) == 2 else (token[1], token[2])
        if isinstance(raw, bytes):
            return _mt19937(raw[4:], int.from_bytes(raw[:4], sys.byteorder), gauss)
        return _mt19937(struct.pack(f"={_WORDS}I", *raw[:-1]), raw[-1], gauss)

    def restore(self, state: Portable) -> None:
        """Put a state back."""
        key = struct.unpack(f"<{_WORDS}I", base64.b64decode(state["mt19937"]))
        self._instance.setstate((3, (*key, int(state["pos"])), state.get("gauss")))


def _address_of(instance: Any) -> int:
    """Return where an instance's words lie, or 0 where that is not certain."""
    import _random

    offset = object.__basicsize__
    if platform.python_implementation() != "CPython" or _random.Random.__basicsize__ < (
        offset + _SIZE
    ):
        return 0
    try:
        _, words, _ = instance.getstate()
        expected = struct.pack(f"=i{_WORDS}I", words[-1], *words[:-1])
    except Exception:  # noqa: BLE001 - a subclass of the user's
        return 0
    address = id(instance) + offset
    return address if ctypes.string_at(address, _SIZE) == expected else 0


class NumpyLegacy:
    """A `numpy.random.RandomState`; without one, that of the module's functions."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance
        self._bits: Any = None
        self._address = 0
        self._last: tuple[bytes, float | None] | None = None

    def read(self) -> Any:
        """Return a token of the state."""
        bits = getattr(self._instance, "_bit_generator", None)
        if bits is not self._bits or bits is None:
            self._bits, self._address, self._last = bits, _words_of(bits), None
        if not self._address:
            state = self._instance.get_state(legacy=False)
            return b"\0".join(_flat(state)), None
        raw, last = ctypes.string_at(self._address, _SIZE), self._last
        # A cached Gaussian comes and goes with the words, or goes alone.
        if last is None or last[1] is not None or last[0] != raw:
            state = self._instance.get_state(legacy=False)
            self._last = raw, float(state["gauss"]) if state["has_gauss"] else None
        return self._last

    def glance(self) -> Any:
        """Return a token without asking whether a Gaussian was taken from the cache."""
        last, bits = self._last, getattr(self._instance, "_bit_generator", None)
        if last is not None and self._bits is bits and self.words() == last[0]:
            return last
        return self.read()

    def words(self) -> bytes | None:
        """Return the words that the next numbers are made of."""
        return ctypes.string_at(self._address, _SIZE) if self._address else None

    def portable(self, token: Any) -> Portable | None:
        """Return the state as JSON; None where the bits come from another generator."""
        raw, gauss = token
        if len(raw) != _SIZE:
            return None
        return _mt19937(raw[:-4], int.from_bytes(raw[-4:], sys.byteorder), gauss)

    def restore(self, state: Portable) -> None:
        """Put a state back."""
        import numpy as np

        key = np.frombuffer(base64.b64decode(state["mt19937"]), dtype="<u4").astype(np.uint32)
        gauss = state.get("gauss")
        type(self._instance).set_state(
            self._instance,
            {
                "bit_generator": "MT19937",
                "state": {"key": key, "pos": int(state["pos"])},
                "has_gauss": int(gauss is not None),
                "gauss": gauss or 0.0,
            },
        )


def _words_of(bits: Any) -> int:
    """Return where the words of NumPy's Mersenne Twister lie, or 0 where that is not certain."""
    if type(bits).__name__ != "MT19937":
        return 0
    try:
        address = int(bits.ctypes.state_address)
        state = bits.state["state"]
        expected = state["key"].tobytes() + struct.pack("=i", state["pos"])
    except Exception:  # noqa: BLE001 - another NumPy than those known
        return 0
    return address if ctypes.string_at(address, _SIZE) == expected else 0


class NumpyGenerator:
    """A `numpy.random.Generator`: its bit generator."""

    def __init__(self, instance: Any) -> None:
        self._bits = instance.bit_generator
        self._address = _words_of(self._bits)

    def read(self) -> Any:
        """Return a token of the state."""
        return ctypes.string_at(self._address, _SIZE) if self._address else _bits(self._bits)

    glance = read

    def portable(self, token: Any) -> Portable | None:
        """Return None: its seed is fed back, not its state."""
        return None

    def restore(self, state: Portable) -> None:
        """Do nothing."""


class TorchGenerator:
    """A `torch.Generator` on any device."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance

    def read(self) -> Any:
        """Return a token of the state."""
        return self._instance.get_state().numpy().tobytes()

    glance = read

    def portable(self, token: Any) -> Portable | None:
        """Return the state as JSON."""
        return {"torch": base64.b64encode(zlib.compress(token)).decode()}

    def restore(self, state: Portable) -> None:
        """Put a state back."""
        import torch

        raw = bytearray(zlib.decompress(base64.b64decode(state["torch"])))
        self._instance.set_state(torch.frombuffer(raw, dtype=torch.uint8))


def untouched(generator: Any) -> str | None:
    """Return the fingerprint of the state that a numpy generator began with.

    None where that is not known: a RandomState that was given a number, a
    bit generator of somebody else's.
    """
    with contextlib.suppress(Exception):
        bits = getattr(generator, "bit_generator", None) or generator._bit_generator  # noqa: SLF001
        sequence = bits.seed_seq
        if type(bits).__module__.startswith("numpy.random."):
            again = type(sequence)(
                sequence.entropy, spawn_key=sequence.spawn_key, pool_size=sequence.pool_size
            )
            return fingerprint(_reader_of(generator, type(bits)(again)).read())
    return None


def _reader_of(generator: Any, bits: Any) -> Reader:
    legacy = not hasattr(generator, "bit_generator")
    return NumpyLegacy(type(generator)(bits)) if legacy else NumpyGenerator(type(generator)(bits))


def _bits(bits: Any) -> Any:
    state = bits.state
    if state["bit_generator"] in ("PCG64", "PCG64DXSM"):
        return (*state["state"].values(), state["has_uint32"], state["uinteger"])
    return b"\0".join(_flat(state))


def _mt19937(key: bytes, pos: int, gauss: float | None) -> Portable:
    if sys.byteorder == "big":
        key = struct.pack(f"<{_WORDS}I", *struct.unpack(f">{_WORDS}I", key))
    return {"mt19937": base64.b64encode(key).decode(), "pos": pos, "gauss": gauss}


def _flat(state: Any) -> Iterator[bytes]:
    if isinstance(state, bytes):
        yield state
    elif isinstance(state, dict):
        for key in sorted(state):
            yield from _flat(state[key])
    elif isinstance(state, tuple) and len(state) < 10:
        for item in state:
            yield from _flat(item)
    elif hasattr(state, "tobytes"):
        yield state.tobytes()  # an array, which repr would abbreviate
    else:
        yield repr(state).encode()
