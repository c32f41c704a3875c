"""Keys and bundles: what is accepted, what is refused, and why."""

from __future__ import annotations

import contextlib
import json
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.connect import signature
from mlrepro_nb.errors import ToolError, UsageError

PASSWORD = "pass word"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "team"
    signature.new_pair(path, PASSWORD)
    return path


@pytest.fixture(scope="module")
def private(pair: Path) -> signature.PrivateKey:
    return signature.private(pair.with_name("team.key"), lambda: PASSWORD)


@pytest.fixture
def public(pair: Path) -> signature.PublicKey:
    return signature.public(pair.with_name("team.pub"))


def test_the_private_key_is_encrypted_and_for_its_owner_alone(pair: Path) -> None:
    file = pair.with_name("team.key")
    assert b"ENCRYPTED PRIVATE KEY" in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"BEGIN PUBLIC KEY" in pair.with_name("team.pub").read_bytes()


def test_no_key_is_overwritten_and_none_is_without_a_password(pair: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there already"):
        signature.new_pair(pair, PASSWORD)
    with pytest.raises(UsageError, match="without a password"):
        signature.new_pair(tmp_path / "a", "")
    assert list(tmp_path.iterdir()) == []


def test_the_password_is_the_environment_s_else_asked_for(
    pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pair.with_name("team.key")
    monkeypatch.delenv(signature.PASSWORD, raising=False)
    with pytest.raises(UsageError, match="wants its password"):
        signature.private(file)
    with pytest.raises(UsageError, match="is wrong"):
        signature.private(file, lambda: "x")
    monkeypatch.setenv(signature.PASSWORD, PASSWORD)
    assert signature.private(file, lambda: "x").public.hint


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"nonsense", "not a private key"),
     (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n", "cosign's own way")],
)  # fmt: skip
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        signature.private(tmp_path / "k")
    with pytest.raises(UsageError, match="not a public key"):
        signature.public(tmp_path / "k")
    with pytest.raises(UsageError, match="cannot be read"):
        signature.public(tmp_path / "none")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )  # fmt: skip
    (tmp_path / "k").write_bytes(pem)
    with pytest.raises(UsageError, match="not an ECDSA key on P-256"):
        signature.private(tmp_path / "k")


def test_a_bundle_is_as_sigstore_has_it(private: signature.PrivateKey) -> None:
    from sigstore_models.bundle.v1 import Bundle

    content = signature.KeySigner(private).sign(b'{"a": 1}')
    found = Bundle.from_json(content)
    assert found.media_type == signature.BUNDLE
    assert found.verification_material.public_key.hint == private.public.hint


@given(statement=st.binary(max_size=200))
def test_what_is_signed_is_read_back_and_accepted(
    private: signature.PrivateKey, statement: bytes
) -> None:
    found = signature.read(signature.KeySigner(private).sign(statement))
    assert found.payload == statement
    assert signature.trouble(found, private.public) is None


def test_the_same_statement_has_the_same_signature(private: signature.PrivateKey) -> None:
    signer = signature.KeySigner(private)
    assert signer.sign(b"{}") == signer.sign(b"{}")


def test_each_way_to_be_wrong_has_its_reason(private: signature.PrivateKey, tmp_path: Path) -> None:
    _, other = signature.new_pair(tmp_path / "other", PASSWORD)
    good = signature.read(signature.KeySigner(private).sign(b"{}"))
    change = msgspec.structs.replace
    assert "another key" in str(signature.trouble(good, signature.public(other)))
    assert "changed after" in str(signature.trouble(change(good, payload=b"[]"), private.public))
    assert "changed after" in str(
        signature.trouble(change(good, signatures=(b"x",)), private.public)
    )
    assert "changed after" in str(signature.trouble(change(good, signatures=()), private.public))
    assert "keyless" in str(signature.trouble(change(good, hint=None), private.public))
    assert "no in-toto" in str(
        signature.trouble(change(good, payload_type="text/plain"), private.public)
    )


@given(st.binary(max_size=100) | st.recursive(
    st.none() | st.text(max_size=5) | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["dsseEnvelope", "verificationMaterial", "payload", "payloadType",
                         "signatures", "sig", "publicKey"]), inner, max_size=4),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_anything_is_a_bundle_or_an_error_of_ours(content: bytes) -> None:
    with contextlib.suppress(ToolError):
        assert isinstance(signature.read(content), signature.Bundle)


def test_keyless_without_a_token_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI",
                 "ACTIONS_ID_TOKEN_REQUEST_TOKEN"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: None)
    with pytest.raises(UsageError, match="needs an identity token"):
        signature.Keyless()
