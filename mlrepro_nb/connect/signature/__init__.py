"""The one door to signatures: key pairs, DSSE envelopes in Sigstore bundles, keyless signing.

A bundle is what `cosign verify --key` and `cosign verify-attestation --key` read.
https://github.com/sigstore/protobuf-specs, https://github.com/secure-systems-lab/dsse
"""

from mlrepro_nb.connect.signature._bundle import (
    BUNDLE,
    STATEMENT,
    Bundle,
    KeySigner,
    Signer,
    read,
    trouble,
)
from mlrepro_nb.connect.signature._keyless import Keyless, identity_trouble
from mlrepro_nb.connect.signature._keys import (
    PASSWORD,
    PrivateKey,
    PublicKey,
    new_pair,
    private,
    public,
)

__all__ = [
    "BUNDLE",
    "PASSWORD",
    "STATEMENT",
    "Bundle",
    "KeySigner",
    "Keyless",
    "PrivateKey",
    "PublicKey",
    "Signer",
    "identity_trouble",
    "new_pair",
    "private",
    "public",
    "read",
    "trouble",
]
