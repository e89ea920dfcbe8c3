"""Flags of tritonserver's command line: read, changed, written, and compared with what the server logs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from targets.base import TargetError
from targets.triton import flags
from targets.triton.command_line import offer_to, with_given
from targets.triton.options import TritonOptions
from targets.triton.rules import Offer

VALUES = {
    "http_thread_count": 16,
    "grpc_infer_allocation_pool_size": 32,
    "model_load_thread_count": 2,
    "buffer_manager_thread_count": 4,
    "pinned_memory_pool_size": 0,
    "cuda_memory_pool_size": 1024,
    "cache_size": 1048576,
    "rate_limit": "execution_count",
}
WRITTEN = [
    "--http-thread-count=16",
    "--grpc-infer-allocation-pool-size=32",
    "--model-load-thread-count=2",
    "--buffer-manager-thread-count=4",
    "--pinned-memory-pool-byte-size=0",
    "--cuda-memory-pool-byte-size=0:1024",
    "--cache-config=local,size=1048576",
    "--rate-limit=execution_count",
]
TABLE = """
+----------------------------------+-------------------------------+
| Option                           | Value                         |
+----------------------------------+-------------------------------+
| server_id                        | triton                        |
| model_repository_path[0]         | /tmp/x                        |
| rate_limit                       | EXEC_COUNT                    |
| pinned_memory_pool_byte_size     | 268435456                     |
| cuda_memory_pool_byte_size{0}    | 67108864                      |
| cache_enabled                    | 1                             |
+----------------------------------+-------------------------------+
"""


def options(**given: object) -> TritonOptions:
    return TritonOptions.model_validate({"model": "m", "repository": "r", **given})


def test_every_knob_is_a_flag_and_every_flag_is_read_back_as_its_knob() -> None:
    assert set(VALUES) == {knob.name for knob in flags.KNOBS}
    assert flags.server_flags(VALUES) == WRITTEN
    assert flags.flag_values(WRITTEN) == VALUES


def test_a_configuration_without_flags_leaves_the_command_line_as_it_is() -> None:
    assert flags.server_flags({"max_batch_size": 8}) == []
    assert flags.server_flags({"max_batch_size": 8}, ["--id=x"]) == ["--id=x"]


def test_a_tuned_flag_takes_the_place_of_the_users_own() -> None:
    own = ["--id=x", "--http-thread-count=4", "--exit-on-error=false", "--http-thread-count=5"]
    assert flags.server_flags({"http_thread_count": 9, "rate_limit": "off"}, own) == [
        "--id=x", "--http-thread-count=9", "--exit-on-error=false", "--rate-limit=off",
    ]  # fmt: skip


def test_the_users_own_values_change_nothing() -> None:
    own = ["--http-thread-count=4", "--http-thread-count=5"]
    assert flags.server_flags(flags.flag_values(own), own) == own


def test_the_pool_of_gpu_0_is_tuned_and_those_of_others_stay() -> None:
    own = ["--cuda-memory-pool-byte-size=1:5", "--cuda-memory-pool-byte-size=0:7"]
    assert flags.flag_values(own) == {"cuda_memory_pool_size": 7}
    assert flags.server_flags({"cuda_memory_pool_size": 9}, own) == [own[0], "--cuda-memory-pool-byte-size=0:9"]


def test_no_cache_is_no_flag() -> None:
    assert flags.server_flags({"cache_size": 0}) == []
    assert flags.server_flags({"cache_size": 0}, ["--cache-config=local,size=5", "--id=x"]) == ["--id=x"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), max_size=5))
def test_an_exported_command_line_is_read_as_it_was(values: list[str]) -> None:
    written = [f"--id={value}" for value in values]
    assert flags.from_text(flags.to_text(written)) == written


@pytest.mark.parametrize(("text", "message"), [("\x00 nothing", "not a flag"), ("'", "not a list of flags")])
def test_what_is_no_list_of_flags_is_refused(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=rf"server-flags\.txt: {message}"):
        flags.from_text(text)


def test_the_servers_table_of_options_is_read_from_its_log() -> None:
    told = flags.logged_options(f"I1127 00:24:01.5 1 tritonserver.cc:2598] \n{TABLE}\nI1127 ...")
    assert told["rate_limit"] == "EXEC_COUNT"
    assert "Option" not in told
    assert flags.logged_options("nothing") == {}


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        (["--rate-limit=execution_count", "--pinned-memory-pool-byte-size=268435456", "--http-thread-count=3"], []),
        (["--cache-config=local,size=77"], []),
        (["--rate-limit=off"], ["rate_limit: asked off, the server says rate_limit is EXEC_COUNT"]),
        (
            ["--pinned-memory-pool-byte-size=1"],
            ["pinned_memory_pool_size: asked 1, the server says pinned_memory_pool_byte_size is 268435456"],
        ),
        (["--cuda-memory-pool-byte-size=0:67108864", "--cuda-memory-pool-byte-size=1:5"], []),
        (
            ["--cuda-memory-pool-byte-size=0:1"],
            ["cuda_memory_pool_size: asked 1, the server says cuda_memory_pool_byte_size{0} is 67108864"],
        ),
        (["--cache-config=local,size=0"], ["cache_size: asked 0, the server says cache_enabled is 1"]),
    ],
)
def test_a_flag_that_the_server_took_otherwise_is_named(asked: list[str], wrong: list[str]) -> None:
    assert list(flags.mismatches(asked, flags.logged_options(TABLE))) == wrong


def test_flags_of_a_study_are_spelled_as_on_a_command_line() -> None:
    given = {"--id": "x", "exit_on_error": False, "rate-limit-resource": ["R1:10", "R2:5"], "http-thread-count": 3}
    assert options(flags=given).own_flags == (
        "--id=x", "--exit-on-error=false", "--rate-limit-resource=R1:10", "--rate-limit-resource=R2:5",
        "--http-thread-count=3",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model-repository": "/x"}, "Paretune sets `model-repository` itself"),
        ({"HTTP port": 1}, "expected the name of a flag"),
        ({"--http_port": 1}, "Paretune sets `http-port` itself"),
    ],
)
def test_flags_that_cannot_be_given_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        options(flags=given)


def test_a_value_that_is_none_of_the_flags_is_named() -> None:
    with pytest.raises(TargetError, match=r"target\.flags: --http-thread-count=many: not a value of it"):
        flags.flag_values(["--http-thread-count=many"])
    with pytest.raises(TargetError, match="one of off, execution_count"):
        flags.flag_values(["--rate-limit=on"])


def test_a_resource_has_what_the_last_of_its_flags_says_unless_one_is_of_a_single_device() -> None:
    given = [
        "--rate-limit=off",
        *(f"{flags.RESOURCE}{one}" for one in ("R:10", "S:5", "S:7", "T:1", "T:2:0", "U:many")),
    ]
    assert flags.resources(given) == {"R": 10, "S": 7}


@pytest.mark.parametrize(("limit", "left"), [("execution_count", (("R", 4),)), ("off", ())])
def test_resources_bind_where_the_rate_limiter_is_on(limit: str, left: tuple[tuple[str, int], ...]) -> None:
    own = [f"{flags.RESOURCE}R:4"]
    offer = with_given(Offer(rate_limit=True), own)
    assert offer_to({"rate_limit": limit}, offer, [*own, "--rate-limit=execution_count"], dict).resources == left
