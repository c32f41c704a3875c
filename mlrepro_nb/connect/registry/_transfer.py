"""Blobs and manifests, to and from a registry, whatever happens on the way.

A download goes on where it was cut off, even in another process; an upload goes
on where the registry says that it stopped. Manifests come last, so that a name
never leads to an image that is not whole.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from mlrepro_nb.connect.registry._conversation import (
    BUSY,
    INDEXES,
    PAUSES,
    Conversation,
    absent,
    wanted,
)
from mlrepro_nb.connect.registry._images import of_platform
from mlrepro_nb.connect.registry._reference import parse
from mlrepro_nb.model import Report, Step, digest_bytes, short, silent

if TYPE_CHECKING:
    from requests import Response

_SMALL = 1 << 20
"""Bytes up to which a blob is sent in one request."""
_PIECE = 1 << 18
_COMMIT = 300.0
"""Seconds that a registry may take to put a big blob into its place."""

Arrived = Callable[[int], None]


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """A file that goes to a registry under its digest."""

    digest: str
    path: Path
    size: int
    origin: str | None = None
    """Repository of the same registry that is known to have it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest, byte by byte."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """What it is called by."""
        return digest_bytes(self.content)


def manifest(reference: str, *, platform: str) -> Manifest:
    """Return the manifest of an image; of an index, the one for the platform.

    Raises
    ------
    ToolError
        The registry is unreachable, refuses, or has no such image.
    """
    parsed = parse(reference)
    conversation = Conversation(parsed)
    found = conversation.manifest_bytes(parsed.digest or parsed.tag or "latest")
    if found is not None and found[1] in INDEXES:
        chosen = of_platform(msgspec.json.decode(found[0]), platform, reference)
        found = conversation.manifest_bytes(chosen)
    if found is None:
        raise absent(parsed)
    return Manifest(content=found[0], media_type=found[1])


def download(
    reference: str, digest: str, size: int, path: Path, *, report: Report = silent
) -> None:
    """Write a blob to a file; what the file has already is not fetched again.

    Raises
    ------
    ToolError
        The registry is unreachable or does not have it, or what came is another
        blob; then the file is gone.
    """
    import requests

    conversation = Conversation(parse(reference))
    what = f"fetching {short(digest)}"
    for pause in (*PAUSES, None):
        have = path.stat().st_size if path.exists() else 0
        if have >= size:
            break
        headers = {"Range": f"bytes={have}-", "Accept": "*/*"} if have else {"Accept": "*/*"}
        try:
            answer = conversation.send(
                "GET", conversation.at(f"blobs/{digest}"), headers=headers, stream=True
            )
            with answer:
                if answer.status_code in (200, 206):
                    _receive(answer, path, size, lambda n: report(_step(what, n, size)))
                elif answer.status_code not in BUSY or pause is None:
                    raise conversation.refusal(answer)
        except requests.exceptions.SSLError as error:
            raise conversation.unreachable(error) from error
        except (requests.exceptions.RequestException, UnicodeError) as error:
            if pause is None:
                raise conversation.unreachable(error) from error
        if pause is not None and (not path.exists() or path.stat().st_size < size):
            time.sleep(pause)
    if path.stat().st_size != size or _digest(path) != digest:
        path.unlink()
        raise conversation.nonsense(f"a blob that is not {digest}")


def _receive(answer: Response, path: Path, size: int, arrived: Arrived) -> None:
    # 200 where a part was asked for: the registry cannot begin in the middle.
    with path.open("ab" if answer.status_code == 206 else "wb") as file:
        done = file.tell()
        for piece in answer.iter_content(_PIECE):
            if done + len(piece) > size:
                file.write(piece[: size - done])
                break
            file.write(piece)
            done += len(piece)
            arrived(done)


def push(
    repository: str,
    manifest: Manifest,
    blobs: Sequence[Blob],
    tags: Sequence[str],
    *,
    report: Report = silent,
) -> None:
    """Push an image under all its tags: blobs that the registry lacks first, then the manifest.

    Raises
    ------
    ToolError
        The registry is unreachable, refuses, is full. No tag leads to an image
        that is not whole; run again, it goes on with the blobs that are missing.
    """
    origins = tuple(
        {b.origin for b in blobs if b.origin and b.origin != parse(repository).repository}
    )
    conversation = Conversation(parse(repository), actions="pull,push", also=origins)
    total = sum(blob.size for blob in blobs)
    done = 0
    for blob in blobs:
        before = done
        what = f"pushing {short(blob.digest)} ({blob.size / 1e6:.1f} MB)"
        report(_step(what, before, total))
        upload(
            conversation,
            blob,
            lambda n, before=before, what=what: report(_step(what, before + n, total)),  # type: ignore[misc]
        )
        done += blob.size
    for name in (manifest.digest, *tags):
        report(_step(f"naming it {name}", total, total))
        put_manifest(conversation, name, manifest)


def put_manifest(conversation: Conversation, name: str, manifest: Manifest) -> Response:
    """Put a manifest under a tag or its digest, once all that it names is there."""
    answer = conversation.patient(
        "PUT",
        conversation.at(f"manifests/{name}"),
        headers={"Content-Type": manifest.media_type},
        data=manifest.content,
        redirects=False,
    )
    if answer.status_code not in (200, 201, 202):
        raise conversation.refusal(answer)
    told = answer.headers.get("Docker-Content-Digest", manifest.digest)
    if told != manifest.digest:
        raise conversation.nonsense(f"another digest, {told}, than what was pushed")
    return answer


def _step(what: str, done: int, total: int) -> Step:
    return Step(message=what, done=float(done), total=float(max(total, 1)))


def upload(conversation: Conversation, blob: Blob, arrived: Arrived) -> None:
    """Send a blob, unless the registry has it or takes it from another repository."""
    answer = conversation.patient("HEAD", conversation.at(f"blobs/{blob.digest}"))
    if answer.status_code == 200:
        return
    place = _mount(conversation, blob)
    if place == "":
        return
    if blob.size <= _SMALL:
        _send_whole(conversation, blob, place)
    else:
        _send_parts(conversation, blob, place, arrived)


def _mount(conversation: Conversation, blob: Blob) -> str | None:
    """Return ``""`` once the blob is there from its other repository, else where to send it."""
    if not blob.origin:
        return None
    address = conversation.at(f"blobs/uploads/?mount={blob.digest}&from={blob.origin}")
    answer = conversation.patient("POST", address, redirects=False)
    if answer.status_code == 201:
        return ""
    # What the registry may not, or cannot, take from there is sent to it.
    return conversation.location(answer, address) if answer.status_code == 202 else None


def _begin(conversation: Conversation) -> str:
    address = conversation.at("blobs/uploads/")
    answer = conversation.patient("POST", address, redirects=False)
    if answer.status_code != 202:
        raise conversation.refusal(answer)
    return conversation.location(answer, address)


def _commit(place: str, digest: str) -> str:
    return f"{place}{'&' if '?' in place else '?'}digest={digest}"


def _send_whole(conversation: Conversation, blob: Blob, place: str | None) -> None:
    import requests

    content = blob.path.read_bytes()
    for pause in (*PAUSES, None):
        where = _commit(place or _begin(conversation), blob.digest)
        place = None
        try:
            answer = _put(conversation, where, content)
        except (requests.exceptions.RequestException, UnicodeError) as error:
            if pause is None or isinstance(error, requests.exceptions.SSLError):
                raise conversation.unreachable(error) from error
            time.sleep(pause)
            continue
        if answer.status_code == 201:
            return
        if answer.status_code not in {*BUSY, 404} or pause is None:
            raise conversation.refusal(answer)
        time.sleep(wanted(answer, pause))


def _put(conversation: Conversation, where: str, content: bytes) -> Response:
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(content))}
    for _ in range(3):
        answer = conversation.send(
            "PUT", where, headers=headers, data=content, redirects=False, patience=_COMMIT
        )
        if answer.status_code not in (307, 308):
            break
        where = conversation.location(answer, where)
    return answer


def _send_parts(
    conversation: Conversation, blob: Blob, place: str | None, arrived: Arrived
) -> None:
    """Send a big blob, each time from where the registry says that it stopped."""
    import requests

    progress = -1
    pauses: Iterator[float] = iter(PAUSES)
    while True:
        offset = 0
        try:
            if place is not None:
                place, offset = _where_it_stopped(conversation, place)
            place = place or _begin(conversation)
            if offset < blob.size:
                answer = _patch(conversation, blob, place, offset, arrived)
                if answer.status_code in (201, 202, 204):
                    place = conversation.location(answer, place)
                    answer = _put(conversation, _commit(place, blob.digest), b"")
            else:
                answer = _put(conversation, _commit(place, blob.digest), b"")
            if answer.status_code == 201:
                return
            if answer.status_code not in {*BUSY, 401, 404, 416}:
                raise conversation.refusal(answer)
            failed: Exception = conversation.refusal(answer)
            if answer.status_code == 404:
                place = None  # that upload was forgotten
        except requests.exceptions.SSLError as error:
            raise conversation.unreachable(error) from error
        except (requests.exceptions.RequestException, UnicodeError) as error:
            failed = conversation.unreachable(error)
        if offset > progress >= 0:
            pauses = iter(PAUSES)  # it gets on, if in pieces
        progress = max(progress, offset)
        pause = next(pauses, None)
        if pause is None:
            raise failed
        time.sleep(pause)


def _where_it_stopped(conversation: Conversation, place: str) -> tuple[str | None, int]:
    answer = conversation.send("GET", place, redirects=False)
    if answer.status_code not in (200, 202, 204):
        return None, 0
    found = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", ""))
    # "0-0" is what registries say of an upload that has nothing yet.
    offset = int(found[1]) + 1 if found and found[1] != "0" else 0
    return (
        conversation.location(answer, place) if answer.headers.get("Location") else place
    ), offset


def _patch(
    conversation: Conversation, blob: Blob, place: str, offset: int, arrived: Arrived
) -> Response:
    headers = {"Content-Type": "application/octet-stream"}
    if offset:
        headers["Content-Range"] = f"{offset}-{blob.size - 1}"
    for _ in range(3):
        with blob.path.open("rb") as file:
            file.seek(offset)
            answer = conversation.send(
                "PATCH",
                place,
                headers=headers,
                data=_Rest(file, offset, blob.size, arrived),
                redirects=False,
                patience=_COMMIT,
            )
        if answer.status_code not in (307, 308):
            break
        place = conversation.location(answer, place)
    return answer


class _Rest:
    """What is left of a file, told as it is read; its length makes requests send it as it is."""

    def __init__(self, file: BinaryIO, offset: int, size: int, arrived: Arrived) -> None:
        self.file, self.at, self.size, self.arrived = file, offset, size, arrived

    def __len__(self) -> int:
        return self.size - self.at

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(_PIECE):
            yield piece

    def read(self, size: int = -1) -> bytes:
        """Return the next piece."""
        piece = self.file.read(_PIECE if size < 0 else min(size, _PIECE))
        self.at += len(piece)
        self.arrived(self.at)
        return piece


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return f"sha256:{found.hexdigest()}"
