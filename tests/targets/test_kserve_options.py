"""The target kserve before it reaches a server: its section of the study, its headers, who is not there."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from targets import registry
from targets.base import Context, ServerHung, TargetError
from targets.kserve.options import KServeOptions
from targets.kserve.target import KServeTarget
from workloads.requests import Prompts


def target(folder: Path, **options: object) -> KServeTarget:
    values = {"url": "http://127.0.0.1:1", "model": "digits", **options}
    return KServeTarget(KServeOptions.model_validate(values), Context(folder, folder / "log.txt"))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://host:8000", ("http", "host", 8000, "")),
        ("http://host", ("http", "host", 80, "")),
        ("https://host/serving/v2/", ("https", "host", 443, "/serving")),
        ("grpc://[::1]:9000", ("grpc", "::1", 9000, "")),
        ("grpcs://host", ("grpcs", "host", 443, "")),
    ],
)
def test_a_url_says_protocol_host_port_and_path(url: str, place: tuple[object, ...]) -> None:
    options = KServeOptions(url=url, model="m")
    assert options.place == place
    assert options.keeps_connections == (place[0] in ("grpc", "grpcs"))
    assert options.place.secure == (place[0] in ("https", "grpcs"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"url": "host:8000"},
            "expected http://HOST:PORT, https://HOST, grpc://HOST:PORT or grpcs://HOST, but got 'host:8000'",
        ),
        ({"url": "ftp://host"}, "expected http://HOST:PORT"),
        ({"url": "grpc://host"}, "expected a port from 1 to 65535 at the end of 'grpc://host'"),
        ({"url": "http://host:99999"}, "expected a port from 1 to 65535"),
        ({"url": "grpcs://host:1/x"}, "a server of gRPC has no path"),
        ({"url": "grpc://host:1", "ca": "ca.pem"}, "`ca` is for https and grpcs, and 'grpc://host:1' is not"),
        ({"url": "grpc://host:1/x"}, "a server of gRPC has no path, .* leave '/x' out"),
        ({"url": "http://me:secret@host"}, r"but got 'http://\*\*\*@host'; secrets go into `headers`"),
        ({"url": "http://host?key=secret"}, r"but got 'http://host\?\*\*\*'; secrets go into `headers`"),
        ({"url": "http://host:1", "protocol": "grpc"}, "`protocol: grpc` does not go with 'http://host:1'"),
        (
            {"url": "http://host:1", "ca": "ca.pem"},
            "`ca` is for https and grpcs, and 'http://host:1' is not; take it out",
        ),
        ({"url": "http://host:1", "headers": {"Host": "x"}}, "Paretune writes `Host` itself; leave it out"),
        ({"url": "http://host:1", "headers": {"a b": "x"}}, "not the name of a header: 'a b'"),
        ({"url": "http://host:1", "heders": {}}, "unknown key `heders`; did you mean `headers`\\?"),
    ],
)
def test_a_section_that_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        KServeOptions.model_validate({"model": "m", **options})


def test_the_target_is_found_by_its_kind() -> None:
    assert registry.options_of("kserve") is KServeOptions
    assert list(registry.knobs("kserve")) == []
    assert "by its URL" in registry.availability("kserve")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "grpc://127.0.0.1:1"])
def test_a_server_that_is_not_there_is_an_error_with_its_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(ServerHung, match=f"{url} does not answer"):
        target(tmp_path, url=url).start()


def test_prompts_are_no_tensors(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="this server takes tensors, not prompts"):
        target(tmp_path).check_requests(Prompts(["a"], np.array([1])))


def test_a_file_of_certificates_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"target\.ca: .*ca\.pem: no such file"):
        target(tmp_path, url="https://127.0.0.1:1", ca="ca.pem")


def test_a_variable_of_a_header_has_to_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = target(tmp_path, headers={"Authorization": "Bearer ${KSERVE_TOKEN}"})
    monkeypatch.delenv("KSERVE_TOKEN", raising=False)
    with pytest.raises(TargetError, match=r"target\.headers\.Authorization: .* variable KSERVE_TOKEN is not set"):
        made.start()
    monkeypatch.setenv("KSERVE_TOKEN", "a\nb")
    with pytest.raises(TargetError, match=r"target\.headers\.Authorization: the value cannot be sent"):
        made.start()
