"""What a project wants otherwise than it was recorded: checked, and put to a record's values."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mlrepro_nb.capture import secrets
from mlrepro_nb.errors import UsageError
from mlrepro_nb.image import _closure
from mlrepro_nb.image._platforms import PLATFORMS
from mlrepro_nb.model import Distribution, Environment


def on_platform(environment: Environment, platform: str | None) -> Environment:
    """Return an environment as it is to be on another machine."""
    if platform is None:
        return environment
    machine = PLATFORMS.get(platform)
    if machine is None:
        raise UsageError(
            f"There is no platform {platform!r}.", f"Platforms are {', '.join(PLATFORMS)}."
        )
    system = msgspec.structs.replace(environment.system, machine=machine)
    return msgspec.structs.replace(environment, system=system)


def plain(variables: dict[str, str]) -> dict[str, str]:
    """Return variables for the image, where everyone reads them."""
    for name, value in variables.items():
        if secrets.is_secret_name(name) or secrets.mask(value) != value:
            raise UsageError(
                f"The variable {name} looks like a secret, and `variables` are in the image.",
                "Give it to the container when it is started, from a Secret.",
            )
    return variables


def user(number: int | None) -> int | None:
    """Return the user that a container runs as."""
    if number is not None and not 0 < number < 1 << 31:
        raise UsageError(
            f"A container does not run as user {number}.",
            "Give a number above 0, best one above 10000, which is nobody's on the machine.",
        )
    return number


def included(include: Sequence[str], environment: Environment) -> list[str]:
    """Return the recorded distributions that are asked for; others are pinned."""
    recorded = {_closure.normal(d.name) for d in environment.distributions}
    names = [text for text in include if "==" not in text]
    for name in names:
        if _closure.normal(name) not in recorded:
            raise UsageError(
                f"`include` names {name}, which the recorded environment does not have.",
                f"Pin it, {name}==VERSION, with what it needs, or install it there and record "
                "again.",
            )
    for text in include:
        name, pinned, _ = text.partition("==")
        if pinned and _closure.normal(name) in recorded:
            raise UsageError(
                f"`include` pins {text}, but the recorded environment has {name} already.",
                "Leave the version out: the image gets the recorded one.",
            )
    return names


def without(
    chosen: tuple[Distribution, ...], exclude: Sequence[str], notes: list[str]
) -> tuple[Distribution, ...]:
    """Leave distributions out that the project does not want in the image."""
    names = {_closure.normal(name) for name in exclude}
    gone = [d.name for d in chosen if _closure.normal(d.name) in names]
    if gone:
        notes.append(
            f"{', '.join(gone)}: left out by `exclude`, though the run used it or what it used "
            "needs it. Test the image."
        )
    return tuple(d for d in chosen if d.name not in gone)
