"""A study rendered for Kubernetes and for docker compose: valid by their own schemas, and complete."""

import base64
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from jsonschema import Draft202012Validator
from jsonschema import ValidationError as AgainstTheSchema

from targets import registry
from tests.support.locustfiles import ASKING
from tuner import cli
from tuner.cli.frame import COMMANDS
from tuner.manifests import kubernetes
from tuner.manifests.asked import Asked, Form, Resources
from tuner.manifests.compose import compose_file, folders
from tuner.manifests.files import LIMIT, split
from tuner.manifests.kubernetes import objects
from tuner.manifests.names import ManifestError, key_of, name_of
from tuner.manifests.plan import Plan, plan_of
from tuner.manifests.text import yaml_of
from tuner.storage import JOURNAL
from tuner.study.load import Study, load_study
from tuner.study.locustfile import LocustSpec
from tuner.study.source import StudyError
from tuner.wiring import prepare

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "studies" / "digits.yaml"
KUBERNETES = "1.37"
DATABASE = "postgresql://tune@db/trials"
WORKERS = Asked(workers=4, storage=DATABASE)
EVERYTHING = replace(
    WORKERS, server=Resources(6, "16Gi", 2), volume="models", results="runs", namespace="tuning", image="paretune:1"
)
AGENTS = Asked(agents=3, storage=DATABASE)
ASKED = {
    "workers": WORKERS,
    "everything": EVERYTHING,
    "agents": AGENTS,
    "alone": Asked(agents=1),
    "mounted": replace(WORKERS, volume="models:/models"),
    "named": replace(WORKERS, run="second"),
    "journal": Asked(workers=4, storage="/shared/study.log", journal="trials", volume="models:/models"),
}
REMOTE = ["target.launch=remote", "target.url=http://triton:8000"]
"""Of the digits where agents make the load: a server that has an address of its own."""


@pytest.fixture(scope="module")
def digits() -> Study:
    return load_study(DIGITS)


@pytest.fixture(scope="module")
def remote() -> Study:
    """The digits on a server that agents reach."""
    return load_study(DIGITS, REMOTE)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A study of one's own: the digits, which a test may change."""
    shutil.copy(DIGITS, tmp_path / "digits.yaml")
    shutil.copytree(DIGITS.parent / "digits", tmp_path / "digits")
    return tmp_path / "digits.yaml"


def study_for(asked: Asked) -> Study:
    """Return the digits, on a server that agents reach where some are asked for."""
    return load_study(DIGITS, REMOTE if asked.agents else [])


def with_target(study: Study, **target: object) -> Study:
    """Return a study with another target."""
    options = registry.options_of(str(target["kind"])).model_validate(target)
    return replace(study, spec=study.spec.model_copy(update={"target": options}))


def changed(study: Path, before: str, after: str) -> Study:
    text = study.read_text()
    assert before in text
    study.write_text(text.replace(before, after))
    return load_study(study)


def made(study: Study, asked: Asked) -> dict[str, Any]:
    """Return the objects by the end of their names."""
    plan = plan_of(study, asked)
    return {one["metadata"]["name"].removeprefix(f"{plan.name}-"): one for one in objects(plan)}


def pod(job: dict[str, Any]) -> Any:
    return job["spec"]["template"]["spec"]


def container(job: dict[str, Any]) -> Any:
    (one,) = pod(job)["containers"]
    return one


# -- Kubernetes --


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_every_object_is_valid_by_the_schemas_of_kubernetes(asked: Asked) -> None:
    rendered = list(yaml.load_all(yaml_of(objects(plan_of(study_for(asked), asked))), Loader=yaml.CSafeLoader))
    assert len(rendered) in (2, 4)
    for one in rendered:
        assert kubernetes_validate.validate(one, KUBERNETES, strict=True) == KUBERNETES


def test_the_schemas_refuse_what_kubernetes_has_not(digits: Study) -> None:
    job = made(digits, WORKERS)["worker"]
    container(job)["ressources"] = container(job).pop("resources")
    with pytest.raises(kubernetes_validate.ValidationError, match="ressources"):
        kubernetes_validate.validate(job, KUBERNETES, strict=True)


def test_workers_are_an_indexed_job_of_which_each_has_the_study_and_the_database(digits: Study) -> None:
    job = made(digits, WORKERS)["worker"]
    assert {job["spec"][key] for key in ("completions", "parallelism")} == {4}
    assert job["spec"]["completionMode"] == "Indexed"
    assert container(job)["command"] == ["tune"]
    assert container(job)["args"] == ["worker", "/study/digits.yaml", "--storage", DATABASE]


def test_workers_share_the_run_that_is_named(digits: Study, remote: Study) -> None:
    arguments = container(made(digits, replace(WORKERS, run="second"))["worker"])["args"]
    assert arguments[-2:] == ["--run", "second"]
    with pytest.raises(ManifestError, match=r"^--run is the name under which workers share"):
        plan_of(remote, replace(AGENTS, run="second"))


