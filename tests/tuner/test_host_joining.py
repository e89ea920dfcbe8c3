"""A host joins with the study of the others, in which where things are is its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from tuner.hosts import joining
from tuner.hosts.admission import StudiesDiffer
from tuner.hosts.ledger import Ledger
from tuner.hosts.patience import Patience
from tuner.storage import JOURNAL, open_storage, shared
from tuner.study.load import Study, load_study

DIGITS = Path(__file__).parents[2] / "studies" / "digits.yaml"


@pytest.fixture(scope="module")
def digits() -> Study:
    return load_study(DIGITS)


def with_target(study: Study, **target: object) -> Study:
    return replace(study, given={**study.given, "target": {**study.given["target"], **target}})


def join(folder: Path, first: Study, second: Study) -> None:
    """Have a host join that has the second study where another one began with the first. Raises StudiesDiffer."""
    storage = shared(open_storage(f"{JOURNAL}{folder / 'study.log'}", folder))
    ledger = Ledger(storage, "digits@shared", Patience(0.0, lambda _: None), ["maximize"])
    ledger.join({"name": "first", "lease_s": 60.0, "study": dict(first.given)})
    joining._check(ledger.read(), second)


@pytest.mark.parametrize("key", ["url", "grpc_url", "metrics_url", "repository", "port", "http_port", "grpc_port"])
def test_each_host_may_have_its_own_address_and_port_of_the_server(key: str, digits: Study, tmp_path: Path) -> None:
    join(tmp_path, with_target(digits, **{key: "one"}), with_target(digits, **{key: "other"}))


@pytest.mark.parametrize("key", ["protocol", "urls", "port_of_another"])
def test_what_is_measured_is_the_same_on_every_host(key: str, digits: Study, tmp_path: Path) -> None:
    with pytest.raises(StudiesDiffer, match=rf"target\.{key} is one there and other here"):
        join(tmp_path, with_target(digits, **{key: "one"}), with_target(digits, **{key: "other"}))


def test_a_section_of_which_all_may_differ_is_left_out_with_what_is_in_it(digits: Study, tmp_path: Path) -> None:
    here = replace(digits, given={**digits.given, "isolation": {"cores": {"server": "0-3", "generator": "4"}}})
    join(tmp_path, digits, here)
