"""A conversation with one registry about one repository: requests, logins, refusals."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from mlrepro_nb.connect import command
from mlrepro_nb.connect.registry._login import basic, damaged, is_local, login
from mlrepro_nb.connect.registry._reference import HUB, Reference
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import digest_bytes

if TYPE_CHECKING:
    from requests import Response, Session

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and between two bytes of an answer."""
PAUSES = (0.5, 2.0, 5.0, 10.0)
"""Seconds before each further try of what failed on the way."""
BUSY = frozenset({429, 500, 502, 503, 504})
"""Answers after which another try may succeed."""

# The distribution registry may give the number of the error alone: ENOSPC, EDQUOT.
_FULL = r'no space left|disk full|quota|insufficient storage|"Err": ?(?:28|122)\b'
_HUB_HOST = "registry-1.docker.io"


def absent(reference: Reference) -> ToolError:
    return ToolError(
        f"The registry has no image {reference}.",
        "Check its name and tag; a registry may also hide what you may not see "
        f"(`docker login {reference.registry}`).",
        tool="registry",
    )


class WrongContentError(ToolError):
    """What a registry answered is not what it was asked for, or not what it says it is."""


class Conversation:
    """A conversation with one registry about one repository.

    Parameters
    ----------
    reference
        Names the registry and the repository.
    actions
        What is going to be done there: ``pull`` or ``pull,push``.
    also
        Repositories of the same registry that are read besides.
    """

    def __init__(
        self, reference: Reference, actions: str = "pull", *, also: tuple[str, ...] = ()
    ) -> None:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3 import Retry

        host = _HUB_HOST if reference.registry == HUB else reference.registry
        self.reference = reference
        self.actions = actions
        self.also = also
        self.url = f"{'http' if is_local(host) else 'https'}://{host}"
        self.session: Session = requests.Session()
        # requests would take credentials from ~/.netrc and send them to the registry
        # in place of ours; proxies and CA bundles are still taken from the environment.
        self.session.auth = lambda request: request
        # A server closes a connection that stood idle, sometimes just when it is used again.
        again = HTTPAdapter(
            max_retries=Retry(1, connect=0, read=1, status=0, allowed_methods={"GET", "HEAD"})
        )
        self.session.mount("https://", again)
        self.session.mount("http://", again)
        self.authorization: str | None = None

    def manifest(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Return the digest and content of the manifest with a tag or digest, None if absent."""
        answer = self._manifest(name)
        if answer is None:
            return None
        return digest_bytes(answer.content), self._json(answer)

    def manifest_bytes(self, name: str) -> tuple[bytes, str] | None:
        """Return a manifest as it is, and its media type; None if absent."""
        answer = self._manifest(name)
        if answer is None:
            return None
        told = self._json(answer).get("mediaType")
        return answer.content, str(told or answer.headers.get("Content-Type", ""))

    def _manifest(self, name: str) -> Response | None:
        answer = self.ask("GET", f"manifests/{name}", accept=", ".join(INDEXES + MANIFESTS))
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise self.refusal(answer)
        if name.startswith("sha256:") and digest_bytes(answer.content) != name:
            raise self.nonsense(f"a manifest that is not {name}")
        return answer

    def blob(self, digest: str) -> dict[str, Any]:
        """Return a blob of JSON, checked against its digest."""
        return self._json(self._blob(digest))

    def blob_bytes(self, digest: str) -> bytes:
        """Return a small blob as it is, checked against its digest."""
        return self._blob(digest).content

    def _blob(self, digest: str) -> Response:
        answer = self.ask("GET", f"blobs/{digest}")
        if answer.status_code != 200:
            raise self.refusal(answer)
        if digest_bytes(answer.content) != digest:
            raise self.nonsense(f"a blob that is not {digest}")
        return answer

    def at(self, path: str) -> str:
        """Return the address of something in the repository."""
        return f"{self.url}/v2/{self.reference.repository}/{path}"

    def ask(self, method: str, path: str, *, accept: str = "*/*") -> Response:
        """Send a small request about the repository."""
        return self.request(method, self.at(path), accept=accept)

    def request(self, method: str, url: str, *, accept: str = "*/*") -> Response:
        """Send a request; whatever goes wrong on the way is a `ToolError`."""
        import requests

        try:
            return self.send(method, url, headers={"Accept": accept})
        except (requests.exceptions.RequestException, UnicodeError) as error:
            raise self.unreachable(error) from error

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        stream: bool = False,
        redirects: bool = True,
        patience: float = TIMEOUT[1],
    ) -> Response:
        """Send a request, logging in when the registry wants that (again: a login expires).

        Credentials go to the registry's own address only, not to where it
        redirects. A body that is read from a file is not sent a second time:
        that is for the caller, who knows how much of it has arrived.
        """
        answer = self._send(method, url, headers, data, stream, redirects, patience)
        if answer.status_code == 401 and self._ours(url):
            before = self.authorization
            self.authorization = self._log_in(answer.headers.get("WWW-Authenticate", ""))
            changed = self.authorization not in (None, before)
            if changed and (data is None or isinstance(data, bytes)):
                answer.close()
                answer = self._send(method, url, headers, data, stream, redirects, patience)
        return answer

    def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, data: Any,
        stream: bool, redirects: bool, patience: float,  # noqa: FBT001
    ) -> Response:  # fmt: skip
        sent = dict(headers or {})
        if self.authorization and self._ours(url):
            sent["Authorization"] = self.authorization
        return self.session.request(
            method, url, headers=sent, data=data, stream=stream, allow_redirects=redirects,
            timeout=(TIMEOUT[0], patience),
        )  # fmt: skip

    def patient(self, method: str, url: str, **options: Any) -> Response:
        """Send a request whose repetition does no harm, again where the registry was busy."""
        import requests

        for pause in (*PAUSES, None):
            try:
                answer = self.send(method, url, **options)
            except requests.exceptions.SSLError as error:
                raise self.unreachable(error) from error
            except (requests.exceptions.RequestException, UnicodeError) as error:
                if pause is None:
                    raise self.unreachable(error) from error
            else:
                if answer.status_code not in BUSY or pause is None:
                    return answer
                pause = wanted(answer, pause)
            time.sleep(pause)
        raise AssertionError  # the last turn returns or raises

    def location(self, answer: Response, before: str) -> str:
        """Return where an answer says to go on."""
        told = answer.headers.get("Location", "")
        if not told:
            raise self.nonsense("no place to upload to")
        return urljoin(before, told)

    def _ours(self, url: str) -> bool:
        there, here = urlsplit(url), urlsplit(self.url)
        return (there.scheme, there.netloc) == (here.scheme, here.netloc)

    def unreachable(self, error: Exception) -> ToolError:
        """Return what a request that got no answer means."""
        import requests

        if isinstance(error, requests.exceptions.SSLError):
            return ToolError(
                f"The registry {self.reference.registry} shows a TLS certificate that cannot be "
                "verified.",
                "Name the certificate authority in REQUESTS_CA_BUNDLE.",
                tool="registry",
                output=command.redact(str(error)),
            )
        return ToolError(
            f"The registry {self.reference.registry} cannot be reached.",
            "Check its name, the network and the proxy.",
            tool="registry",
            output=command.redact(str(error)),
        )

    def refusal(self, answer: Response) -> ToolError:
        """Return what an unwelcome answer means."""
        registry, status = self.reference.registry, answer.status_code
        if status in (401, 403):
            message = (
                f"The registry {registry} does not let you "
                f"{'push to' if 'push' in self.actions else 'read'} {self.reference.repository}."
            )
            remedy = f"Log in: docker login {registry}."
            if (file := damaged()) is not None:
                message += f" {file}, where logins are kept, is damaged: nobody is logged in."
                remedy = f"Repair it or move it away. {remedy}"
            return ToolError(message, remedy, tool="registry")
        if status == 404 and "push" in self.actions:
            return ToolError(
                f"The registry {registry} has no repository {self.reference.repository}, and does "
                "not make one of itself.",
                "Create it there, or name another with --repository.",
                tool="registry",
                output=command.redact(answer.text[:500]),
            )
        if status == 404:
            return absent(self.reference)
        if status == 413:
            return ToolError(
                f"The registry {registry}, or a proxy before it, refuses a part of the image as "
                "too large.",
                "Ask whoever runs it to raise the limit (nginx: client_max_body_size).",
                tool="registry",
            )
        if status == 507 or (status >= 500 and re.search(_FULL, answer.text[:2000], re.I)):
            return ToolError(
                f"The registry {registry} is full.",
                "Delete old images there, or ask whoever runs it; then run this again: what was "
                "uploaded is not sent twice.",
                tool="registry",
                output=command.redact(answer.text[:500]),
            )
        return ToolError(
            f"The registry {registry} answered {status} {answer.reason}.",
            "It is too busy: wait a little." if status == 429 else "Ask whoever runs it.",
            tool="registry",
            output=command.redact(answer.text[:500]),
        )

    def nonsense(self, what: str) -> WrongContentError:
        """Return what an answer means that a registry cannot give."""
        return WrongContentError(
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
            raise self.nonsense("something that is not JSON: is it a registry?")
        return content

    def _log_in(self, challenge: str) -> str | None:
        scheme, _, rest = challenge.partition(" ")
        known = login(self.reference.registry)
        if scheme.lower() == "basic":
            return basic(known) if known else None
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = fields.get("realm", "")
        if scheme.lower() != "bearer" or not realm:
            return None
        where = urlsplit(realm)
        if where.scheme != "https" and not is_local(where.netloc):
            known = None  # never send a password in the clear
        scope = fields.get("scope") or f"repository:{self.reference.repository}:{self.actions}"
        if "push" in self.actions and "push" not in scope:
            scope = f"repository:{self.reference.repository}:{self.actions}"
        wanted = [f"repository:{name}:pull" for name in self.also]
        scopes = [scope, *(other for other in wanted if other not in scope)]
        query = {"service": fields.get("service", ""), "scope": scopes}
        import requests

        try:
            if known and known[0] == "<token>":
                form = {"grant_type": "refresh_token", "refresh_token": known[1]}
                answer = self.session.post(
                    realm,
                    data={**form, **query, "scope": " ".join(scopes), "client_id": "mlrepro"},
                    timeout=TIMEOUT,
                )
            else:
                headers = {"Authorization": basic(known)} if known else {}
                answer = self.session.get(realm, params=query, headers=headers, timeout=TIMEOUT)
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


def wanted(answer: Response, pause: float) -> float:
    """Return how long to wait: as long as the registry asks for, within reason."""
    told = answer.headers.get("Retry-After", "")
    return min(float(told), 60.0) if told.isdecimal() else pause