def test_agents_find_the_run_by_the_name_of_a_headless_service(remote: Study) -> None:
    found = made(remote, AGENTS)
    service, run = found["master"], found["run"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= run["spec"]["template"]["metadata"]["labels"].items()
    assert container(found["agent"])["args"] == ["agent", "--master", service["metadata"]["name"]]
    (port,), (opened,) = service["spec"]["ports"], container(run)["ports"]
    assert f"*:{port['port']}" in container(run)["args"], "a cluster may have one family of addresses or the other"
    assert (port["targetPort"], port["port"]) == (opened["name"], opened["containerPort"])
    assert found["agent"]["spec"]["parallelism"] == 3


def test_run_and_agents_wait_for_each_other_as_long_as_is_said(remote: Study) -> None:
    found = made(remote, replace(AGENTS, agents_wait="20 min"))
    for role, option in (("run", "--agents-wait"), ("agent", "--wait")):
        arguments = container(found[role])["args"]
        assert arguments[arguments.index(option) + 1] == "20 min"
    for asked in (replace(AGENTS, agents_wait="soon"), replace(WORKERS, agents_wait="20 min")):
        with pytest.raises(ManifestError, match=r"^--agents-wait"):
            plan_of(remote, asked)


def test_a_container_has_whole_cpus_memory_and_gpus_to_itself(remote: Study) -> None:
    found = made(remote, replace(AGENTS, server=Resources(6, "16Gi", 2)))
    run, agent = (container(found[name])["resources"] for name in ("run", "agent"))
    assert run["limits"] == run["requests"] == {"cpu": "6", "memory": "16Gi", "nvidia.com/gpu": "2"}
    assert agent["limits"] == agent["requests"] == {"cpu": "2", "memory": "2Gi"}
    assert pod(found["run"])["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "tolerations" not in pod(found["agent"])


def test_a_pod_meets_the_restricted_standard_of_pod_security(remote: Study) -> None:
    for job in (one for one in made(remote, AGENTS).values() if one["kind"] == "Job"):
        security = container(job)["securityContext"]
        assert pod(job)["securityContext"]["runAsNonRoot"]
        assert pod(job)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, True)
        assert pod(job)["automountServiceAccountToken"] is False


def test_a_run_that_ended_without_an_answer_is_not_tried_again(digits: Study) -> None:
    job = made(digits, WORKERS)["worker"]
    rule = job["spec"]["podFailurePolicy"]["rules"][0]
    assert rule["action"] == "FailIndex"
    assert rule["onExitCodes"] == {"containerName": container(job)["name"], "operator": "In", "values": [4, 5]}
    assert pod(job)["restartPolicy"] == "Never", "what a policy needs"
    assert job["spec"]["backoffLimitPerIndex"] == kubernetes.TRIES


def test_every_object_is_found_by_the_labels_that_kubernetes_recommends(digits: Study) -> None:
    for name, one in made(digits, EVERYTHING).items():
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "paretune"
        assert labels["app.kubernetes.io/instance"] == "digits"
        assert labels["app.kubernetes.io/component"] == name
        assert one["metadata"]["namespace"] == "tuning"


def test_secrets_are_referred_to_by_name_alone(remote: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "PARETUNE_TOKEN"):
        monkeypatch.setenv(name, "do-not-tell")
    plan = plan_of(remote, AGENTS)
    found = made(remote, AGENTS)
    given = {one["name"]: one.get("valueFrom", {}).get("secretKeyRef") for one in container(found["run"])["env"]}
    assert given["PARETUNE_TOKEN"] == {"name": "digits-secrets", "key": "PARETUNE_TOKEN"}
    assert given["PGPASSWORD"] == {"name": "digits-secrets", "key": "PGPASSWORD"}
    names = {one["name"] for one in container(found["agent"])["env"]}
    assert "PARETUNE_TOKEN" in names
    assert "PGPASSWORD" not in names, "an agent knows no database"
    assert "do-not-tell" not in yaml_of(objects(plan)) + yaml_of([compose_file(plan, Path())])


def with_file(own: Path, text: str, name: str = "vllm.yaml") -> Study:
    """Return a study whose server has a configuration of this text."""
    (own.parent / name).write_text(text)
    return replace(with_target(load_study(own), kind="vllm", config=name), source=load_study(own).source)


@pytest.mark.parametrize(
    "text", ["model: opt\napi-key: sk-do-not-tell\n", "model: opt\nhf-token: [$ONE, do-not-tell]\n"]
)
def test_a_key_in_a_file_of_the_config_map_is_refused_and_not_told(text: str, own: Path) -> None:
    plan = plan_of(with_file(own, text), WORKERS)
    with pytest.raises(
        ManifestError, match=r"^vllm\.yaml: has a password or a key.* take it out; .*--volume"
    ) as refused:
        objects(plan)
    assert "do-not-tell" not in str(refused.value)
    compose_file(plan, Path())  # which mounts the folder as it is


def test_a_key_in_the_study_file_is_refused_at_its_line(own: Path) -> None:
    study = changed(own, "model: digits", "model: digits\n  parameters: {api_key: do-not-tell}")
    why = r"digits\.yaml:\d+: target\.parameters\.api_key: has a password or a key"
    with pytest.raises(StudyError, match=why) as refused:
        plan_of(study, WORKERS)
    assert "do-not-tell" not in str(refused.value)
    plan_of(study, COMPOSED["worker"])  # which mounts the file as it is


SERVED_ELSEWHERE = {"kind": "kserve", "model": "m", "url": "http://server:8000"}


@pytest.mark.parametrize("asked", [replace(AGENTS, form="compose"), AGENTS], ids=["compose", "kubernetes"])
@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("target.headers.authorization=Bearer do-not-tell", "target.headers.authorization"),
        ("target.headers={Cookie: 'do-not-tell'}", "target.headers.Cookie"),
        ("target.headers.x-user=Bearer do-not-tell", "target.headers.x-user"),
        ("target.parameters.aws_secret_key=do-not-tell", "target.parameters.aws_secret_key"),
    ],
)
def test_a_secret_among_the_overrides_is_refused(override: str, place: str, asked: Asked, own: Path) -> None:
    text = re.sub(r"(?ms)^target:\n.*?^(?=\S)", f"target: {json.dumps(SERVED_ELSEWHERE)}\n", own.read_text())
    text = re.sub(r"(?ms)^space:\n.*?^(?=\S)", "space: {concurrency: [1, 2]}\n", text)
    own.write_text(text)
    with pytest.raises(StudyError, match=rf"^--set {re.escape(place)}: has a password or a key") as refused:
        plan_of(load_study(own, [override]), asked)
    assert "do-not-tell" not in str(refused.value)
    plan_of(load_study(own, [override.replace("do-not-tell", "${SECRET}")]), asked)


