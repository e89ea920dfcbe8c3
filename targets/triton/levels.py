"""How a part of the queue policy of a priority level stands in Triton's ModelConfig."""

from typing import Any

from targets.base import Value
from targets.triton.fields import Access


def of_level(level: int, inner: Access) -> Access:
    """Return the access to a part of the queue policy of a priority level; None where there is no such level.

    To Triton a level without a policy of its own has the default one. Writing gives it a copy of that, so that what is
    not written stays as it was.

    Args:
        level: 1 or more.
        inner: to the part, in a policy.
    """

    def read(config: Any) -> Value | None:
        batching = config.dynamic_batching
        if level > batching.priority_levels:
            return None
        own = level in batching.priority_queue_policy
        return inner.read(batching.priority_queue_policy[level] if own else batching.default_queue_policy)

    def write(config: Any, value: Value) -> None:
        batching = config.dynamic_batching
        if level not in batching.priority_queue_policy:
            batching.priority_queue_policy[level].CopyFrom(batching.default_queue_policy)
        inner.write(batching.priority_queue_policy[level], value)

    return Access(read, write)
