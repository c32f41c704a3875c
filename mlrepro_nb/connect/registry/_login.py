"""The credentials that `docker login` left, and where they may be sent."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

from mlrepro_nb.connect import command
from mlrepro_nb.connect.registry._reference import HUB
from mlrepro_nb.errors import ToolError

_HUB_SERVER = "https://index.docker.io/v1/"


def is_local(host: str) -> bool:
    """Whether a host is this machine, which is spoken to in the clear."""
    name = re.sub(r":\d+$", "", host)
    return name in ("localhost", "[::1]") or bool(re.fullmatch(r"127(?:\.\d{1,3}){3}", name))


def basic(login: tuple[str, str]) -> str:
    """Return the header of a user and password."""
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def _file() -> Path:
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def damaged() -> Path | None:
    """Return the file in which `docker login` keeps credentials, if it is there and unreadable."""
    path = _file()
    return path if path.exists() and _read(path) is None else None


def login(registry: str) -> tuple[str, str] | None:
    """Return user and password as `docker login` left them; user ``<token>`` for a token."""
    configuration = _read(_file())
    if configuration is None:
        return None
    names = [registry, f"https://{registry}", f"https://{registry}/v2/", f"http://{registry}"]
    if registry == HUB:
        names.insert(0, _HUB_SERVER)
    helpers, auths = configuration.get("credHelpers") or {}, configuration.get("auths") or {}
    for name in names:
        helper = helpers.get(name) or (configuration.get("credsStore") if name in auths else None)
        if helper and (found := _ask_helper(str(helper), name)):
            return found
        entry = auths.get(name)
        if not isinstance(entry, dict):
            continue
        if token := entry.get("identitytoken"):
            return "<token>", str(token)
        try:
            user, _, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
        except ValueError:
            continue
        if user:
            return user, password
    return None


def _ask_helper(helper: str, server: str) -> tuple[str, str] | None:
    try:
        ended = command.run([f"docker-credential-{helper}", "get"], stdin=server, timeout=20)
        answer = json.loads(ended.stdout) if ended.ok else {}
    except (ToolError, ValueError):
        return None
    user, secret = answer.get("Username"), answer.get("Secret")
    return (str(user), str(secret)) if user and secret else None
