"""The package index as pip is told about it on this machine.

What a build inside a container must know to download the same way: index,
proxy, certificates. It reaches the container as a build secret, never as a
layer, because index URLs and proxies carry credentials.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from pathlib import Path

import msgspec

from mlrepro_nb.connect import command
from mlrepro_nb.errors import UsageError

PYPI = "https://pypi.org/simple"
_SYSTEM = Path("/etc/pip.conf")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What pip (or else uv) is configured with."""

    url: str | None = None
    extra_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    proxy: str | None = None
    timeout: str | None = None
    certificates: str | None = None


def _files() -> list[Path]:
    """Return pip's configuration files, the weakest first."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    folders = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    found = [Path(folder) / "pip" / "pip.conf" for folder in folders if folder]
    found += [_SYSTEM, Path.home() / ".pip" / "pip.conf", home / "pip" / "pip.conf"]
    found.append(Path(sys.prefix) / "pip.conf")
    if named := os.environ.get("PIP_CONFIG_FILE"):
        if named == os.devnull:
            return []
        found.append(Path(named))
    return found


def settings() -> Settings:
    """Return pip's effective settings: its files, then its variables; uv's fill what it lacks."""
    values: dict[str, str] = {}
    for path in _files():
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # pip itself will complain; here it only means nothing is known from it
        for section in ("global", "install"):
            if parser.has_section(section):
                values |= {k.replace("_", "-"): v for k, v in parser.items(section)}
    for name, value in os.environ.items():
        if name.startswith("PIP_") and value:
            values[name[4:].lower().replace("_", "-")] = value

    def words(key: str) -> tuple[str, ...]:
        return tuple(values.get(key, "").split())

    variables = os.environ
    proxy = next(
        (variables[n] for n in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY") if variables.get(n)),
        None,
    )
    return Settings(
        url=values.get("index-url")
        or variables.get("UV_DEFAULT_INDEX")
        or variables.get("UV_INDEX_URL"),
        extra_urls=words("extra-index-url") or _urls(variables.get("UV_INDEX", "")),
        # A folder of this machine means nothing inside a container.
        find_links=tuple(w for w in words("find-links") if w.startswith(("https://", "http://"))),
        trusted_hosts=words("trusted-host"),
        proxy=values.get("proxy") or proxy,
        timeout=values.get("timeout") or values.get("default-timeout"),
        certificates=values.get("cert"),
    )


def named() -> str:
    """Return the URLs of the indexes that are asked, without credentials."""
    found = settings()
    return " or ".join(command.redact(url) for url in (found.url or PYPI, *found.extra_urls))


def _urls(indexes: str) -> tuple[str, ...]:
    """Return the URLs of uv's ``[name=]url`` list."""
    return tuple(re.sub(r"^[\w.-]+=(?=https?:)", "", word) for word in indexes.split())


def ca_bundle(given: str | Path | None = None) -> Path | None:
    """Return the PEM file of certificate authorities that this machine is told to trust.

    `given`, else pip's, else what SSL_CERT_FILE or REQUESTS_CA_BUNDLE name. None
    where nobody named any: then the base image's own are right.

    Raises
    ------
    UsageError
        `given` is not a PEM file.
    """
    if given is not None:
        path = Path(given).expanduser()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"The CA bundle {path} cannot be read: {error.strerror}.",
                "Give a PEM file with --ca-bundle.",
            ) from None
        if b"-----BEGIN CERTIFICATE-----" not in content:
            raise UsageError(
                f"{path} holds no PEM certificate.",
                "Convert it: openssl x509 -inform der -in FILE -out FILE.pem.",
            )
        return path
    named = (
        settings().certificates,
        os.environ.get("SSL_CERT_FILE"),
        os.environ.get("REQUESTS_CA_BUNDLE"),
    )
    return next((p for n in named if n and (p := Path(n)).is_file()), None)


def pip_configuration(found: Settings, *, certificates: str | None) -> str:
    """Return a ``pip.conf`` that says what `found` says; `certificates` is a path in there."""
    lines: list[str] = []
    many = {
        "extra-index-url": found.extra_urls,
        "find-links": found.find_links,
        "trusted-host": found.trusted_hosts,
    }
    one = {
        "index-url": found.url,
        "proxy": found.proxy,
        "timeout": found.timeout,
        "cert": certificates,
    }
    lines += [f"{key} = {value}" for key, value in one.items() if value]
    for key, values in many.items():
        if values:
            lines += [f"{key} =", *(f"    {value}" for value in values)]
    return "\n".join(["[global]", *lines, ""]) if lines else ""
