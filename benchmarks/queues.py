"""Queues whose latency is known: Poisson arrivals, one server, first come, first served.

The latency of M/M/1 is exponential with rate mu - lambda. That of the batch queue is computed from its Markov chain
(see `answers_of_batches`). M/D/1 is the batch queue with batches of one: the mean so computed is that of Pollaczek and
Khinchine, D + lambda D^2 / (2 (1 - load)), and the percentiles are those of Franx, A simple solution for the M/D/c
waiting time distribution, Operations Research Letters 29(5), 2001.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from targets.simulated.model import Batching, Service, serve, serve_batches

QUEUES: dict[str, Service | Batching] = {
    "M/M/1": Service("exponential", 0.005),
    "M/D/1": Service("deterministic", 0.005),
    "batches": Batching(max_size=8, max_delay_s=0.0, fixed_s=0.004, each_s=0.0005),
}
AUTOCORRELATION = {
    "M/M/1": {0.5: 9, 0.7: 32, 0.9: 350},
    "M/D/1": {0.5: 6, 0.7: 18, 0.9: 190},
    "batches": {0.5: 4, 0.7: 11, 0.9: 160},
}
"""Integrated autocorrelation time of the latency by load, in requests, from 600 to 1,000 runs of 2,000 of them."""
MOST_WAITING = 256
MOST_NEW = 64
"""More wait, or come during one service, with a probability below 1e-20 at 90% load."""
MOMENTS = 8000

Series = NDArray[np.float64]


def rate_of(queue: str, load: float) -> float:
    """Return the arrivals per second that make a load, as a share of the most that the queue can serve."""
    server = QUEUES[queue]
    if isinstance(server, Batching):
        return load * server.max_size / server.service_s(server.max_size)
    return load / server.mean_s


def simulated(queue: str, arrivals_s: Series, rng: np.random.Generator) -> Series:
    """Return when the requests are answered, seconds, shape [requests]."""
    server = QUEUES[queue]
    if isinstance(server, Batching):
        return serve_batches(arrivals_s, server).done_s
    return serve(arrivals_s, server.draw(len(arrivals_s), rng)).done_s


def answers(queue: str, load: float) -> tuple[float, float, float]:
    """Return the true mean, p50 and p99 of a queue's latency, seconds."""
    server, rate = QUEUES[queue], rate_of(queue, load)
    if isinstance(server, Batching):
        return answers_of_batches(server, rate)
    if server.kind == "deterministic":
        return answers_of_batches(Batching(1, 0.0, server.mean_s, 0.0), rate)
    mean = 1 / (1 / server.mean_s - rate)
    return mean, mean * math.log(2), mean * math.log(100)


def answers_of_batches(batching: Batching, rate: float) -> tuple[float, float, float]:
    """Return the true mean, p50 and p99 of the latency of a batch queue without a delay, seconds.

    The requests that wait when a batch is done are a Markov chain (Bailey, On queueing processes with bulk service,
    J. Royal Statistical Society B 16(1), 1954; Neuts, A general class of bulk queues with Poisson input, Annals of
    Mathematical Statistics 38(3), 1967). A request that finds the server free is a batch of one. Any other comes at a
    uniform moment of some service. It waits for the rest of that and for the full batches ahead of it, and shares its
    own batch with those left ahead and with those that come until it begins. The moments are cut into MOMENTS, so a
    percentile is right within service_s(max_size) / MOMENTS.

    Args:
        batching: with max_delay_s of 0.
        rate: arrivals per second.
    """
    waiting = np.arange(MOST_WAITING)
    sizes, left = np.clip(waiting, 1, batching.max_size), np.maximum(waiting - batching.max_size, 0)
    seconds = np.array([batching.service_s(size) for size in range(batching.max_size + 1)])
    steps = poisson.pmf(waiting - left[:, None], rate * seconds[sizes][:, None])
    balance = np.vstack([(steps.T - np.eye(MOST_WAITING))[1:], np.ones(MOST_WAITING)])
    shares = np.linalg.solve(balance, np.append(np.zeros(MOST_WAITING - 1), 1.0))
    parts = [(np.array([seconds[1]]), shares[:1])]
    for size in range(1, batching.max_size + 1):
        chosen = sizes == size
        parts += _coming_during(size, np.bincount(left[chosen], shares[chosen]).astype(float), seconds, rate)
    values, weights = (np.concatenate([np.ravel(part[side]) for part in parts]) for side in (0, 1))
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order]) / weights.sum()
    p50, p99 = (float(values[order][np.searchsorted(cumulated, fraction - 1e-9)]) for fraction in (0.5, 0.99))
    return float(values @ weights / weights.sum()), p50, p99


def _coming_during(size: int, left: Series, seconds: Series, rate: float) -> list[tuple[Series, Series]]:
    """Return latencies and their weights of the requests that come during the service of a batch.

    Args:
        size: of that batch.
        left: weight of each number of requests that still waited when it began, shape [most + 1].
        seconds: service time by size, shape [largest size + 1].
        rate: arrivals per second.
    """
    largest = len(seconds) - 1
    rest = (np.arange(MOMENTS) + 0.5) / MOMENTS * seconds[size]
    full = math.ceil((len(left) + MOST_NEW) / largest)
    ahead = np.zeros((MOMENTS, full * largest))
    for new in range(MOST_NEW):
        ahead[:, new : new + len(left)] += poisson.pmf(new, rate * (seconds[size] - rest))[:, None] * left
    ahead = ahead.reshape(MOMENTS, full, largest)
    begins = rest[:, None] + np.arange(full) * seconds[largest]
    parts = []
    for own in range(1, largest + 1):
        behind = poisson.pmf if own < largest else lambda count, mean: poisson.sf(count - 1, mean)
        weights = sum(ahead[:, :, before] * behind(own - 1 - before, rate * begins) for before in range(own))
        parts.append((begins + seconds[own], np.asarray(weights) * rate * seconds[size] / MOMENTS))
    return parts
