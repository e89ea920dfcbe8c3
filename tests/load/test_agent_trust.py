"""Proofs and seals: what a side without the token cannot make."""

from dataclasses import replace

import pytest

from tuner.load.distributed.trust import AgentsUsageError, Challenge, ForgedError, nonce, read_token

TOKEN = b"a token that is long enough"
CHALLENGE = Challenge({"host": "a", "cores": 4}, nonce(), nonce())


@pytest.mark.parametrize("environment", [{}, {"PARETUNE_TOKEN": ""}, {"PARETUNE_TOKEN": "  "}])
def test_no_token_is_an_error_that_says_how_to_make_one(environment: dict[str, str]) -> None:
    with pytest.raises(AgentsUsageError, match=r"PARETUNE_TOKEN is not set.*openssl rand"):
        read_token(environment)


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(AgentsUsageError, match="has 6 characters"):
        read_token({"PARETUNE_TOKEN": "secret"})


def test_who_knows_the_token_proves_it() -> None:
    assert CHALLENGE.proves(TOKEN, "agent", CHALLENGE.proof(TOKEN, "agent"))


@pytest.mark.parametrize(
    "proof",
    [
        None,
        "",
        b"",
        CHALLENGE.proof(b"another token that is long", "agent"),
        CHALLENGE.proof(TOKEN, "master"),
        replace(CHALLENGE, master_nonce=nonce()).proof(TOKEN, "agent"),
        replace(CHALLENGE, hello={"host": "b", "cores": 4}).proof(TOKEN, "agent"),
    ],
    ids=["none", "text", "empty", "other token", "other role", "other session", "other introduction"],
)
def test_nothing_else_proves_it(proof: object) -> None:
    assert not CHALLENGE.proves(TOKEN, "agent", proof)


def test_a_sealed_message_is_opened_by_the_other_side() -> None:
    sealed = CHALLENGE.seal(TOKEN, "master").sealed(b"a plan")
    assert CHALLENGE.seal(TOKEN, "master").opened(sealed) == b"a plan"


@pytest.mark.parametrize("sender", ["agent", "master"])
def test_a_message_that_was_changed_or_sealed_by_another_is_forged(sender: str) -> None:
    sealed = bytearray(CHALLENGE.seal(TOKEN, "master").sealed(b"a plan"))
    if sender == "master":
        sealed[-1] ^= 1
    with pytest.raises(ForgedError):
        CHALLENGE.seal(TOKEN, sender).opened(bytes(sealed))


@pytest.mark.parametrize("message", [None, 3, "text", b"", b"short"])
def test_what_has_no_seal_is_forged(message: object) -> None:
    with pytest.raises(ForgedError):
        CHALLENGE.seal(TOKEN, "agent").opened(message)
