"""What an image is called: repository, version, build id, tags. Pure but for `build_id`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

from mlrepro_nb.connect import registry
from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import short

DIRTY = "-dirty"
_LONGEST = 128
_NUMBER = r"(?:0|[1-9]\d*)"
_PART = rf"(?:{_NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
_SEMANTIC = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PART}(?:\.{_PART})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
"""As https://semver.org has it."""
_PHASES = {"a": "alpha", "b": "beta", "rc": "rc"}
_CI = ("GITHUB_RUN_ID", "CI_PIPELINE_ID", "BUILD_BUILDID", "BUILD_ID")
"""Where GitHub, GitLab, Azure and Jenkins (and many that follow it) say which build this is."""


def tag(text: str, *, dirty: bool = False) -> str:
    """Return a valid tag as near to a text as can be: ``1.2.0+cpu`` is ``1.2.0-cpu``.

    Raises
    ------
    UsageError
        Nothing of it can be in a tag, or it would be ``latest``.
    """
    suffix = DIRTY if dirty else ""
    made = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip(".-")[: _LONGEST - len(suffix)]
    if not made:
        raise UsageError(
            f"{text!r} cannot be an image tag.", "Use letters, digits, `.`, `_` and `-`."
        )
    refuse_latest(made)
    return made + suffix


def version(text: str, *, said: str, convert: bool) -> str:
    """Return an image's version: a semantic one.

    Parameters
    ----------
    said
        Who said it, for the error.
    convert
        Whether it may be a version as Python's packages have them, of which the semantic one is
        returned: ``1.0rc1`` is ``1.0.0-rc.1``.

    Raises
    ------
    UsageError
        It is none.
    """
    if _SEMANTIC.fullmatch(text):
        return text
    refuse_latest(text)
    meant = _semantic(text)
    if convert and meant:
        return meant
    raise UsageError(
        f"{said} {text!r} is no semantic version, as an image's version tag is to be.",
        f"Say {meant or '1.0.0'}: MAJOR.MINOR.PATCH, perhaps with -rc.1 or +build behind.",
    )


def _semantic(text: str) -> str | None:
    """Return what a version of a Python package is as a semantic one, if there is such a one."""
    from packaging.version import InvalidVersion, Version

    try:
        found = Version(text)
    except InvalidVersion:
        return None
    if len(found.release) > 3 or found.epoch:
        return None
    release = ".".join(map(str, (*found.release, 0, 0)[:3]))
    before = [f"{_PHASES[found.pre[0]]}.{found.pre[1]}"] if found.pre else []
    before += [f"dev.{found.dev}"] if found.dev is not None else []
    behind = [f"post.{found.post}"] if found.post is not None else []
    behind += [found.local] if found.local else []
    return (
        release
        + (f"-{'.'.join(before)}" if before else "")
        + (f"+{'.'.join(behind)}" if behind else "")
    )


def refuse_latest(text: str) -> None:
    """Refuse ``latest``, which says nothing and moves."""
    if text.lower() in ("latest", f"latest{DIRTY}"):
        raise UsageError(
            "`latest` is no version: it names another image tomorrow.",
            "Use a version, a commit or a digest.",
        )


def tags(*, version: str, commit: str | None, build_id: str, dirty: bool) -> tuple[str, ...]:
    """Return the tags of an image: its version, its commit, its build."""
    made = [tag(version, dirty=dirty), commit_tag(commit, dirty=dirty),
            tag(f"build-{build_id}", dirty=dirty)]  # fmt: skip
    return tuple(dict.fromkeys(text for text in made if text is not None))


def commit_tag(commit: str | None, *, dirty: bool) -> str | None:
    """Return the tag that tells an image's commit, None where there is none."""
    return tag(short(commit), dirty=dirty) if commit else None


def repository(named: str | None, *, notebook: str, kind: str) -> str:
    """Return the repository, without ``docker.io/`` where nobody wrote that.

    Raises
    ------
    UsageError
        It is no repository, or comes with a tag or digest.
    """
    if not named:
        stem = notebook.rpartition("/")[2].removesuffix(".ipynb").lower()
        slug = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:100] or "notebook"
        return f"mlrepro/{slug}{'' if kind == 'job' else f'-{kind}'}"
    parsed = registry.parse(named)
    if parsed.tag:
        refuse_latest(parsed.tag)
    if parsed.tag or parsed.digest:
        raise UsageError(
            f"{named} has a tag or digest, but is to be a repository.",
            f"Give {named.partition('@')[0].removesuffix(f':{parsed.tag}')}; the tags are the "
            "version (--version), the commit and the build (--build-id).",
        )
    return named


def base(named: str | None, *, python: str, implementation: str) -> registry.Reference:
    """Return the base image: the one named, else the official slim one of the kernel's Python.

    Raises
    ------
    UsageError
        It is no reference, or one by ``latest`` or by nothing at all.
    """
    if not named:
        if implementation.lower() != "cpython":
            raise UsageError(
                f"There is no official base image of {implementation}.",
                "Give one with --base NAME@sha256:….",
            )
        return registry.parse(f"python:{python.rstrip('+')}-slim-bookworm")
    parsed = registry.parse(named)
    if parsed.tag:
        refuse_latest(parsed.tag)
    elif not parsed.digest:
        raise UsageError(
            f"The base image {named} has neither tag nor digest, which means `latest`.",
            "Give --base NAME@sha256:… or at least NAME:VERSION.",
        )
    return parsed


def build_id(given: str | None, record: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the id of this build: given, the CI's, or made of the time and the record."""
    variables = os.environ if environment is None else environment
    found = given or next((variables[name] for name in _CI if variables.get(name)), None)
    if found is None:
        found = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{short(record, 6)}"
    refuse_latest(found)
    return found
