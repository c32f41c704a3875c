"""OCI registries, through the distribution API.

https://github.com/opencontainers/distribution-spec
"""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from mlrepro_nb.connect import command
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.model import digest_bytes

if TYPE_CHECKING:
    from requests import Response, Session

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_TIMEOUT = (5, 30)
_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_HUB_LOGIN = "https://index.docker.io/v1/"

_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_NAME}(?:/{_NAME})*")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """An image reference, with nothing left implied but the tag."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"


class ImageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry tells of an image."""

    reference: str
    digest: str
    """Of the manifest that was asked for, which may list several platforms."""
    id: str
    """Digest of the image's configuration, as an engine names it."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    created: str | None = None
    architecture: str | None = None
    size: int = 0
    """Of the compressed layers together."""


def parse(reference: str) -> Reference:
    """Read a reference as Docker does: ``python:3.12`` is ``docker.io/library/python:3.12``.

    Raises
    ------
    UsageError
        It is none.
    """
    rest, _, digest = reference.partition("@")
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, rest = head, tail
    else:
        registry = _HUB
    repository, _, tag = rest.partition(":")
    if registry in (_HUB, "index.docker.io"):
        registry = _HUB
        repository = repository if "/" in repository else f"library/{repository}"
    good = (
        _REGISTRY.fullmatch(registry)
        and _REPOSITORY.fullmatch(repository)
        and len(repository) <= 255
        and (":" not in rest or _TAG.fullmatch(tag))
        and ("@" not in reference or _DIGEST.fullmatch(digest))
    )
    if not good:
        raise UsageError(
            f"{reference!r} is not an image reference.",
            "It reads [REGISTRY/]NAME[:TAG][@sha256:<64 hex digits>], its name in lower case.",
        )
    return Reference(
        registry=registry, repository=repository, tag=tag or None, digest=digest or None
    )


def resolve(reference: str) -> str:
    """Return the digest that a reference has now.

    Raises
    ------
    ToolError
        The registry is unreachable, refuses, or has no such image.
    """
    parsed = parse(reference)
    if parsed.digest:
        return parsed.digest
    found = _Registry(parsed).manifest(parsed.tag or "latest")
    if found is None:
        raise _absent(parsed)
    return found[0]


def inspect(reference: str, *, platform: str = "linux/amd64") -> ImageInfo:
    """Return what the registry knows of an image: digest, labels, annotations.

    Raises
    ------
    ToolError
        As in `resolve`; or the image is not there for this platform.
    """
    parsed = parse(reference)
    registry = _Registry(parsed)
    found = registry.manifest(parsed.digest or parsed.tag or "latest")
    if found is None:
        raise _absent(parsed)
    digest, manifest = found
    if "manifests" in manifest:
        found = registry.manifest(_of_platform(manifest, platform, parsed))
        if found is None:
            raise _absent(parsed)
        manifest = found[1]
    if "config" not in manifest:
        raise ToolError(
            f"{parsed} is not a container image.", "Check the reference.", tool="registry"
        )
    identity = manifest["config"]["digest"]
    configuration = registry.blob(identity)
    return ImageInfo(
        reference=str(parsed),
        digest=digest,
        id=identity,
        labels=(configuration.get("config") or {}).get("Labels") or {},
        annotations=manifest.get("annotations") or {},
        created=configuration.get("created"),
        architecture=configuration.get("architecture"),
        size=sum(layer.get("size", 0) for layer in manifest.get("layers", ())),
    )


def find(reference: str) -> ImageInfo | None:
    """Return what `inspect` does, or None where the registry has no such tag or repository."""
    parsed = parse(reference)
    if _Registry(parsed).manifest(parsed.digest or parsed.tag or "latest") is None:
        return None
    return inspect(reference)


def check_push(repository: str) -> None:
    """Check that this user may push to a repository, by opening an upload and cancelling it.

    Raises
    ------
    ToolError
        The registry is unreachable or refuses.
    """
    parsed = parse(repository)
    registry = _Registry(parsed, actions="pull,push")
    answer = registry.ask("POST", "blobs/uploads/")
    if answer.status_code != 202:
        raise registry.refusal(answer)
    location = answer.headers.get("Location", "")
    if location.startswith("/"):
        location = registry.url + location
    if urlsplit(location).netloc == urlsplit(registry.url).netloc:
        registry.request("DELETE", location)


def _absent(reference: Reference) -> ToolError:
    return ToolError(
        f"The registry has no image {reference}.",
        "Check its name and tag; a registry may also hide what you may not see "
        f"(`docker login {reference.registry}`).",
        tool="registry",
    )


def _of_platform(index: dict[str, Any], platform: str, reference: Reference) -> str:
    system, _, architecture = platform.partition("/")
    for entry in index["manifests"]:
        described = entry.get("platform") or {}
        if (described.get("os"), described.get("architecture")) == (system, architecture):
            return str(entry["digest"])
    raise ToolError(
        f"{reference} has no image for {platform}.",
        "Choose one that has.",
        tool="registry",
    )