@pytest.mark.parametrize(
    "arguments", ["[--hf-token, do-not-tell]", "[--hf-token=do-not-tell]", "[-H, 'Authorization: Bearer do-not-tell']"]
)
def test_a_secret_among_the_arguments_of_a_server_is_refused(arguments: str, own: Path) -> None:
    text = own.read_text().replace("model: digits\n", f"model: digits\n  args: {arguments}\n")
    given = {**load_study(own).given, "target": yaml.safe_load(text)["target"]}
    study = replace(load_study(own), given=given)
    with pytest.raises(StudyError, match=r"target\.args\.\d: has a password or a key") as refused:
        plan_of(study, WORKERS)
    assert "do-not-tell" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "model: opt\napi-key: $VLLM_KEY\n",
        "model: opt\napi-key: ${VLLM_KEY}\n",
        "model: opt\neos_token: </s>\npad_token: '[PAD]'\nmax-num-batched-tokens: 2048\n",
        "model: opt\napi-key:\n",
    ],
)
def test_a_reference_and_a_token_of_a_model_are_no_secret(text: str, own: Path) -> None:
    assert "vllm.yaml" in made(with_file(own, text), WORKERS)["study"]["data"]


def test_code_is_taken_for_no_setting(own: Path) -> None:
    assert (
        "own.py"
        in made(with_file(own, "made = call(\n    eos_token=tokenizer.eos_token,\n)\n", "own.py"), WORKERS)["study"][
            "data"
        ]
    )


@pytest.mark.parametrize(
    ("storage", "secrets"),
    [
        ("postgresql://tune@db/trials", ("PGPASSWORD",)),
        ("postgresql://tune:$SECRET@db/trials", ("SECRET",)),
        ("postgresql+psycopg://tune:${SECRET}@${HOST}/trials", ("SECRET", "HOST")),
        ("mysql+pymysql://tune:$SECRET@db/trials", ("SECRET",)),
        ("postgresql://tune@db/trials?sslcert=/tls/own.crt&sslkey=/tls/own.key", ()),
        ("postgresql://tune@db/trials?sslpassword=$SECRET", ("PGPASSWORD", "SECRET")),
        ("postgresql://tune@db/trials?service=$SERVICE", ("SERVICE",)),
        ("postgresql://tune@db/trials?require_auth=none", ()),
        ("postgresql://tune@db/trials?require_auth=gss,sspi", ()),
        ("postgresql://tune@db/trials?require_auth=gss,scram-sha-256", ("PGPASSWORD",)),
        ("postgresql://tune@db/trials?require_auth=!password", ("PGPASSWORD",)),
        ("postgresql://tune@db/trials?sslrootcert=system", ("PGPASSWORD",)),
    ],
)
def test_a_secret_has_what_the_address_of_the_database_leaves_out(
    storage: str, secrets: tuple[str, ...], digits: Study
) -> None:
    assert plan_of(digits, replace(WORKERS, storage=storage)).secrets == secrets


@pytest.mark.parametrize("variable", ["PGPASSFILE", "PGSSLCERT", "PGSERVICE"])
def test_no_password_is_asked_for_where_a_variable_tells_who_the_user_is(variable: str, digits: Study) -> None:
    assert plan_of(digits, replace(WORKERS, env=(variable,))).secrets == (variable,)
    assert plan_of(digits, replace(WORKERS, env=("HF_TOKEN",))).secrets == ("PGPASSWORD", "HF_TOKEN")


@pytest.mark.parametrize("storage", ["/shared/trials/study.log", "journal:///shared/trials/study.log"])
def test_a_journal_is_in_a_volume_that_all_workers_write(storage: str, own: Path) -> None:
    asked = Asked(workers=4, storage=storage, journal="trials", results="runs")
    in_the_study = Asked(workers=4, journal="trials", results="runs")
    study = changed(own, "search:\n", f"search:\n  storage: {JOURNAL}/shared/trials/study.log\n")
    for job in (made(load_study(DIGITS), asked)["worker"], made(study, in_the_study)["worker"]):
        assert container(job)["args"][2:4] == ["--storage", "journal:///shared/trials/study.log"]
        (mount,) = [one for one in container(job)["volumeMounts"] if one["name"] == "trials"]
        (volume,) = [one for one in pod(job)["volumes"] if one["name"] == "trials"]
        assert mount == {"name": "trials", "mountPath": "/shared/trials"}, "it is not read-only"
        assert volume["persistentVolumeClaim"] == {"claimName": "trials"}
        assert not [one for one in container(job)["env"] if one["name"] == "PGPASSWORD"]


def test_a_journal_of_compose_services_is_in_a_folder_beside_the_file(digits: Study) -> None:
    plan = plan_of(digits, COMPOSED["journal"])
    services = compose_file(plan, Path())["services"]
    assert set(services) == {"worker-0", "worker-1"}, "no database is needed"
    for one in services.values():
        (mount,) = [one for one in one["volumes"] if one["target"] == "/shared"]
        assert mount["source"] == "./trials"
        assert "read_only" not in mount
    assert "./trials" in folders(plan)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"storage": "/shared/a.log"}, "--storage: '/shared/a.log' is a file that no two pods share: give --journal"),
        ({"storage": "/a.log", "journal": "c"}, "--storage: a journal cannot stand in '/'"),
        ({"storage": "/study/a.log", "journal": "c"}, "--storage: a journal cannot stand in '/study'"),
        ({"storage": "/tmp/x/a.log", "journal": "c"}, "--storage: a journal cannot stand in '/tmp/x'"),
        ({"storage": "/a/../b/a.log", "journal": "c"}, "--storage: a journal cannot stand in '/a/../b'"),
        ({"storage": "journal://a.log", "journal": "c"}, "--storage: a journal cannot stand in '.'"),
        ({"storage": "/m/x/a.log", "journal": "c", "volume": "v:/m"}, "--volume: /m and /m/x, the folder of the"),
        ({"storage": "/m/a.log", "journal": "c", "volume": "v:/m/x"}, "--volume: /m/x and /m, the folder of the"),
        ({"storage": "/m/a.log", "journal": "C"}, "--journal: 'C' cannot be a name in Kubernetes"),
        ({"storage": DATABASE, "journal": "c"}, "--journal is the volume of a journal: give its path"),
        ({"storage": "/m/a.log", "journal": "c", "form": "compose"}, "--journal is for --format kubernetes"),
    ],
)
def test_a_journal_that_containers_cannot_share_is_refused(asked: dict[str, Any], message: str, digits: Study) -> None:
    with pytest.raises(ManifestError, match=rf"^{re.escape(message)}"):
        plan_of(digits, Asked(workers=2, **asked))


