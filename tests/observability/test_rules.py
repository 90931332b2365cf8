"""Each alert on synthetic series, with Prometheus' promtool: one case in which it fires, one in which it does not."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.observability.queries import ROOT, RULES, alerts, promtool

pytestmark = pytest.mark.deploy

SERVER = {"instance": "a:9000", "job": "maritalk"}
STATE = 'maritalk_server_state{job="maritalk", instance="a:9000", maritalk_server_state="%s"}'
OF = '%s{job="maritalk", instance="a:9000"}'
REQUESTS = 'maritalk_requests_total{job="maritalk", instance="a:9000", status="%s"}'
SECONDS = 'maritalk_request_seconds_bucket{job="maritalk", instance="a:9000", route="%s", le="%s"}'
READY = {STATE % "ready": "1x40"}
WAITING, KV_CACHE = OF % "vllm:num_requests_waiting", OF % "vllm:kv_cache_usage_perc"
OF_VLLM = 'vllm:%s{job="vllm", instance="v:8000"}'
START, RESTARTS = OF % "maritalk_server_start_time_seconds", OF % "maritalk_engine_restarts_total"
DAYS = OF % "maritalk_license_days_left"

Series = dict[str, str]
"""Series by name and labels, with a value a minute: `1+2x3` is 1, 3, 5, 7."""


@dataclass(frozen=True)
class Case:
    """Test data of an alert: it fires on `fires` after some minutes with this text, and does not fire on `quiet`."""

    minutes: int
    fires: Series
    quiet: Series
    summary: str
    description: str
    labels: dict[str, str]


def case(minutes: int, fires: Series, quiet: Series, summary: str, description: str, **labels: str) -> Case:
    return Case(minutes, fires, quiet, summary, description, {**SERVER, **labels})


CASES = {
    "MariTalkDown": case(
        5,
        {OF % "up": "1 1 0 0 0 0"},
        {OF % "up": "1 1 1 0 0 1", 'up{job="other", instance="b"}': "0x9"},
        "a:9000 does not answer.",
        "Prometheus could not scrape a:9000 for a minute: requests of clients probably fail too.",
    ),
    "MariTalkFailed": case(
        6,
        # Scraped once before it disappeared.
        {STATE % "failed": "0 0 1 stale"},
        {STATE % "failed": "0x9", STATE % "draining": "1x9"},
        "a:9000 has failed.",
        "The engine of a:9000 did not start, or died too often: the server exits with code 7.",
        maritalk_server_state="failed",
    ),
    "MariTalkStartedRepeatedly": case(
        20,
        {START: "1000x3 1300x3 1600x3 1900x9"},
        # Two updates.
        {START: "1000x3 1300x3 1600x13"},
        "a:9000 restarts repeatedly.",
        "The server at a:9000 was started 3 times within 30 minutes.",
    ),
    "MariTalkNotReady": case(
        17,
        {STATE % "ready": "1 0x16", STATE % "loading": "0 1x16"},
        {STATE % "ready": "0x13 1x9"},
        "a:9000 is not ready.",
        "a:9000 answers, but has not been ready for 15 minutes.",
        maritalk_server_state="ready",
    ),
    "MariTalkEngineRestarts": case(
        30,
        {RESTARTS: "0x9 1x9 2x20"},
        # One restart is not too many, whenever it was; a new server starts at zero.
        {RESTARTS: "7x9 8x30", OF.replace("a:", "b:") % "maritalk_engine_restarts_total": "3x9 0x30"},
        "The engine of a:9000 dies repeatedly.",
        "The server restarted it about 2 times within 30 minutes.",
    ),
    "MariTalkWaitingGrows": case(
        30,
        {WAITING: "0+5x40", **READY},
        # Many, but fewer and fewer; or of vLLM's own server.
        {WAITING: "200-5x40", OF_VLLM % "num_requests_waiting": "0+5x40", **READY},
        "a:9000 receives more requests than it can answer.",
        "150 requests are waiting, and the queue has grown for 10 minutes.",
    ),
    "MariTalkKVCacheFull": case(
        15,
        {KV_CACHE: "0.5 0.97x30", **READY},
        # Full for short times, which is normal; or of vLLM's own server.
        {KV_CACHE: "0.97x8 0.9 0.97x30", OF_VLLM % "kv_cache_usage_perc": "0.97x30", **READY},
        "The KV cache of a:9000 is full.",
        "97% of it has been in use for 10 minutes: new requests wait until others finish.",
    ),
    "MariTalkErrors": case(
        20,
        {REQUESTS % "200": "0+90x30", REQUESTS % "503": "0+6x30", REQUESTS % "500": "0+4x30"},
        # As many, but caused by the clients.
        {REQUESTS % "200": "0+90x30", REQUESTS % "400": "0+10x30", REQUESTS % "500": "0+1x30"},
        "a:9000 answers many requests with errors.",
        "10% of its requests have ended with a status of 500 or more for 5 minutes.",
    ),
    "MariTalkSlow": case(
        30,
        {
            SECONDS % ("/generate", "60"): "0+92x40",
            SECONDS % ("/generate", "120"): "0+100x40",
            SECONDS % ("/generate", "+Inf"): "0+100x40",
            # Many fast requests that generate nothing.
            SECONDS % ("/", "60"): "0+9000x40",
            SECONDS % ("/", "+Inf"): "0+9000x40",
        },
        {
            SECONDS % ("/v1/completions", "60"): "0+96x40",
            SECONDS % ("/v1/completions", "120"): "0+100x40",
            SECONDS % ("/v1/completions", "+Inf"): "0+100x40",
        },
        "a:9000 answers slowly.",
        "One answer in twenty has taken more than 1m 22s for 10 minutes.",
    ),
    "MariTalkLicenseEndsSoon": case(
        1,
        {DAYS: "13.5x9"},
        {DAYS: "14x9", OF.replace("a:", "b:") % "maritalk_license_days_left": "2.9x9"},
        "The licence of a:9000 ends in 13.5 days.",
        "A running server continues after that, but no server starts.",
    ),
    "MariTalkLicenseEnds": case(
        1,
        {DAYS: "2.5x9"},
        {DAYS: "3x9"},
        "The licence of a:9000 ends in 2.5 days.",
        "A running server continues after that, but no server starts, not even after a crash of the machine.",
    ),
}


def test_the_rules_are_valid_and_each_has_a_case() -> None:
    assert f"{len(CASES)} rules found" in promtool("check", "rules", RULES)
    assert set(CASES) == set(alerts())


def tried(name: str, series: Series, expected: list[dict[str, object]], folder: Path) -> None:
    test = {
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{CASES[name].minutes}m", "alertname": name, "exp_alerts": expected}],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", file)


@pytest.mark.parametrize("name", CASES)
def test_the_alert_fires_with_its_text(name: str, tmp_path: Path) -> None:
    case, rule = CASES[name], alerts()[name]
    annotations = {**rule["annotations"], "summary": case.summary, "description": case.description}
    tried(
        name, case.fires, [{"exp_labels": {**rule["labels"], **case.labels}, "exp_annotations": annotations}], tmp_path
    )


def test_a_job_without_targets_is_down(tmp_path: Path) -> None:
    """Its series have ended or never were; another job's do not count."""
    rule = alerts()["MariTalkDown"]
    annotations = {
        **rule["annotations"],
        "summary": "Job maritalk has no target.",
        "description": "Prometheus has had no server to scrape for a minute: none runs, or the job has another name.",
    }
    expected: list[dict[str, object]] = [
        {"exp_labels": {**rule["labels"], "job": "maritalk"}, "exp_annotations": annotations}
    ]
    tried("MariTalkDown", {OF % "up": "1 1 stale", 'up{job="other", instance="b"}': "1x9"}, expected, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_the_alert_does_not_fire(name: str, tmp_path: Path) -> None:
    tried(name, CASES[name].quiet, [], tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_the_alert_has_a_section_in_the_runbook(name: str) -> None:
    rule = alerts()[name]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}
    assert rule["labels"]["severity"] in ("critical", "warning")
