"""How the values of the knobs of sequences stand in Triton's ModelConfig."""

from typing import Any

from targets.base import Value
from targets.triton.fields import US_PER_S, Access

SHARE_DECIMALS = 6
"""Of a share that the message keeps as a float of 32 bits: as many as that has for certain below 1."""


def strategy() -> Access:
    """Return the access to how sequences are batched: `direct`, which is Triton's own choice, or `oldest`."""

    def read(config: Any) -> Value | None:
        if not config.HasField("sequence_batching"):
            return None
        return str(config.sequence_batching.WhichOneof("strategy_choice") or "direct")

    def write(config: Any, value: Value) -> None:
        getattr(config.sequence_batching, str(value)).SetInParent()

    return Access(read, write)


def candidates() -> Access:
    """Return the access to how many sequences of the strategy `oldest` are looked at; None for another strategy."""

    def read(config: Any) -> Value | None:
        batching = config.sequence_batching
        return int(batching.oldest.max_candidate_sequences) or None if batching.HasField("oldest") else None

    def write(config: Any, value: Value) -> None:
        config.sequence_batching.oldest.max_candidate_sequences = int(value)

    return Access(read, write)


def idle_time() -> Access:
    """Return the access to how long a sequence may be without a request, in seconds; 0 is a second to Triton."""

    def read(config: Any) -> Value | None:
        if not config.HasField("sequence_batching"):
            return None
        return float(config.sequence_batching.max_sequence_idle_microseconds or US_PER_S) / US_PER_S

    def write(config: Any, value: Value) -> None:
        config.sequence_batching.max_sequence_idle_microseconds = round(float(value) * US_PER_S)

    return Access(read, write)


def sequence_delay() -> Access:
    """Return the access to the queue delay, in seconds, of the strategy that a configuration has."""

    def strategy_of(config: Any) -> Any:
        batching = config.sequence_batching
        return getattr(batching, batching.WhichOneof("strategy_choice") or "direct")

    def read(config: Any) -> Value | None:
        if not config.HasField("sequence_batching"):
            return None
        return float(strategy_of(config).max_queue_delay_microseconds) / US_PER_S

    def write(config: Any, value: Value) -> None:
        strategy_of(config).max_queue_delay_microseconds = round(float(value) * US_PER_S)

    return Access(read, write)


def of_strategy(name: str, access: Access) -> Access:
    """Return an access that reads None where a configuration has another strategy than `direct` or `oldest`."""
    chosen = strategy()
    return Access(lambda config: access.read(config) if chosen.read(config) == name else None, access.write)


def slot_utilization() -> Access:
    """Return the access to the share of slots with a request at which the strategy `direct` waits no longer."""

    def read(config: Any) -> Value | None:
        return round(float(config.sequence_batching.direct.minimum_slot_utilization), SHARE_DECIMALS)

    def write(config: Any, value: Value) -> None:
        config.sequence_batching.direct.minimum_slot_utilization = float(value)

    return of_strategy("direct", Access(read, write))
