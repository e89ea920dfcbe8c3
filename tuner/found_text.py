"""The lines of a study for a model that was found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

import yaml

import studies
from targets.found import FoundModel, Prompted
from tuner.units import format_value
from workloads.requests import TensorSpec

LEAST_BATCH = 8
"""A model that batches less is tried with batches up to this."""
SHORTEST, LONGEST = 16, 128
LONGEST_PROMPT, LONGEST_ANSWER = 1500, 400
"""In tokens, where the model takes as many."""
PROTOCOL = "  protocol: http                       # or grpc: what your clients send over"
OVER_GRPC = "  protocol: grpc"
LIVE = (
    "  # The server lets models be loaded. To tune the model, too, uncomment what follows. Everybody who asks it meets",
    "  # what is being tried then, so take a server that is nobody's. In the end it is again as it is now.",
)
STREAM = """  protocol: grpc
  streaming: true                      # the model may give several answers to a request, each with a time of its own"""
SEQUENCES = "\n    sequences: {length: 10}            # <- requests of one sequence: the model keeps a state"
PROTOCOLS = {
    "chat": "endpoint: chat                       # it answers /v1/chat/completions",
    "completions": "endpoint: completions                # it answers /v1/completions, and no chats",
}
USAGES = {
    "continuous": "usage: continuous                    # it tells the number of tokens with every event",
    "final": "usage: final                         # it tells the number of tokens at the end of an answer",
    "none": "usage: none                          # it does not tell the number of tokens: each event counts as one",
}
IGNORE_EOS = "ignore_eos: true                     # answers are as long as they are asked to be"
NO_KEY = "# api_key_env: NAME                  # the environment variable that holds the key, if it wants one"
NO_EOS = "# ignore_eos: true                   # <- for a server that has it: answers as long as they are asked to be"


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template of a study with values in the places that it names."""
    return Template((Path(studies.__path__[0]) / "templates" / template).read_text()).substitute(values)


def scalar(value: str) -> str:
    """Return a text as YAML spells it, quoted where need be."""
    return yaml.safe_dump([value], default_flow_style=True, width=1000).strip()[1:-1]


def plain(value: str) -> str:
    """Return a text behind a key as people write it, without quotes where YAML reads it without them."""
    try:
        read = yaml.safe_load(f"key: {value}")
    except yaml.YAMLError:
        return scalar(value)
    return value if read == {"key": value} else scalar(value)


def comment(text: str) -> str:
    """Return a text of another's as it can stand in a comment: without ends of lines and what YAML does not take."""
    return "".join(one if one.isprintable() else " " for one in text)


def protocol(found: FoundModel) -> str:
    """Return what a model on Triton is asked over."""
    return STREAM if found.streams else PROTOCOL


def headers(key_env: str | None) -> str:
    """Return the headers with a token, or how they would be given."""
    given = f'headers: {{Authorization: "Bearer ${{{key_env or "TOKEN"}}}"}}'
    return given if key_env else f"# {given}"