CERTIFIED = f"{DATABASE}?sslcert=/tls/own.crt&sslkey=/tls/own.key&sslrootcert=/ca/root.crt&sslmode=verify-full"


def test_the_certificates_of_a_database_are_files_of_a_secret_of_their_own(remote: Study) -> None:
    found = made(remote, replace(AGENTS, storage=CERTIFIED))
    for one in found.values():
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
    (volume,) = [one for one in pod(found["run"])["volumes"] if one["name"] == "certificates"]
    assert volume["secret"] == {"secretName": "digits-certificates", "defaultMode": 0o440}
    mounts = [one for one in container(found["run"])["volumeMounts"] if one["name"] == "certificates"]
    assert {one["mountPath"]: one["subPath"] for one in mounts} == {
        "/tls/own.crt": "own.crt", "/tls/own.key": "own.key", "/ca/root.crt": "root.crt"
    }  # fmt: skip
    assert all(one["readOnly"] for one in mounts)
    assert "certificates" not in {one["name"] for one in pod(found["agent"])["volumes"]}, "an agent knows no database"
    assert "certificates" not in {one["name"] for one in pod(made(remote, AGENTS)["run"])["volumes"]}


def test_a_compose_file_has_the_certificates_and_the_password_file_of_the_machine(digits: Study) -> None:
    asked = replace(COMPOSED["worker"], storage=f"{CERTIFIED}&passfile=/home/me/.pgpass")
    document = compose_file(plan_of(digits, asked), Path())
    compose_schema().validate(document)
    mounts = {one["target"]: one for one in document["services"]["worker-0"]["volumes"]}
    for file in ("/tls/own.crt", "/tls/own.key", "/ca/root.crt", "/home/me/.pgpass"):
        assert mounts[file]["source"] == file
        assert mounts[file]["read_only"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("passfile=/home/me/.pgpass", r"takes a `passfile` from its owner alone.* put PGPASSWORD into the Secret"),
        ("sslcert=own.crt", r"containers cannot have 'own.crt'; name a file by its absolute path"),
        ("sslcert=/tls/../own.crt", r"containers cannot have '/tls/../own.crt'"),
        ("sslcert=/tls/my own.crt", r"containers cannot have '/tls/my own.crt'"),
        ("sslcert=/a/own&sslkey=/b/own", r"two files are called own, and a Secret has each name once"),
    ],
)
def test_files_of_an_address_that_containers_cannot_have_are_refused(
    parameters: str, message: str, digits: Study
) -> None:
    with pytest.raises(ManifestError, match=rf"^--storage: .*{message}"):
        plan_of(digits, replace(WORKERS, storage=f"{DATABASE}?{parameters}"))


@pytest.mark.parametrize(
    ("target", "secrets"),
    [
        ({"kind": "openai", "url": "http://llm", "model": "m", "api_key_env": "KEY"}, ["KEY"]),
        ({"kind": "openai", "url": "http://llm", "model": "m"}, []),
        ({"kind": "kserve", "url": "http://s:1", "model": "m", "headers": {"a": "Bearer ${T}", "b": "${U}${T}"}}, "TU"),
        ({"kind": "command", "command": ["s", "{{ env.B }}"], "request": {"headers": {"a": "{{ env.A }}"}}}, "AB"),
    ],
)
def test_a_target_names_the_variables_that_it_refers_to(target: dict[str, Any], secrets: Sequence[str]) -> None:
    assert list(registry.options_of(target["kind"]).model_validate(target).secrets()) == list(secrets)


@pytest.mark.parametrize("name", ["HOME", "USER", "LOGNAME"])
def test_a_server_finds_the_name_and_the_home_of_a_user_that_its_image_has_not(name: str, remote: Study) -> None:
    found = made(remote, AGENTS)
    services = compose_file(plan_of(remote, COMPOSED["agents"]), Path())["services"]
    for role in ("run", "agent"):
        assert {one["name"]: one.get("value") for one in container(found[role])["env"]}[name]
    assert all(one["environment"][name] for one in services.values())


