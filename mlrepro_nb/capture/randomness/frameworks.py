"""Where torch, TensorFlow, JAX, CuPy and Polars are seeded, and draw.

Functions that compilers know by identity (`torch.manual_seed`, `jax.random.normal`)
stay as they are: what can be read from the state afterwards is read.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from typing import Any

from mlrepro_nb.capture.randomness.callers import drawer
from mlrepro_nb.capture.randomness.ledger import Ledger
from mlrepro_nb.capture.randomness.states import Reader, TorchGenerator
from mlrepro_nb.capture.randomness.taps import Patches

TORCH_CONSTANT = 67280421310721
"""What a `torch.Generator` that nobody seeded starts from: it is always the same."""

_LARGE = 2**40
"""A seed that people do not write: torch's own from the system has 53 random bits or more."""

_POLARS = {"DataFrame": ("sample",), "Series": ("sample", "shuffle"), "Expr": ("sample", "shuffle")}


class Frameworks:
    """Taps the frameworks that have been imported.

    Parameters
    ----------
    ledger : Ledger
        What is told.
    patches : Patches
        What replaces.
    """

    def __init__(self, ledger: Ledger, patches: Patches) -> None:
        self._ledger, self._patches = ledger, patches
        self._initial: dict[str, int] = {}
        """Seeds that torch's global generators started from when they were last looked at."""
        self._told: dict[str, int] = {}
        """Those of the look before."""
        self._tensorflow: tuple[Any, int, int] = (None, 0, 0)
        self._tf_drawn = [0, 0]  # seeded, unseeded
        self._polars_seeded = False

    # --- torch

    def torch(self, module: Any) -> None:
        """Tap torch."""
        self._initial["torch"] = module.initial_seed()
        self._patches.replace(module, "seed", self._torch_seed)

    def _torch_seed(self, original: Callable[[], int]) -> Callable[[], int]:
        @functools.wraps(original)
        def seed() -> int:
            value = original()
            ledger = self._ledger
            if ledger.on:
                fed = ledger.replay.take("torch")
                if fed is not None:
                    value = int(fed["value"])
                    sys.modules["torch"].manual_seed(value)
                    ledger.feed_back("torch", str(value))
                else:
                    ledger.remember(value)
                    ledger.draw("torch.seed()", {"torch": 1, "value": str(value)})
                ledger.seeded["torch"] = fed is not None
                self._initial["torch"] = value
            return value

        return seed

    def readers(self) -> dict[str, Reader]:
        """Return the readers of torch's global generators that exist by now."""
        torch = sys.modules.get("torch")
        found: dict[str, Reader] = {}
        if torch is None or not hasattr(torch, "default_generator"):
            return found
        found["torch"] = TorchGenerator(torch.default_generator)
        cuda = getattr(torch, "cuda", None)
        if cuda is not None and cuda.is_initialized():
            for index, generator in enumerate(cuda.default_generators):
                found[f"torch.cuda:{index}"] = TorchGenerator(generator)
        return found

    def notice(self) -> None:
        """See from torch's generators, and from TensorFlow's context, whether they were seeded."""
        torch = sys.modules.get("torch")
        if torch is not None and "torch" in self._initial:
            self._notice("torch", torch.initial_seed())
            cuda = getattr(torch, "cuda", None)
            if cuda is not None and cuda.is_initialized():
                for index, generator in enumerate(cuda.default_generators):
                    self._notice(f"torch.cuda:{index}", generator.initial_seed())
        self._notice_tensorflow()

    def only_seeded(self, name: str, state: bytes) -> bool:
        """Return whether a global generator of torch's is as its seed makes it: not drawn from."""
        torch, initial = sys.modules["torch"], self._initial.get(name)
        if initial is None:
            return False
        device = name.partition(".")[2] or "cpu"
        fresh = torch.Generator(device=device).manual_seed(initial)
        if TorchGenerator(fresh).read() != state:
            return False
        if initial == self._told.get(name):
            # Seeded with the same number again.
            self._ledger.seeded[name] = self._ledger.seed(name, initial) == "value"
        return True

    def _notice(self, name: str, initial: int) -> None:
        self._told[name] = self._initial.get(name, -1)
        if self._initial.get(name) == initial:
            return
        first, self._initial[name] = name not in self._initial, initial
        origin = self._torch_origin(initial)
        if first and origin != "value":
            # A device's generator starts from the system's entropy, until it is seeded.
            self._ledger.seeded[name] = False
            return
        self._ledger.seeded[name] = self._ledger.seed(name, initial, origin) == "value"

    def _torch_origin(self, initial: int) -> str:
        """Say where a seed came from that torch was given in a way that cannot be seen."""
        origin = self._ledger.origin(initial)
        if origin == "value" and initial >= _LARGE and not self._ledger.spelled(initial):
            near = [seed for seed in self._initial.values() if seed != initial]
            if not any(abs(initial - seed) <= 1024 for seed in near):
                return "entropy"
        return origin

    def of_generator(self, generator: Any) -> tuple[int, str]:
        """Return the seed of a `torch.Generator`, and where it came from."""
        initial = int(generator.initial_seed())
        constant = initial == TORCH_CONSTANT
        return initial, "value" if constant else self._torch_origin(initial)

    # --- TensorFlow

    def tensorflow(self, module: Any) -> None:
        """Tap the function that every random operation asks for its seeds."""
        self._patches.replace(module, "get_seed", self._tf_seeds)

    def _tf_seeds(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def get_seed(*args: Any, **kwargs: Any) -> Any:
            found = original(*args, **kwargs)
            self._tf_drawn[found is None or tuple(found) == (None, None)] += 1
            return found

        return get_seed

    def _notice_tensorflow(self) -> None:
        context = sys.modules.get("tensorflow.python.eager.context")
        if context is None or not hasattr(context, "global_seed"):
            return
        seed = context.global_seed()
        if seed is not None and seed != self._tensorflow[0]:
            self._ledger.seeded["tensorflow"] = (
                self._ledger.seed("tensorflow", int(seed)) == "value"
            )
        self._tensorflow = seed, *self._tf_drawn

    def tensorflow_uses(self) -> list[dict[str, Any]]:
        """Return the use of TensorFlow's operations since the last call, if any."""
        seeded, unseeded = self._tf_drawn
        self._tf_drawn = [0, 0]
        if not seeded and not unseeded:
            return []
        return [{"generator": "tensorflow", "before": "", "after": "", "seeded": not unseeded}]

    # --- JAX: keys are values, so what is to be known is where they came from

    def jax(self, module: Any) -> None:
        """Tap the functions that make keys of seeds."""
        for name in ("key", "PRNGKey"):
            self._patches.replace(module, name, self._jax_key)

    def _jax_key(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def key(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            fed = None
            if self._ledger.on:
                # The user's call must go on.
                with contextlib.suppress(Exception):
                    fed = self._jax_seeded(args[0] if args else kwargs.get("seed"))
            if fed is not None:
                kwargs.pop("seed", None)
                args = (fed, *args[1:])
            return original(*args, **kwargs)

        return key

    def _jax_seeded(self, seed: Any) -> int | None:
        """Note a key's seed; in a replay, return that of the recorded run where it is another."""
        ledger = self._ledger
        if drawer() == "library" or not (isinstance(seed, int) or type(seed).__module__ == "numpy"):
            return None  # a tracer: what it is in the end was given elsewhere
        if ledger.replay.on and ledger.origin(seed) != "value":
            fed = ledger.replay.take("seed:jax")
            if fed is not None:
                ledger.feed_back("jax", fed["value"])
                return int(fed["value"])
        ledger.seed("jax", seed)
        return None

    # --- CuPy

    def cupy(self, module: Any) -> None:
        """Tap CuPy's seeding; its states stay on the device."""

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(original)
            def seed(*args: Any, **kwargs: Any) -> Any:
                done = original(*args, **kwargs)
                if self._ledger.on:
                    value = args[0] if args else kwargs.get("seed")
                    if value is None:
                        self._ledger.draw("cupy.random.seed()")
                    else:
                        self._ledger.seed("cupy", value)
                return done

            return seed

        self._patches.replace(module, "seed", make)
        self._ledger.gap("The states of CuPy's generators are on the device and are not read.")

    # --- Polars: its generator is in Rust, and not to be read

    def polars(self, module: Any) -> None:
        """Tap what draws unless it is given a seed."""
        self._patches.replace(module, "set_random_seed", self._polars_seed)
        for cls, names in _POLARS.items():
            for name in names:
                self._patches.replace(getattr(module, cls), name, self._polars_draw)

    def _polars_seed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def set_random_seed(*args: Any, **kwargs: Any) -> Any:
            done = original(*args, **kwargs)
            if self._ledger.on:
                value = args[0] if args else kwargs.get("seed")
                self._polars_seeded = self._ledger.seed("polars", value) == "value"
            return done

        return set_random_seed

    def _polars_draw(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def draw(*args: Any, **kwargs: Any) -> Any:
            # A seed is a keyword, or the argument after `self` (Series.shuffle(seed)).
            seed = kwargs.get("seed", args[1] if len(args) > 1 and "shuffle" in original.__name__
                              else None)  # fmt: skip
            if self._ledger.on and seed is None and not self._polars_seeded:
                self._ledger.draw("polars")
            return original(*args, **kwargs)

        return draw