class _Registry:
    """A conversation with one registry about one repository."""

    def __init__(self, reference: Reference, actions: str = "pull") -> None:
        import requests

        host = _HUB_HOST if reference.registry == _HUB else reference.registry
        self.reference = reference
        self.actions = actions
        self.url = f"{'http' if _local(host) else 'https'}://{host}"
        self.session: Session = requests.Session()
        # requests would take credentials from ~/.netrc and send them to the registry
        # in place of ours; proxies and CA bundles are still taken from the environment.
        self.session.auth = lambda request: request
        self.authorization: str | None = None

    def manifest(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Return the digest and content of the manifest with a tag or digest, None if absent."""
        answer = self.ask("GET", f"manifests/{name}", accept=", ".join(_INDEXES + _MANIFESTS))
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise self.refusal(answer)
        digest = digest_bytes(answer.content)
        if name.startswith("sha256:") and digest != name:
            raise self._nonsense(f"a manifest that is not {name}")
        return digest, self._json(answer)

    def blob(self, digest: str) -> dict[str, Any]:
        """Return a blob of JSON, checked against its digest."""
        answer = self.ask("GET", f"blobs/{digest}")
        if answer.status_code != 200:
            raise self.refusal(answer)
        if digest_bytes(answer.content) != digest:
            raise self._nonsense(f"a blob that is not {digest}")
        return self._json(answer)

    def ask(self, method: str, path: str, *, accept: str = "*/*") -> Response:
        """Send a request about the repository, logging in when the registry wants that."""
        url = f"{self.url}/v2/{self.reference.repository}/{path}"
        answer = self.request(method, url, accept=accept)
        if answer.status_code == 401 and self.authorization is None:
            self.authorization = self._log_in(answer.headers.get("WWW-Authenticate", ""))
            if self.authorization:
                answer = self.request(method, url, accept=accept)
        return answer

    def request(self, method: str, url: str, *, accept: str = "*/*") -> Response:
        """Send a request; whatever goes wrong on the way is a `ToolError`."""
        import requests

        headers = {"Accept": accept}
        if self.authorization:
            headers["Authorization"] = self.authorization
        try:
            return self.session.request(method, url, headers=headers, timeout=_TIMEOUT)
        except requests.exceptions.SSLError as error:
            raise ToolError(
                f"The registry {self.reference.registry} shows a TLS certificate that cannot be "
                "verified.",
                "Name the certificate authority in REQUESTS_CA_BUNDLE.",
                tool="registry",
                output=command.redact(str(error)),
            ) from error
        except (requests.exceptions.RequestException, UnicodeError) as error:
            raise ToolError(
                f"The registry {self.reference.registry} cannot be reached.",
                "Check its name, the network and the proxy.",
                tool="registry",
                output=command.redact(str(error)),
            ) from error

    def refusal(self, answer: Response) -> ToolError:
        """Return what an unwelcome answer means."""
        registry, status = self.reference.registry, answer.status_code
        if status in (401, 403):
            return ToolError(
                f"The registry {registry} does not let you "
                f"{'push to' if 'push' in self.actions else 'read'} {self.reference.repository}.",
                f"Log in: docker login {registry}.",
                tool="registry",
            )
        if status == 404:
            return _absent(self.reference)
        return ToolError(
            f"The registry {registry} answered {status} {answer.reason}.",
            "It is too busy: wait a little." if status == 429 else "Ask whoever runs it.",
            tool="registry",
            output=command.redact(answer.text[:500]),
        )

    def _nonsense(self, what: str) -> ToolError:
        return ToolError(
            f"The registry {self.reference.registry} answered with {what}.",
            "Something between here and there changes its answers; do not trust it.",
            tool="registry",
        )

    def _json(self, answer: Response) -> dict[str, Any]:
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise self._nonsense("something that is not JSON: is it a registry?")
        return content

    def _log_in(self, challenge: str) -> str | None:
        scheme, _, rest = challenge.partition(" ")
        login = _login(self.reference.registry)
        if scheme.lower() == "basic":
            return _basic(login) if login else None
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = fields.get("realm", "")
        if scheme.lower() != "bearer" or not realm:
            return None
        where = urlsplit(realm)
        if where.scheme != "https" and not _local(where.netloc):
            login = None  # never send a password in the clear
        scope = fields.get("scope") or f"repository:{self.reference.repository}:{self.actions}"
        if "push" in self.actions and "push" not in scope:
            scope = f"repository:{self.reference.repository}:{self.actions}"
        query = {"service": fields.get("service", ""), "scope": scope}
        import requests

        try:
            if login and login[0] == "<token>":
                form = {"grant_type": "refresh_token", "refresh_token": login[1], **query}
                answer = self.session.post(
                    realm, data={**form, "client_id": "mlrepro"}, timeout=_TIMEOUT
                )
            else:
                headers = {"Authorization": _basic(login)} if login else {}
                answer = self.session.get(realm, params=query, headers=headers, timeout=_TIMEOUT)
        except requests.exceptions.RequestException as error:
            raise ToolError(
                f"The registry {self.reference.registry} sends logins to {where.netloc}, which "
                "cannot be reached.",
                "Check the network and the proxy.",
                tool="registry",
            ) from error
        if answer.status_code != 200:
            return None
        content = self._json(answer)
        token = content.get("token") or content.get("access_token")
        return f"Bearer {token}" if token else None


def _local(host: str) -> bool:
    name = re.sub(r":\d+$", "", host)
    return name in ("localhost", "[::1]") or bool(re.fullmatch(r"127(?:\.\d{1,3}){3}", name))


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def _login(registry: str) -> tuple[str, str] | None:
    """Return user and password as `docker login` left them; user ``<token>`` for a token."""
    folder = os.environ.get("DOCKER_CONFIG")
    path = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    try:
        configuration = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(configuration, dict):
        return None
    names = [registry, f"https://{registry}", f"https://{registry}/v2/", f"http://{registry}"]
    if registry == _HUB:
        names.insert(0, _HUB_LOGIN)
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
