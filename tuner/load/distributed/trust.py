"""Who may take part: both sides prove that they know the token, and seal what they send each other afterwards. Pure.

The token itself never travels. A challenge of both sides' random numbers is answered with HMAC-SHA256 keyed by the
token; the keys of the session come from the same challenge, so what was sealed in one session is worthless in another.
"""

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

TOKEN = "PARETUNE_TOKEN"  # noqa: S105 - the name of the variable, not its value
MIN_TOKEN_CHARACTERS = 16
NONCE_BYTES = 32
_SEAL_BYTES = 32


class AgentsUsageError(Exception):
    """Agents were asked for in a way that cannot work; the message says what to change."""


class ForgedError(Exception):
    """A message was not sealed with the session's key."""


def read_token(environment: Mapping[str, str]) -> bytes:
    """Return the token that master and agents share.

    Raises:
        AgentsUsageError: there is none, or it is so short that it can be guessed.
    """
    token = environment.get(TOKEN, "").strip()
    if not token:
        raise AgentsUsageError(
            f"{TOKEN} is not set: master and agents share a token, the same on every machine; make one with "
            "`openssl rand -hex 32`"
        )
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise AgentsUsageError(
            f"{TOKEN} has {len(token)} characters and can be guessed: give it {MIN_TOKEN_CHARACTERS} at least; make "
            "one with `openssl rand -hex 32`"
        )
    return token.encode()


@dataclass(frozen=True)
class Challenge:
    """What both sides prove their token over: the agent's introduction and a random number of each.

    Attributes:
        hello: how the agent introduces itself.
        agent_nonce: random bytes of the agent.
        master_nonce: random bytes of the master.
    """

    hello: Mapping[str, str | int]
    agent_nonce: bytes
    master_nonce: bytes

    def proof(self, token: bytes, role: str) -> bytes:
        """Return what only a side that knows the token can say; the roles `master` and `agent` say different things."""
        return self._digest(token, f"proof of {role}")

    def proves(self, token: bytes, role: str, proof: object) -> bool:
        """Whether a proof is the one of that role."""
        return isinstance(proof, bytes) and hmac.compare_digest(proof, self.proof(token, role))

    def seal(self, token: bytes, sender: str) -> "Seal":
        """Return what seals the messages of a side in this session."""
        return Seal(self._digest(token, f"seal of {sender}"))

    def _digest(self, token: bytes, purpose: str) -> bytes:
        said = json.dumps(dict(self.hello), sort_keys=True).encode()
        parts = [purpose.encode(), self.agent_nonce, self.master_nonce, said]
        return hmac.digest(token, b"".join(len(part).to_bytes(4, "big") + part for part in parts), "sha256")


@dataclass(frozen=True)
class Seal:
    """Seals messages of one side with a key, and checks them on the other."""

    key: bytes

    def sealed(self, body: bytes) -> bytes:
        """Return a message with its seal in front."""
        return hmac.digest(self.key, body, "sha256") + body

    def opened(self, message: object) -> bytes:
        """Return the body of a sealed message.

        Raises:
            ForgedError: somebody else sealed it, or nobody.
        """
        if isinstance(message, bytes):
            seal, body = message[:_SEAL_BYTES], message[_SEAL_BYTES:]
            if hmac.compare_digest(seal, hmac.digest(self.key, body, "sha256")):
                return body
        raise ForgedError("a message without the session's seal")


def nonce() -> bytes:
    """Return random bytes for a challenge."""
    return secrets.token_bytes(NONCE_BYTES)