@pytest.mark.parametrize("storage", [DATABASE, "postgresql://tune:$HF_TOKEN@db/trials"])
def test_variables_that_a_server_needs_are_references_to_the_secret(storage: str, digits: Study) -> None:
    asked = replace(WORKERS, storage=storage, env=("HF_TOKEN", "HTTPS_PROXY"))
    env = container(made(digits, asked)["worker"])["env"]
    (token,) = [one for one in env if one["name"] == "HF_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {"name": "digits-secrets", "key": "HF_TOKEN"}
    assert plan_of(digits, asked).secrets[-1] == "HTTPS_PROXY"
    composed = compose_file(plan_of(digits, replace(asked, form="compose")), Path())
    assert composed["services"]["worker-0"]["environment"]["HF_TOKEN"].startswith("${HF_TOKEN:?")


def test_agents_do_not_have_the_variables_of_the_server(remote: Study) -> None:
    env = container(made(remote, replace(AGENTS, env=("HF_TOKEN",)))["agent"])["env"]
    assert "HF_TOKEN" not in {one["name"] for one in env}


@pytest.mark.parametrize("storage", ["$DATABASE_URL", "${DATABASE_URL}"])
def test_the_whole_address_of_the_database_may_be_a_variable(storage: str, digits: Study, own: Path) -> None:
    plan = plan_of(digits, replace(WORKERS, storage=storage))
    assert plan.secrets == ("DATABASE_URL",)
    assert plan.roles[0].arguments[-1] == storage
    said = plan_of(load_study(own, [f"search.storage={json.dumps(storage)}"]), replace(WORKERS, storage=None))
    assert said.secrets == ("DATABASE_URL",)


# -- files --


def placed(plan: Plan, root: Path) -> Path:
    """Lay out what a worker's pod sees of its ConfigMap, and return the study file there."""
    by_name = {one["metadata"]["name"].removeprefix(f"{plan.name}-"): one for one in objects(plan)}
    rendered = yaml.load(yaml_of([by_name["study"]]), Loader=yaml.CSafeLoader)
    texts = {key: text.encode() for key, text in rendered["data"].items()}
    binary = {key: base64.b64decode(text, validate=True) for key, text in rendered.get("binaryData", {}).items()}
    for mount in container(by_name["worker"])["volumeMounts"]:
        if mount["name"] == "study":
            place = root / mount["mountPath"].removeprefix("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((texts | binary)[mount["subPath"]])
    return root / container(by_name["worker"])["args"][1].removeprefix("/")


def test_a_pod_has_every_file_of_the_study_where_the_study_names_it(digits: Study, tmp_path: Path) -> None:
    study = placed(plan_of(digits, WORKERS), tmp_path)
    assert study.read_bytes() == DIGITS.read_bytes()
    for inner in ("test.npz", "models/digits/config.pbtxt", "models/digits/1/model.onnx"):
        assert (study.parent / "digits" / inner).read_bytes() == (DIGITS.parent / "digits" / inner).read_bytes()
    assert prepare(load_study(study), tmp_path / "log.txt").target.user_config()["precision"] == "fp32"


def test_a_text_that_yaml_would_change_travels_as_bytes(own: Path, tmp_path: Path) -> None:
    odd = {"crlf.txt": b"a\r\nb\r\n", "bom.txt": "\ufefftext".encode(), "end.txt": b"two \n\tlines", "empty": b""}
    for name, content in odd.items():
        (own.parent / "digits" / "models" / "digits" / name).write_bytes(content)
    study = placed(plan_of(load_study(own), WORKERS), tmp_path / "pod")
    for name, content in odd.items():
        assert (study.parent / "digits" / "models" / "digits" / name).read_bytes() == content


def test_what_is_too_large_for_a_config_map_is_in_the_image_or_in_a_volume(own: Path) -> None:
    (own.parent / "digits" / "models" / "digits" / "1" / "weights.bin").write_bytes(bytes(LIMIT))
    study = load_study(own)
    kept = split(study)
    assert [str(one.given) for one in kept.carried] == ["digits.yaml", "digits/test.npz"]
    assert [(str(one.given), str(one.place)) for one in kept.elsewhere] == [
        ("digits/models/digits", "/study/digits/models/digits")
    ]
    assert not {"files"} & {one["name"] for one in pod(made(study, WORKERS)["worker"])["volumes"]}
    job = made(study, replace(WORKERS, volume="models"))["worker"]
    (mount,) = [one for one in container(job)["volumeMounts"] if one["name"] == "files"]
    assert (mount["mountPath"], mount["subPath"]) == ("/study/digits/models/digits", "digits/models/digits")
    (volume,) = [one for one in pod(job)["volumes"] if one["name"] == "files"]
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}


def test_many_small_files_are_no_matter_of_a_config_map(own: Path) -> None:
    for number in range(80):
        (own.parent / "digits" / "models" / "digits" / f"{number}.txt").write_text("small")
    assert [str(one.given) for one in split(load_study(own)).elsewhere] == ["digits/models/digits"]


def test_a_file_outside_of_the_study_has_the_place_that_the_study_gives_it(own: Path) -> None:
    inner = own.parent / "studies"
    inner.mkdir()
    shutil.move(own, inner)
    text = (inner / "digits.yaml").read_text().replace(": digits/", ": ../digits/")
    (inner / "digits.yaml").write_text(text)
    study = load_study(inner / "digits.yaml")
    places = [str(one.place) for one in split(study).carried]
    assert places == ["/study/digits.yaml", "/digits/models/digits", "/digits/test.npz"]
    service = compose_file(plan_of(study, Asked("compose")), inner)["services"]["worker-0"]
    targets = {one["target"]: (inner / one["source"]).resolve() for one in service["volumes"]}
    assert targets["/digits/test.npz"] == own.parent / "digits" / "test.npz"


def test_a_file_that_is_not_here_is_somebody_elses_to_bring(own: Path) -> None:
    (own.parent / "digits" / "test.npz").unlink()
    assert [(str(one.given), one.files) for one in split(load_study(own)).elsewhere] == [("digits/test.npz", ())]


@pytest.mark.parametrize("here", [True, False])
def test_a_volume_is_mounted_on_a_folder_for_models_with_absolute_paths(
    here: bool, digits: Study, tmp_path: Path
) -> None:
    model = tmp_path / "llama"
    if here:
        model.mkdir()
        (model / "config.json").write_text("{}")
    study = with_target(digits, kind="vllm", model=str(model))
    assert [str(one.given) == str(model) for one in split(study).carried] == [False, *[True] * here, False]
    plan = plan_of(study, replace(WORKERS, volume=f"models:{tmp_path}"))
    (one,) = plan.files.elsewhere
    assert (str(one.place), plan.in_volume(one)) == (str(model), True)
    assert [str(other.given) for other in plan.files.carried] == ["digits.yaml", "digits/test.npz"]
    job = made(study, replace(WORKERS, volume=f"models:{tmp_path}"))["worker"]
    (mount,) = [one for one in container(job)["volumeMounts"] if one["name"] == "files"]
    assert mount == {"name": "files", "mountPath": str(tmp_path), "readOnly": True}
    (volume,) = [one for one in pod(job)["volumes"] if one["name"] == "files"]
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}


USERS = """
study: shop
target: {kind: simulated, model: queue, repository: models}
workloads: {shop: {locustfile: load/shop.py, users: 2}}
space: {max_batch_size: [1, 4]}
slo: {p99: 900 ms}
"""


