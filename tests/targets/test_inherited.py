"""What servers inherit of the environment: nothing that leads to the storage or to agents, whatever kind they are."""

from pathlib import Path

import psutil
import pytest

from targets import registry
from targets.base import Context
from tests.support.simulated_study import write_simulated_study
from tuner.study.load import load_study
from tuner.wiring import prepare

SECRETS = ("PGPASSWORD", "PARETUNE_TOKEN", "OF_THE_STORAGE")


@pytest.mark.parametrize(
    ("storage", "private"),
    [
        ("sqlite", set()),
        ("postgresql://$USER:$PASSWORD@db/trials", {"PASSWORD"}),
        ("postgresql://tune:${PASSWORD}@db/$DB?sslpassword=$OTHER", {"PASSWORD", "OTHER"}),
        ("$DATABASE_URL", {"DATABASE_URL"}),
        ("journal:///$HOME/x.log", set()),
    ],
)
def test_what_lets_somebody_into_a_storage_is_private(storage: str, private: set[str], tmp_path: Path) -> None:
    study = load_study(write_simulated_study(tmp_path), [f"search.storage={storage}"])
    assert study.spec.search.private == private


def test_a_server_of_a_study_has_neither_the_variables_of_its_storage_nor_those_of_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*SECRETS, "HARMLESS"):
        monkeypatch.setenv(name, "something")
    storage = "postgresql://tune:$OF_THE_STORAGE@db/trials"
    target = prepare(
        load_study(write_simulated_study(tmp_path), [f"search.storage={storage}"]), tmp_path / "log.txt"
    ).target
    try:
        target.start()
        (process,) = target.deploy(target.user_config(), "one").processes()
        found = psutil.Process(process).environ()
    finally:
        target.stop()
    assert found["HARMLESS"] == "something"
    assert not set(SECRETS) & set(found)


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llamacpp"])
def test_servers_of_language_models_are_given_no_more(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*SECRETS, "HARMLESS"):
        monkeypatch.setenv(name, "something")
    context = Context(tmp_path, tmp_path / "log.txt", private=frozenset(SECRETS))
    (tmp_path / "m.gguf").touch()
    options = registry.options_of(kind).model_validate({"kind": kind, "model": "m.gguf", "env": {"PGPASSWORD": "own"}})
    target = registry.create(options, context)
    found = target._own.environment()  # type: ignore[attr-defined] # what the server is started with
    assert (found["HARMLESS"], found["PGPASSWORD"]) == ("something", "own")
    assert not {"PARETUNE_TOKEN", "OF_THE_STORAGE"} & set(found)
