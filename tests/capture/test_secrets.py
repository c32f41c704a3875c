"""What is masked before it is kept, and what is left as it was written."""

# ruff: noqa: E501
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.capture.secrets import is_secret_name, mask, mask_notebook, mask_values

SECRETS = [
    ('password = "hunter2x"', "hunter2x"),
    ("db_password='hunter2x'", "hunter2x"),
    ('connect(user="me", passwd="hunter2x")', "hunter2x"),
    ('config = {"api_key": "hunter2x"}', "hunter2x"),
    ('os.environ["MY_SECRET"] = "hunter2x"', "hunter2x"),
    ('os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "hunter2x")', "hunter2x"),
    ('TOKEN: str = "hunter2x"', "hunter2x"),
    ("%env OPENAI_API_KEY=hunter2x", "hunter2x"),
    ("!export HF_TOKEN=hunter2x && run", "hunter2x"),
    ("GITHUB_TOKEN=hunter2x", "hunter2x"),
    ('secret = """two\nhunter2x\nlines"""', "hunter2x"),
    ("postgresql://me:hunter2x@db/x", "hunter2x"),
    ("https://x.blob/f.csv?sig=hunter2x&b=1", "hunter2x"),
    ("key AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("ghp_" + "a" * 36, "a" * 36),
    ("sk_" + "live_" + "a1" * 12, "a1" * 12),
    ("https://hooks.slack.com/services/T0AAAAAAA/B0AAAAAAA/" + "b2" * 12, "b2" * 12),
    ("https://discord.com/api/webhooks/123456789012345678/" + "c3" * 30, "c3" * 30),
    ("SG." + "d4" * 11 + "." + "e5" * 20, "e5" * 20),
    ("Authorization: Bearer abcdefghijklmnop", "abcdefghijklmnop"),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEhunter2x\n-----END RSA PRIVATE KEY-----",
        "MIIEhunter2x",
    ),
]

PLAIN = [
    "token = tokenizer(text)",
    "secret = os.environ['MY_SECRET']",
    "max_tokens = 512",
    "for token in tokens:\n    print(token)",
    "assert password == other",
    "x = {'path': 'data/a.csv'}",
    "url = 'https://example.com/a.csv?x=1'",
    "model.fit(x, y)",
    "key = 'column'",
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secrets_are_masked(text: str, secret: str) -> None:
    assert secret not in mask(text)
    assert "***" in mask(text)


@pytest.mark.parametrize("text", PLAIN)
def test_code_without_secrets_stays_as_it_is(text: str) -> None:
    assert mask(text) == text


@given(st.text())
def test_masking_never_fails_and_twice_is_once(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


def test_values_of_secret_names_are_masked_at_any_depth() -> None:
    given_ = {
        "n": 3,
        "apiKey": "x",
        "db": {"password": 123456},
        "max_tokens": 9,
        "l": ["a"],
        "token": "",
    }
    assert mask_values(given_) == {
        "n": 3, "apiKey": "***", "db": {"password": "***"}, "max_tokens": 9, "l": ["a"], "token": "",
    }  # fmt: skip


def test_names() -> None:
    assert all(map(is_secret_name, ("password", "API_KEY", "hfToken", "x-auth", "client_secret")))
    about = ("REGISTRY_AUTH_USER", "SSH_AUTH_SOCK", "tokenUrl", "SECRET_FILE", "auth-type")
    assert not any(map(is_secret_name, about))
    assert not any(map(is_secret_name, ("author", "tokenizer", "keyboard", "passes", "n")))


def test_a_notebook_that_is_kept_shows_no_secret() -> None:
    picture = "iVBORw0KGgo-hunter2hunter2"
    nb = {
        "metadata": {"papermill": {"parameters": {"password": "hunter2hunter2", "n": 5}}},
        "cells": [
            {
                "source": ["password = 'hunter2hunter2'\n", "n = 5"],
                "outputs": [
                    {"output_type": "stream", "text": "it is hunter2hunter2\n"},
                    {"data": {"image/png": picture, "text/plain": "'hunter2hunter2'"}},
                ],
            }
        ],
    }
    kept = mask_notebook(nb, {"password": "hunter2hunter2", "n": 5})
    assert "hunter2" not in str(kept).replace(picture, "")
    assert kept["cells"][0]["outputs"][1]["data"]["image/png"] == picture, "not a text"
    assert kept["metadata"]["papermill"]["parameters"]["n"] == 5
    assert nb["cells"][0]["outputs"][0]["text"] == "it is hunter2hunter2\n", "a copy"