def prompted(found: Prompted, key_env: str | None) -> dict[str, str]:
    """Return how a language model is asked, and lengths of prompts and answers that it takes."""
    key = f"api_key_env: {scalar(key_env)}" if key_env else NO_KEY
    most_in, most_out = LONGEST_PROMPT, LONGEST_ANSWER
    if found.context:
        # Words are not tokens: half of the context may be too much for as many words by then.
        most_in, most_out = min(most_in, max(2, found.context // 2)), min(most_out, max(2, found.context // 4))
    lines = [PROTOCOLS[found.endpoint], USAGES[found.usage], IGNORE_EOS if found.ignore_eos else NO_EOS, key]
    return {
        "asked": "\n".join(f"  {line}" for line in lines),
        "low_in": str(min(8, most_in)),
        "median_in": str(min(200, max(1, most_in // 4))),
        "most_in": str(most_in),
        "low_out": str(min(8, most_out)),
        "median_out": str(min(100, max(1, most_out // 4))),
        "most_out": str(most_out),
    }


def triton_knobs(found: FoundModel) -> str:
    """Return the part of the space with the knobs of a model on Triton and those of its composing models."""
    return "".join(f"  {_knob(name, found)}\n" for name in found.knobs) + _composing(found)


def remote_knobs(found: FoundModel) -> str:
    """Return the same as comments, below what it takes to use them; "" where the server keeps the model as it is."""
    lines = [] if found.fixed else triton_knobs(found).splitlines()
    if not lines:
        return ""
    return "\n".join(["", *LIVE, *(f"  # {line[2:]}" for line in lines)])


def remote_place(url: str, found: FoundModel) -> str:
    """Return the lines of the URLs that a Triton which runs is asked at, and over what."""
    if url.startswith("grpc"):
        return f"  grpc_url: {plain(url)}\n{STREAM if found.streams else OVER_GRPC}"
    if not found.streams:
        return f"  url: {plain(url)}"
    host = urlsplit(url).hostname or ""
    scheme = "grpcs" if url.startswith("https:") else "grpc"
    guess = f"{scheme}://{f'[{host}]' if ':' in host else host}:8001"
    return f"  url: {plain(url)}\n  grpc_url: {plain(guess)}    # <- where it listens for gRPC\n{STREAM}"


def mlserver_knobs(found: FoundModel) -> str:
    """Return the part of the space with the knobs of a model on MLServer; values that the user has are among them."""
    workers = sorted({0, 1, *(int(value) for name, value in found.values.items() if name == "parallel_workers")})
    waits = sorted({0.001, 0.002, 0.005, 0.01, *_positive(found.values, "max_batch_time")})
    lines = {
        "max_batch_size": (
            f"max_batch_size: {{low: 2, high: {max(32, found.max_batch)}, scale: log2}}",
            "<- up to what the model can take",
        ),
        "max_batch_time": (
            f"max_batch_time: [{', '.join(format_value(one, 's') for one in waits)}]",
            "a request's wait for its batch",
        ),
        "parallel_workers": (
            f"parallel_workers: {workers}",
            "processes that hold the model; 0: only the server's own",
        ),
    }
    return "".join(f"  {lines[name][0]:<54}  # {lines[name][1]}\n" for name in found.knobs)


def _positive(values: Mapping[str, object], name: str) -> list[float]:
    value = values.get(name)
    return [float(value)] if isinstance(value, int | float) and value > 0 else []


def _composing(found: FoundModel) -> str:
    """Return the part of the space with the knobs of an ensemble's composing models, "" where it has none."""
    searched = [one for one in found.composing if one.knobs]
    lines = ["composing:                           # knobs of the models that the ensemble is composed of"] * bool(
        searched
    )
    for one in searched:
        lines.append(f"  {scalar(one.name)}:")
        lines += [f"    {_knob(name, one, max(1, found.max_batch))}" for name in one.knobs]
    return "".join(f"  {line}\n" for line in lines)


def _knob(name: str, found: FoundModel, least: int = 1) -> str:
    """Return the line of a knob of Triton's.

    Args:
        name: of the knob.
        found: its model.
        least: the smallest batch that may be its limit; Triton wants it no smaller than that of the ensemble.
    """
    most = max(found.max_batch, LEAST_BATCH, 2 * least)
    return {
        "max_batch_size": f"max_batch_size: {{low: {least}, high: {most}, scale: log2}}"
        "   # <- up to what the model can take",
        "max_queue_delay": "max_queue_delay: [0 us, 100 us, 500 us, 1 ms, 5 ms]     # a request's wait for its batch",
        "instances": "instances: {low: 1, high: 4}                            # copies of the model",
    }[name]


def requests(found: FoundModel) -> str:
    """Return the lines of `requests`: tensors drawn for the model, in sequences where it wants them."""
    return "\n".join(f"      {line}" for line in _drawn(found.inputs)) + SEQUENCES * found.sequences


def _drawn(inputs: Sequence[TensorSpec]) -> list[str]:
    """Return the lines of tensors drawn for a model, with a length for each axis that is open."""
    if not inputs:
        return [
            "source: dataset                # nobody says what the model takes, so it cannot be made up",
            "path: requests.npz             # <- an array for each input, named like it, a row for each request",
        ]
    lines = [
        "source: tensors                # <- random ones are not your traffic; of a file with an array for each",
        "                               # input: {source: dataset, path: requests.npz}",
    ]
    shapes = {one.name: _axes(one) for one in inputs if not one.optional and _axes(one)}
    if shapes:
        names = list(dict.fromkeys(name for axes in shapes.values() for name in axes))
        length = f"{{distribution: uniform, low: {SHORTEST}, high: {LONGEST}}}"
        lines += ["lengths:                       # <- of the axes that the model leaves open"]
        lines += [f"  {name}: {length}" for name in names]
        lines += ["shapes:                        # axes of one name have the same length in a request"]
        lines += [f"  {scalar(name)}: [{', '.join(axes)}]" for name, axes in shapes.items()]
    return lines


def _axes(one: TensorSpec) -> list[str]:
    """Return names for the open axes of an input: the first of each input has the same length, and so on."""
    return [f"axis{number}" for number in range(1, 1 + sum(size < 0 for size in one.shape))]