def test_a_pod_has_what_a_locustfile_imports_and_how_locust_is_configured(tmp_path: Path) -> None:
    for name, text in {
        "here/study.yaml": USERS,
        "here/models/queue/queue.json": '{"fixed_ms": 1.0, "each_ms": 0.1}',
        "here/load/shop.py": f"import catalogue\n{ASKING}",
        "here/load/catalogue.py": "from prices import of\n",
        "here/load/prices.py": "of = {}\n",
        "here/load/locust.conf": "stop-timeout = 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    study = placed(plan_of(load_study(tmp_path / "here" / "study.yaml"), WORKERS), tmp_path / "pod")
    assert (study.parent / "load" / "locust.conf").is_file()
    assert prepare(load_study(study), tmp_path / "log.txt").workloads[0].name == "shop", "Locust loads the file"


@pytest.mark.parametrize("model", ["meta-llama/Llama-3-8B", "gpt2"])
def test_a_model_of_a_hub_is_looked_for_in_no_volume(model: str, digits: Study) -> None:
    study = with_target(digits, kind="vllm", model=model)
    assert split(study).fetched == model
    job = made(study, replace(WORKERS, volume="data"))["worker"]
    assert "files" not in {one["name"] for one in (*pod(job)["volumes"], *container(job)["volumeMounts"])}


@pytest.mark.parametrize(
    ("kind", "model"), [("vllm", "./models/llama"), ("sglang", "models/deep/llama"), ("llamacpp", "models/llama.gguf")]
)
def test_a_model_that_is_a_path_is_in_the_volume(kind: str, model: str, digits: Study) -> None:
    study = with_target(digits, kind=kind, model=model)
    assert split(study).fetched is None
    (mount,) = [
        one
        for one in container(made(study, replace(WORKERS, volume="data"))["worker"])["volumeMounts"]
        if one["name"] == "files"
    ]
    assert mount["subPath"] == model.removeprefix("./")


def test_a_model_that_is_here_is_none_of_a_hub(own: Path) -> None:
    study = with_target(load_study(own), kind="vllm", model="digits/models")
    assert split(study).fetched is None
    assert "digits/models" in [str(one.given) for one in split(study).carried]


def test_the_keys_of_a_config_map_are_valid_and_differ() -> None:
    taken: set[str] = set()
    places = ["a/b.txt", "a.b.txt", "a b.txt", "..", "/", "é", "x" * 400]
    keys = [key_of(place, taken) for place in places]
    assert len(set(keys)) == len(places)
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) and not key.startswith("..") for key in keys)


def test_a_study_is_rendered_alike_every_time_and_reads_back_as_it_was(digits: Study) -> None:
    made = objects(plan_of(digits, EVERYTHING))
    text = yaml_of(made)
    assert text == yaml_of(objects(plan_of(load_study(DIGITS), EVERYTHING)))
    assert list(yaml.load_all(text, Loader=yaml.CSafeLoader)) == made


# -- names and refusals --


@pytest.mark.parametrize(
    ("study", "name"),
    [("digits", "digits"), ("Digits_v2.1", "digits-v2-1"), ("2024-run", "tune-2024-run"), ("_a.", "a")],
)
def test_the_name_of_a_study_becomes_one_of_kubernetes(study: str, name: str) -> None:
    assert name_of(study, None) == name


