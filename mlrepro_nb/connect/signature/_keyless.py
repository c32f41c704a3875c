"""Keyless signing through Sigstore: an identity token instead of a key.

Thin: Fulcio, Rekor and the token are the `sigstore` library's business.
"""

from __future__ import annotations

from typing import Any

from mlrepro_nb.connect.signature._bundle import Bundle
from mlrepro_nb.errors import ToolError, UsageError


class Keyless:
    """A signer that Sigstore's public instance vouches for.

    Raises
    ------
    UsageError
        No identity token is there: that is for CI (GitHub, GitLab, Google Cloud) to give.
    ToolError
        The library is not installed.
    """

    def __init__(self) -> None:
        oidc = _library("sigstore.oidc")
        try:
            token = oidc.detect_credential()
        except oidc.IdentityError as error:
            token, why = None, f" ({error})"
        else:
            why = ""
        if not token:
            raise UsageError(
                f"Keyless signing needs an identity token, and there is none{why}.",
                "Run it in CI with permission to get one (GitHub: id-token: write), or sign with "
                "a key: --sign FILE.key.",
            )
        self._token = oidc.IdentityToken(token)
        self.name = f"identity {self._token.identity}"

    def sign(self, statement: bytes) -> bytes:
        """Return a bundle with a statement: signed, certified and logged."""
        sign, dsse, models = (_library(f"sigstore.{n}") for n in ("sign", "dsse", "models"))
        try:
            context = sign.SigningContext.from_trust_config(models.ClientTrustConfig.production())
            with context.signer(self._token) as signer:
                bundle = signer.sign_dsse(dsse.Statement(statement))
        except Exception as error:
            raise ToolError(
                "Sigstore did not sign.", "What it said tells why.", tool="sigstore",
                output=str(error),
            ) from error  # fmt: skip
        return str(bundle.to_json()).encode()


def identity_trouble(bundle: Bundle, identity: str, issuer: str | None) -> str | None:
    """Return why an identity does not vouch for a bundle, None where it does.

    Raises
    ------
    ToolError
        The library is not installed, or the trust root cannot be fetched.
    """
    verify, policy, models, errors = (
        _library(f"sigstore.{n}") for n in ("verify", "verify.policy", "models", "errors")
    )
    try:
        verifier = verify.Verifier.production()
    except Exception as error:
        raise ToolError(
            "Sigstore's trust root cannot be fetched.", "Check the network.", tool="sigstore",
            output=str(error),
        ) from error  # fmt: skip
    try:
        signed = models.Bundle.from_json(bundle.content)
        _, payload = verifier.verify_dsse(signed, policy.Identity(identity=identity, issuer=issuer))
    except (errors.VerificationError, models.InvalidBundle) as error:
        return f"Sigstore does not accept it: {error}"
    return None if payload == bundle.payload else "what was signed is another statement"


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ToolError(
            "Keyless signatures need the distribution `sigstore`, which is not installed.",
            "pip install 'mlrepro-nb[keyless]', or use a key.",
            tool="sigstore",
        ) from error
