"""What somebody wants to have rendered."""

from dataclasses import dataclass
from typing import Literal

INDEX = "{index}"
"""Stands for the number of a worker in what is each one's own."""

Form = Literal["kubernetes", "compose"]


@dataclass(frozen=True)
class Resources:
    """What a container gets, and nobody else: whole CPUs, memory (like `8Gi`) and GPUs."""

    cpus: int
    memory: str
    gpus: int = 0


@dataclass(frozen=True)
class Asked:
    """What somebody wants to have rendered; None where that is left to the study or to the form."""

    form: Form = "kubernetes"
    workers: int | None = None
    agents: int | None = None
    image: str | None = None
    server: Resources = Resources(4, "8Gi")
    agent: Resources = Resources(2, "2Gi")
    storage: str | None = None
    name: str | None = None
    namespace: str | None = None
    secret: str | None = None
    volume: str | None = None
    results: str | None = None
    journal: str | None = None
    env: tuple[str, ...] = ()
    agents_wait: str | None = None
    run: str | None = None
    each: tuple[str, ...] = ()
