"""An agent that was the limit is named, however small its part of the load."""

import numpy as np
import pytest
import workload_builders
from record_builders import MS, records

from targets.base import Outcome
from tuner import validity
from tuner.load.plan import AgentReport, RunReport, merged_reports
from tuner.metrics import generator_report, summarise
from tuner.records import Records
from tuner.results import Validity
from tuner.runs import Run, pooled_runs
from tuner.slo import Slo

SLO = Slo({"p99": 0.01})
NAME = workload_builders.workload().name


def agent(number: int, cpu_share: float = 0.2, late_s: float = 0.0, start_skew_s: float = 5e-4) -> AgentReport:
    return AgentReport(
        f"agent {number + 1} (load-{number}, 10.0.0.{number})",
        4,
        (number, number + 1),
        cpu_share,
        0.002,
        1e-3,
        start_skew_s,
        late_s,
    )


def report(*agents: AgentReport, notes: tuple[str, ...] = ()) -> RunReport:
    return RunReport(1000, max(one.cpu_share for one in agents), 0, 0.0, 1, 0, agents=agents, notes=notes)


def of_agents(late_ms: float, agents: int = 200, each: int = 10) -> Records:
    """Records of so many agents; the third one sent this late."""
    some = records([(index, index + 0.1, index + 5, Outcome.OK) for index in range(agents * each)])
    some.columns["worker"][:] = np.arange(agents * each) % agents
    some.columns["sent_ns"][some.columns["worker"] == 2] += round(late_ms * MS)
    return some


def judged(some: Records, own: RunReport) -> Validity:
    run = Run(some, None, 0.1, own)
    reasons = validity.reasons(run, NAME, {NAME: SLO}, None)
    return Validity(valid=not reasons, reasons=reasons, warnings=validity.warnings(run, summarise(some, SLO), SLO))


def test_agents_that_kept_out_of_the_way_make_a_valid_measurement() -> None:
    assert judged(of_agents(0.0), report(*map(agent, range(200)))) == Validity(valid=True)


def test_an_agent_that_sent_late_is_named_though_the_p99_of_all_is_within_its_bound() -> None:
    some, own = of_agents(2.0), report(*map(agent, range(200)))
    assert generator_report(some, own).issue_delay_p99_s < 1e-3
    (reason,) = judged(some, own).reasons
    assert reason.startswith("agent 3 (load-2, 10.0.0.2) sent late: issue delay p99 2.10 ms is over 1.00 ms")


def test_an_agent_that_used_up_its_core_is_named() -> None:
    (reason,) = judged(of_agents(0.0, 2, 500), report(agent(0), agent(1, cpu_share=0.95))).reasons
    assert reason.startswith("agent 2 (load-1, 10.0.0.1) was the limit: it used 95% of its core")
    assert "--agents" in reason


def test_an_agent_that_started_late_and_what_was_lost_are_warnings() -> None:
    found = judged(
        of_agents(0.0, 2, 500), report(agent(0, late_s=0.012), agent(1), notes=("made by 2 agents: lost x",))
    )
    assert found.valid
    assert "agent 1 (load-0, 10.0.0.0) had its part of the load 12.0 ms after the agreed start" in found.warnings[0]
    assert found.warnings[1] == "made by 2 agents: lost x"


def test_an_agent_far_away_is_a_warning_that_says_how_far_apart_the_starts_may_be() -> None:
    found = judged(of_agents(0.0, 2, 500), report(agent(0, start_skew_s=0.04), agent(1, start_skew_s=1e-3)))
    assert found.valid
    (warning,) = found.warnings
    assert warning.startswith(
        "agent 1 (load-0, 10.0.0.0) may have begun up to 40.0 ms before or after the agreed start"
    )


def test_what_an_agent_did_is_told_apart_from_what_the_others_did() -> None:
    found = generator_report(of_agents(2.0, 4, 250), report(*map(agent, range(4))))
    assert [one.requests for one in found.agents] == [250] * 4
    assert [one.issue_delay_p99_s for one in found.agents] == pytest.approx([1e-4, 1e-4, 2.1e-3, 1e-4])
    assert found.processes == 4


def test_of_several_rounds_each_agent_is_there_once_with_its_worst() -> None:
    rounds = [report(agent(0, 0.3), agent(1)), report(agent(0, 0.1, late_s=0.5), notes=("made by 1 agent",))]
    merged = merged_reports(rounds)
    assert [one.name.split(" (")[0] for one in merged.agents] == ["agent 1", "agent 2"]
    assert (merged.agents[0].cpu_share, merged.agents[0].late_s) == (0.3, 0.5)
    assert merged.notes == ("made by 1 agent",)


def test_one_busy_round_of_an_agent_does_not_spoil_all_that_are_pooled_but_being_busy_in_all_does() -> None:
    rounds = [report(agent(0), agent(1, share)) for share in (0.99, 0.2, 0.2)] + [report(agent(0))]
    pooled = pooled_runs([Run(of_agents(0.0, 2, 500), None, 0.1, one) for one in rounds])
    assert [one.cpu_share for one in pooled.report.agents] == pytest.approx([0.2, (0.99 + 0.2 + 0.2) / 3])
    assert judged(of_agents(0.0, 2, 500), pooled.report).valid
    busy = pooled_runs([Run(of_agents(0.0, 2, 500), None, 0.1, report(agent(0), agent(1, 0.95)))] * 3)
    (reason,) = judged(of_agents(0.0, 2, 500), busy.report).reasons
    assert "agent 2 (load-1, 10.0.0.1) was the limit" in reason
