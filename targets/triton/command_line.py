"""The command line of a server for configurations: the user's own flags, and those that they need beside. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from targets.base import Config
from targets.triton import rules
from targets.triton.config import ModelConfig
from targets.triton.flags import CACHE_CONFIG, caches, flag_values, gives, resources, server_flags
from targets.triton.rules import CACHE_KNOBS, LIMITER_KNOBS, Offer

LIMITER = "rate_limit"


def with_given(offer: Offer, own: Sequence[str]) -> Offer:
    """Return an offer with what the user's own flags make of it."""
    return replace(
        offer,
        response_cache=offer.response_cache or bool(caches(own)),
        rate_limit=offer.rate_limit or gives(own, "--rate-limit"),
        resources=tuple(resources(own).items()),
    )


def with_needed(own: Sequence[str], offer: Offer) -> tuple[str, ...]:
    """Return the user's own flags, and those beside that make an offer good."""
    kept = "--cache-config" if caches(own) else ""
    names = ((one, one.partition("=")[0]) for one in rules.flags(offer))
    return (*own, *(one for one, name in names if name != kept and not gives(own, name)))


def flags_for(config: Config, own: Sequence[str], models: Sequence[ModelConfig]) -> list[str]:
    """Return the flags that models need of a server of their own.

    Args:
        config: the knobs, of which some are flags.
        own: the user's own flags.
        models: the configurations of the models.
    """
    return server_flags(config, with_needed(own, rules.offer_for((), models, None)))


def offer_to(config: Config, offer: Offer, usual: Sequence[str], user: Callable[[], Config]) -> Offer:
    """Return what the server of a configuration offers to its models.

    A flag of the configuration may take away what its other knobs need. The user's own files may have that too, where
    Triton passes over it; only what a study tries beside is held against it.

    Args:
        config: the knobs.
        offer: of the server with the usual flags.
        usual: these flags.
        user: what the user's files and flags give the knobs.
    """
    flags = server_flags(config, usual)
    cached, limited = bool(caches(flags)), flag_values(flags).get(LIMITER) == "execution_count"
    if cached >= offer.response_cache and limited >= offer.rate_limit:
        return offer
    own = user()
    return replace(
        offer,
        response_cache=offer.response_cache and (cached or not _tried(config, own, CACHE_KNOBS[:1], CACHE_KNOBS[1])),
        rate_limit=offer.rate_limit and (limited or not _tried(config, own, LIMITER_KNOBS, LIMITER)),
        resources=offer.resources if limited else (),
    )


def _tried(config: Config, own: Config, of_models: Sequence[str], flag: str) -> bool:
    """Whether a configuration says something of a knob of models and of the flag that is not all the user's own."""
    told = {name: value for name, value in config.items() if name.rpartition(".")[2] in of_models}
    both = told | ({flag: config[flag]} if flag in config else {})
    return bool(told) and any(own.get(name) != value for name, value in both.items())


def alias_name(model: str, alias: str, flags: Sequence[str], run: str, load: int) -> str:
    """Return the name to load a model by.

    Where answers are cached it is a new one each time: the cache keeps the answers of a model that was unloaded, and
    would give them for the next one of that name. One that is not in the server's own memory may outlive the run, too.

    Args:
        model: its own name.
        alias: of the deployment.
        flags: of the server.
        run: a name that no other run has.
        load: counts the models that the run loads.
    """
    found = caches(flags)
    if not found:
        return f"{model}__{alias}"
    outlives = not all(one.startswith((CACHE_CONFIG, "--response-cache-byte-size=")) for one in found)
    return f"{model}__{alias}_{run}_{load}" if outlives else f"{model}__{alias}_{load}"