@pytest.mark.parametrize(
    ("study", "given", "why"),
    [
        ("übung", None, "'übung' cannot be a name in Kubernetes.*another one with --name"),
        ("x" * 41, None, "41 characters.*another one with --name"),
        ("digits", "Digits", "--name: 'Digits' cannot be a name"),
        ("digits", "-a", "--name: '-a' cannot be a name"),
        ("digits", "1a", "begins with a digit"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(study: str, given: str | None, why: str) -> None:
    with pytest.raises(ManifestError, match=why):
        name_of(study, given)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (Asked(workers=2), "--storage: workers share their trials in a database"),
        (replace(WORKERS, agents=2), "--workers and --agents do not go together: .*its own container alone reaches"),
        (replace(WORKERS, storage="postgresql://tune:hunter2@db/trials"), "--storage: holds a password"),
        (replace(WORKERS, storage="postgresql://tune@db/t?sslpassword=hunter2"), "--storage: holds a password"),
        (replace(WORKERS, storage="host=db password=hunter2"), "--storage: holds a password"),
        (replace(WORKERS, storage="sqlite:///trials.db"), "file of one host"),
        (replace(WORKERS, storage="trials.journal"), "file of one host"),
        (replace(WORKERS, storage="postgresql://tune@localhost/trials"), "localhost is each container itself"),
        (replace(WORKERS, storage="postgresql://[tune/trials"), "no address of a database"),
        (replace(WORKERS, namespace="My_Team"), "--namespace: 'My_Team'"),
        (replace(WORKERS, volume="a/b"), "--volume: 'a/b'"),
        (replace(WORKERS, volume="a:models"), "--volume: 'models' is no folder .*, like a:/models"),
        (replace(WORKERS, volume="a:/study"), "--volume: '/study' is no folder .* hides none of /study, "),
        (replace(WORKERS, volume="a:/"), "--volume: '/' is no folder"),
        (replace(WORKERS, volume="a:"), "--volume: '' is no folder"),
        (replace(WORKERS, secret="A"), "--secret: 'A'"),
        (replace(WORKERS, env=("HF_TOKEN=hunter2",)), "--env: expected a variable's name; give the name alone"),
        (replace(WORKERS, env=("HOME",)), "--env: the variable HOME is set by Paretune"),
        (replace(WORKERS, image="my image"), "--image: expected a container image"),
        (replace(WORKERS, server=Resources(2, "8 GB")), "--memory: expected a size in Mi or Gi"),
        (Asked("compose", namespace="tuning"), "--namespace is for --format kubernetes"),
        (Asked("compose", results="runs"), "--results is for --format kubernetes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_rendered_is_refused_with_the_remedy(asked: Asked, why: str, digits: Study) -> None:
    with pytest.raises(ManifestError, match=why) as refused:
        plan_of(digits, asked)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (
            "model: digits",
            "model: digits\n  launch: docker\n  docker: {image: a}",
            r"target.launch: a container has no",
        ),
        ("search:", 'isolation: {cores: {server: "0", generator: "1"}}\nsearch:', r"\d+: isolation.cores: names CPUs"),
    ],
)
def test_a_study_that_no_container_can_run_is_refused_at_its_line(before: str, after: str, why: str, own: Path) -> None:
    with pytest.raises(StudyError, match=why):
        plan_of(changed(own, before, after), WORKERS)


STARTED: dict[str, dict[str, Any]] = {
    "triton": {"model": "digits", "repository": "models"},
    "triton in a container": {"model": "d", "repository": "m", "launch": "docker", "docker": {"image": "a"}},
    "mlserver": {"model": "digits", "repository": "models"},
    "vllm": {"model": "opt"},
    "sglang": {"model": "opt"},
    "llamacpp": {"model": "opt.gguf"},
    "command": {"command": ["server"]},
    "simulated": {"model": "queue", "repository": "models"},
}
"""Targets of which Paretune starts the server."""
LLM, SERVED = {"kind": "openai", "model": "m"}, {"kind": "kserve", "model": "m"}
ELSEWHERE = {"kind": "triton", "model": "m", "launch": "remote"}


@pytest.mark.parametrize("kind", STARTED)
def test_agents_are_refused_where_the_server_is_in_the_container_of_the_run(kind: str, digits: Study) -> None:
    study = with_target(digits, kind=kind.partition(" ")[0], **STARTED[kind])
    with pytest.raises(StudyError, match=r"digits.yaml:5: target: Paretune starts this server.*an address of its own"):
        plan_of(study, AGENTS)


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ({**LLM, "url": "http://localhost:8000/v1"}, "url: localhost"),
        ({**LLM, "url": "http://0.0.0.0:8000"}, "url: 0.0.0.0"),
        ({**SERVED, "url": "grpc://[::1]:9000"}, "url: ::1"),
        ({"kind": "command", "url": "http://127.0.0.2:9000"}, "url: 127.0.0.2"),
        ({**ELSEWHERE, "url": "http://127.0.0.1:8000"}, "url: 127.0.0.1"),
        (
            {**ELSEWHERE, "protocol": "grpc", "url": "http://triton:8000", "grpc_url": "grpc://localhost:8001"},
            "grpc_url: localhost",
        ),
        (
            {**ELSEWHERE, "protocol": "grpc", "url": "http://localhost:8000", "grpc_url": "grpc://triton:8001"},
            "url: localhost",
        ),
        ({**ELSEWHERE, "url": "http://triton:8000", "metrics_url": "http://[::1]:8002"}, "metrics_url: ::1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_agents_are_refused_where_the_server_is_at_an_address_that_is_each_containers_own(
    target: dict[str, Any], key: str, digits: Study
) -> None:
    with pytest.raises(StudyError, match=rf"target\.{re.escape(key)} is each container itself.*an address of its own"):
        plan_of(with_target(digits, **target), AGENTS)


@pytest.mark.parametrize("form", ["kubernetes", "compose"])
def test_several_workers_are_refused_on_one_server_that_runs_already(form: Form, remote: Study) -> None:
    asked = replace(WORKERS, form=form)
    with pytest.raises(StudyError, match=r"target\.url: is one server .* 4 workers .* each needs a server of its own"):
        plan_of(remote, asked)
    (role,) = plan_of(remote, replace(asked, workers=1)).roles
    assert (role.component, role.count) == ("worker", 1)


EACH = ("target.url=http://triton-{index}.triton:8000",)


def test_each_worker_has_the_address_of_a_server_of_its_own() -> None:
    study = load_study(DIGITS, ["target.launch=remote", EACH[0].replace("{index}", "0")])
    job = made(study, replace(WORKERS, each=EACH))["worker"]
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    assert container(job)["args"][4:] == [
        "--set", "target.launch=remote", "--set", "target.url=http://triton-$(HOST_INDEX).triton:8000"
    ]  # fmt: skip
    assert "HOST_INDEX" in {one["name"] for one in container(job)["env"]}, "Kubernetes puts its value in place"
    services = compose_file(plan_of(study, Asked("compose", workers=3, each=EACH)), Path())["services"]
    for index in range(3):
        command = services[f"worker-{index}"]["command"]
        given = load_study(DIGITS, [one for one in command if one.startswith("target.")])
        assert str(getattr(given.spec.target, "url", "")).rstrip("/") == f"http://triton-{index}.triton:8000"


def test_every_address_of_a_server_is_each_workers_own(digits: Study) -> None:
    target = {**ELSEWHERE, "protocol": "grpc", "url": "http://triton-0:8000", "grpc_url": "grpc://triton:8001"}
    study = replace(with_target(digits, **target), overrides=EACH)
    with pytest.raises(
        StudyError, match=r"target\.grpc_url: is one server.*--each target\.grpc_url=\.\.\., with {index}"
    ):
        plan_of(study, replace(WORKERS, each=EACH))


@pytest.mark.parametrize("each", ["target.url=http://triton:8000", "target.model=m{index}", "{index}", "target.url"])
def test_what_is_no_address_of_each_worker_is_refused(each: str, digits: Study) -> None:
    with pytest.raises(ManifestError, match=rf"^--each: expected .* but got '{re.escape(each)}'"):
        plan_of(digits, replace(WORKERS, each=(each,)))


def test_a_run_with_agents_has_no_server_for_each(remote: Study) -> None:
    with pytest.raises(ManifestError, match=r"^--each is about workers"):
        plan_of(remote, replace(AGENTS, each=EACH))


@pytest.mark.parametrize("workers", [None, 1])
def test_a_worker_is_refused_where_the_server_is_at_an_address_that_is_its_own(
    workers: int | None, digits: Study
) -> None:
    study = with_target(digits, **LLM, url="http://localhost:8000/v1")
    with pytest.raises(StudyError, match=r"target\.url: localhost is each container itself, and the worker"):
        plan_of(study, replace(WORKERS, workers=workers))


@pytest.mark.parametrize(
    "target",
    [
        {**LLM, "url": "http://llm:8000/v1"},
        {**SERVED, "url": "grpc://10.0.0.5:9000"},
        {"kind": "command", "url": "https://server.internal"},
        {**ELSEWHERE, "protocol": "grpc", "url": "http://[fd00::5]:8000", "grpc_url": "grpc://[fd00::5]:8001"},
    ],
    ids=lambda target: target["kind"],
)
def test_agents_are_rendered_for_a_server_that_has_an_address_of_its_own(target: dict[str, Any], digits: Study) -> None:
    assert [role.component for role in plan_of(with_target(digits, **target), AGENTS).roles] == ["run", "agent"]


def test_what_is_no_address_of_a_server_is_refused_with_agents(digits: Study) -> None:
    study = with_target(digits, **LLM, url="http://llm:8000")
    target = study.spec.target.model_copy(update={"url": "http://[llm:8000"})  # a kind of others may let it through
    with pytest.raises(StudyError, match=r"target\.url: no address of a server: "):
        plan_of(replace(study, spec=study.spec.model_copy(update={"target": target})), AGENTS)


def test_agents_are_refused_where_users_of_a_locustfile_make_the_load(remote: Study) -> None:
    workloads = {"users": LocustSpec(locustfile=Path("locustfile.py"))}
    study = replace(remote, spec=remote.spec.model_copy(update={"workloads": workloads}))
    with pytest.raises(StudyError, match=r"workloads\.users\.locustfile: its users run where the study runs"):
        plan_of(study, AGENTS)


def test_the_study_of_agents_is_one_that_can_be_run(tmp_path: Path) -> None:
    target = prepare(study_for(AGENTS), tmp_path / "log.txt").target
    assert target.user_config()["precision"] == "fp32"


# -- docker compose --


def compose_schema() -> Draft202012Validator:
    """The schema of the Compose Specification, as check-jsonschema carries it."""
    text = (files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text()
    return Draft202012Validator(json.loads(text))


COMPOSED = {
    "worker": Asked("compose"),
    "workers": Asked("compose", workers=2, server=Resources(3, "512Mi", 1)),
    "journal": Asked("compose", workers=2, storage="/shared/study.log"),
    "agents": Asked("compose", agents=2, storage="postgresql://tune:$SECRET@db/trials"),
}


@pytest.mark.parametrize("asked", COMPOSED.values(), ids=COMPOSED)
def test_a_compose_file_is_valid_by_the_schema_of_the_specification(asked: Asked) -> None:
    compose_schema().validate(yaml.safe_load(yaml_of([compose_file(plan_of(study_for(asked), asked), Path())])))


def test_the_schema_refuses_what_compose_has_not(digits: Study) -> None:
    document = compose_file(plan_of(digits, COMPOSED["worker"]), Path())
    document["services"]["worker-0"]["cpu_set"] = "0"
    with pytest.raises(AgainstTheSchema, match="cpu_set"):
        compose_schema().validate(document)


def test_a_compose_file_brings_the_database_unless_one_is_given(digits: Study) -> None:
    services = compose_file(plan_of(digits, COMPOSED["workers"]), Path())["services"]
    assert services["worker-1"]["command"][-2:] == ["--storage", "postgresql://tune@postgres/trials"]
    assert services["worker-1"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "--host=127.0.0.1" in services["postgres"]["healthcheck"]["test"], "its first start answers on a socket"
    password = services["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert password == services["worker-0"]["environment"]["PGPASSWORD"]
    assert password.startswith("${PGPASSWORD:?")
    elsewhere = compose_file(plan_of(digits, replace(COMPOSED["workers"], storage=DATABASE)), Path())
    assert "postgres" not in elsewhere["services"]
    assert "volumes" not in elsewhere


def test_code_that_a_server_compiles_into_its_temporary_folder_can_be_loaded(digits: Study) -> None:
    services = compose_file(plan_of(digits, COMPOSED["worker"]), Path())["services"]
    ((place, options),) = [one.split(":") for one in services["worker-0"]["tmpfs"]]
    assert place == services["worker-0"]["environment"]["HOME"]
    assert "exec" in options.split(",")


def test_services_of_one_machine_share_no_cpu_and_no_gpu(digits: Study) -> None:
    services = compose_file(plan_of(digits, COMPOSED["workers"]), Path())["services"]
    workers = [services[f"worker-{index}"] for index in range(2)]
    assert [one["cpuset"] for one in workers] == ["0-2", "3-5"]
    assert services["postgres"]["cpuset"] == "6"
    assert len(services) == 3, "no other is without CPUs of its own"
    reserved = [one["deploy"]["resources"]["reservations"]["devices"] for one in workers]
    assert [one[0]["device_ids"] for one in reserved] == [["0"], ["1"]]
    assert reserved[0][0]["capabilities"] == ["gpu"]


def test_agents_of_a_compose_file_find_the_run_and_share_its_token(remote: Study) -> None:
    services = compose_file(plan_of(remote, COMPOSED["agents"]), Path())["services"]
    assert services["agent-1"]["command"][:2] == ["agent", "--master"]
    assert services["agent-1"]["command"][2] in services["run"]["networks"]["default"]["aliases"]
    assert services["agent-1"]["environment"]["PARETUNE_TOKEN"] == services["run"]["environment"]["PARETUNE_TOKEN"]
    assert "search.storage=postgresql://tune:$$SECRET@db/trials" in services["run"]["command"], "compose takes one off"


def test_the_study_is_mounted_from_where_it_is(digits: Study, tmp_path: Path) -> None:
    plan = plan_of(digits, COMPOSED["worker"])
    for folder in (tmp_path, DIGITS.parent, DIGITS.parent / "digits"):
        mounts = compose_file(plan, folder)["services"]["worker-0"]["volumes"]
        (study,) = [one for one in mounts if one["target"] == "/study"]
        assert (folder / study["source"]).resolve() == DIGITS.parent
        assert study["source"].startswith(".")
        assert study["read_only"]


# -- the command lines --


@pytest.mark.parametrize("asked", [*ASKED.values(), *COMPOSED.values()], ids=[*ASKED, *COMPOSED])
def test_the_commands_of_containers_are_commands_of_paretune(asked: Asked) -> None:
    study = study_for(asked)
    overridden = load_study(DIGITS, [*study.overrides, "search.budget.trials=3"])
    group: Any = typer.main.get_command(cli.app)
    for rendered in (study, overridden):
        roles = plan_of(rendered, asked).roles
        for role in (one for one in roles if all(other.arguments[0] in COMMANDS for other in roles)):
            root = group.make_context("tune", list(role.arguments))
            name, command, rest = group.resolve_command(root, [*root._protected_args, *root.args])
            assert not command.make_context(name, rest, parent=root).args
