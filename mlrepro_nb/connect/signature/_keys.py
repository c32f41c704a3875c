"""Key pairs: ECDSA on P-256, as PEM files; the private one encrypted with a password."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlrepro_nb.errors import ToolError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

PASSWORD = "MLREPRO_KEY_PASSWORD"
"""Environment variable that holds the password of the private key."""

Ask = Callable[[], str]
"""Asks a person for a password."""


class PublicKey:
    """A key that signatures are checked with."""

    def __init__(self, key: EllipticCurvePublicKey) -> None:
        self._key = key

    @property
    def hint(self) -> str:
        """What a bundle calls it by: base64 of the SHA-256 of its DER form, as cosign has it."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        der = self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(der).digest()).decode("ascii")

    @property
    def pem(self) -> bytes:
        """The key as a PEM file has it."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def accepts(self, data: bytes, signature: bytes) -> bool:
        """Whether the private key of the pair signed these bytes."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            self._key.verify(signature, data, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A key that signs."""

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> PublicKey:
        """The other key of the pair."""
        return PublicKey(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Return the signature of some bytes; the same for the same bytes where OpenSSL can."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256

        # RFC 6979: what is signed again is not another artifact in the registry.
        with contextlib.suppress(UnsupportedAlgorithm):
            return self._key.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True))
        return self._key.sign(data, ec.ECDSA(SHA256()))


def new_pair(path: Path, password: str) -> tuple[Path, Path]:
    """Make a key pair: ``PATH.key``, encrypted, and ``PATH.pub``. No file is overwritten.

    Raises
    ------
    UsageError
        One of the files is there, or the password is empty.
    """
    _needs_cryptography()
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
    )

    if not password:
        raise UsageError("A private key without a password is anybody's.", "Give one.")
    secret, shown = path.with_name(f"{path.name}.key"), path.with_name(f"{path.name}.pub")
    for file in (secret, shown):
        if file.exists():
            raise UsageError(f"{file} is there already.", "Name another place; keys are kept.")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, content, mode in (
            (secret, pem, 0o600),
            (shown, PrivateKey(key).public.pem, 0o644),
        ):
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written: {error.strerror}.", "Name another place."
        ) from error
    return secret, shown


def private(path: Path, ask: Ask | None = None) -> PrivateKey:
    """Read a private key; its password is that of MLREPRO_KEY_PASSWORD, else one that is asked for.

    Raises
    ------
    UsageError
        The file is not such a key, or the password is missing or wrong.
    """
    _needs_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = _read(path)
    password: bytes | None = None
    if b"ENCRYPTED SIGSTORE" in pem or b"ENCRYPTED COSIGN" in pem:
        raise UsageError(
            f"{path} is encrypted in cosign's own way, which is not read here.",
            "Make a pair with `mlrepro key new`; cosign verifies with its public key as well.",
        )
    if b"ENCRYPTED" in pem:
        told = os.environ.get(PASSWORD)
        if told is None and ask is not None:
            told = ask()
        if not told:
            raise UsageError(f"The key {path} wants its password.", f"Set {PASSWORD}.")
        password = told.encode()
    try:
        key = load_pem_private_key(pem, password)
    except ValueError as error:
        wrong = password is not None
        raise UsageError(
            f"The password of {path} is wrong." if wrong else f"{path} is not a private key.",
            f"Set {PASSWORD} to the one that it was made with." if wrong else "Name a PEM file.",
        ) from error
    except TypeError as error:
        raise UsageError(f"The key {path} wants its password.", f"Set {PASSWORD}.") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise UsageError(
            f"{path} is not an ECDSA key on P-256.", "Make one with `mlrepro key new`."
        )
    return PrivateKey(key)


def public(path: Path) -> PublicKey:
    """Read a public key.

    Raises
    ------
    UsageError
        The file is not one.
    """
    _needs_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(path))
    except ValueError as error:
        raise UsageError(
            f"{path} is not a public key.", "Name the PEM file that ends in .pub."
        ) from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise UsageError(
            f"{path} is not an ECDSA key on P-256.", "Name the .pub of `mlrepro key new`."
        )
    return PublicKey(key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The key {path} cannot be read: {error.strerror}.", "Check its path."
        ) from error


def _needs_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise ToolError(
            "Signatures need the distribution `cryptography`, which is not installed.",
            "pip install 'mlrepro-nb[containers]' brings it.",
            tool="cryptography",
        ) from error
