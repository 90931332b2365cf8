"""Files and batches on the stub engine: whole, killed, drained, and with several keys."""

import json
import os
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.batches.samples import jsonl, line
from tests.counting import samples
from tests.lanes import nightly
from tests.serving import Answer, note, until
from tests.stub_engine.server import StubServer

ANA, RUI = "ana-0123456789abcdef", "rui-0123456789abcdef"
KEYS = ("--api-key", ANA, "--api-key", RUI)


def send(
    server: StubServer,
    method: str,
    path: str,
    body: bytes | None = None,
    key: str | None = None,
    kind: str = "application/json",
) -> Answer:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", body, method=method)
    request.add_header("Content-Type", kind)
    if key is not None:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return Answer(reply.status, dict(reply.headers), reply.read(), 0)
    except urllib.error.HTTPError as reply:
        with reply:
            return Answer(reply.code, dict(reply.headers), reply.read(), 0)


def form(content: bytes, filename: str = "lines.jsonl", **fields: str) -> bytes:
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    return "".join(parts).encode() + head.encode() + content + b"\r\n--x--\r\n"


def upload(server: StubServer, content: bytes, key: str | None = None, path: str = "/v1/files", **named: str) -> Answer:
    body = form(content, **({"purpose": "batch"} | named))
    return send(server, "POST", path, body, key, "multipart/form-data; boundary=x")


def create(
    server: StubServer, file_id: str, key: str | None = None, path: str = "/v1/batches", **named: object
) -> Answer:
    body = {"input_file_id": file_id, "endpoint": "/generate", "completion_window": "24h"} | named
    return send(server, "POST", path, json.dumps(body).encode(), key)


def submit(server: StubServer, lines: list[object], key: str | None = None) -> str:
    """Upload lines, and return the id of their batch."""
    batch = create(server, upload(server, jsonl(lines), key).json["id"], key)
    assert batch.status == 200, batch.body
    return str(batch.json["id"])


def batch_of(server: StubServer, batch_id: str, key: str | None = None) -> Any:
    return send(server, "GET", f"/v1/batches/{batch_id}", key=key).json


def wait_for(server: StubServer, batch_id: str, *statuses: str, key: str | None = None) -> Any:
    until(lambda: batch_of(server, batch_id, key)["status"] in statuses, f"{statuses}", 60)
    return batch_of(server, batch_id, key)


def results(server: StubServer, file_id: str, key: str | None = None) -> list[Any]:
    content = send(server, "GET", f"/v1/files/{file_id}/content", key=key)
    assert content.status == 200
    return [json.loads(each) for each in content.body.splitlines()]


def metric(server: StubServer, name: str, *, key: str, of: tuple[str, ...] = ()) -> float:
    """The sum of a metric, as a key sees it, over the samples that have these labels."""
    found = samples(send(server, "GET", "/metrics", key=key).body.decode())
    return sum(value for (each, labels), value in found.items() if each == name and {*of} <= {*dict(labels).values()})


@pytest.mark.parametrize("prefix", ["/v1", "/api"])
def test_a_batch_has_a_result_for_each_line(tmp_path: Path, prefix: str) -> None:
    with StubServer(tmp_path) as server:
        server.wait_until_ready()
        wrong = [line("no", prompt=7), line("stream", stream=True)]
        lines = [*(line(f"id-{index}") for index in range(30)), *wrong]
        file = upload(server, jsonl(lines), path=f"{prefix}/files")
        assert file.status == 200, file.body
        assert file.json["purpose"] == "batch" and file.json["bytes"] == len(jsonl(lines))
        created = create(server, file.json["id"], path=f"{prefix}/batches", metadata={"a": "b"})
        assert (created.status, created.json["status"], created.json["metadata"]) == (200, "validating", {"a": "b"})
        batch = wait_for(server, created.json["id"], "completed")
        assert batch["request_counts"] == {"total": 32, "completed": 30, "failed": 2}
        assert batch["completed_at"] >= batch["finalizing_at"] >= batch["in_progress_at"] >= batch["created_at"]
        output = results(server, batch["output_file_id"])
        assert sorted(each["custom_id"] for each in output) == sorted(f"id-{index}" for index in range(30))
        assert {each["response"]["body"]["output"] for each in output} == {"token token"}
        failed = {each["custom_id"]: each["response"] for each in results(server, batch["error_file_id"])}
        assert {name: each["status_code"] for name, each in failed.items()} == {"no": 400, "stream": 400}
        assert failed["stream"]["body"] == {"error": "stream: a line of a batch is answered as a whole. Leave it out."}
        metrics = server.ask("/metrics").body.decode()
        assert 'maritalk_batch_lines_total{key="",outcome="completed"} 30.0' in metrics
        assert 'maritalk_batch_tokens_total{key="",kind="answer"} 60.0' in metrics
        assert server.stop() < 30
        assert server.process.returncode == 0


def test_each_key_sees_only_its_own_objects(tmp_path: Path) -> None:
    with StubServer(tmp_path, *KEYS) as server:
        server.wait_until_ready()
        file_id = upload(server, jsonl([line("a")]), ANA).json["id"]
        batch_id = create(server, file_id, ANA).json["id"]
        for method, path in (
            ("GET", f"/v1/files/{file_id}"),
            ("GET", f"/v1/files/{file_id}/content"),
            ("DELETE", f"/v1/files/{file_id}"),
            ("GET", f"/v1/batches/{batch_id}"),
            ("POST", f"/v1/batches/{batch_id}/cancel"),
        ):
            assert send(server, method, path, key=RUI).status == 404, path
        foreign = create(server, file_id, RUI)
        assert foreign.status == 404
        assert foreign.json["error"]["message"].startswith(f"There is no file '{file_id}'.")
        assert send(server, "GET", "/v1/files", key=RUI).json["data"] == []
        assert send(server, "GET", "/v1/batches", key=RUI).json["data"] == []
        assert send(server, "GET", "/v1/files").status == 401
        assert wait_for(server, batch_id, "completed", key=ANA)["request_counts"]["completed"] == 1


def test_faults_are_named(tmp_path: Path) -> None:
    with StubServer(tmp_path) as server:
        server.wait_until_ready()
        wrong = upload(server, b"{}", purpose="fine-tune")
        assert (wrong.status, wrong.json["error"]["message"].split(".")[0]) == (
            400,
            "purpose: 'fine-tune' is not possible",
        )
        # A name is data: the content is stored under the file's id.
        tricky = upload(server, jsonl([line("a")]), filename="../../../../tmp/x")
        assert (tricky.status, tricky.json["filename"]) == (200, "../../../../tmp/x")
        for path in ("/v1/files/..%2f..%2fbatches.sqlite", "/v1/files/%2e%2e%2fserver.lock/content"):
            assert send(server, "GET", path).status == 404
        file_id = tricky.json["id"]
        unknown = create(server, file_id, endpoint="/v1/embeddings")
        assert (unknown.status, "there are no batches for '/v1/embeddings'" in unknown.body.decode()) == (400, True)
        assert create(server, file_id, completion_window="7d").status == 400
        assert send(server, "GET", "/v1/batches?limit=1000").status == 400
        assert send(server, "GET", "/v1/files?after=file-x").status == 404
        broken = [line(f"id-{index}") for index in range(16)]
        failed = wait_for(server, submit(server, [*broken, "{"]), "failed")
        (error,) = failed["errors"]["data"]
        assert (error["code"], error["line"], failed["output_file_id"]) == ("invalid_json_line", 17, None)
        batch = wait_for(server, create(server, file_id).json["id"], "completed")
        output = create(server, batch["output_file_id"])
        assert (output.status, "purpose of the file" in output.body.decode()) == (400, True)
        assert send(server, "POST", f"/v1/batches/{batch['id']}/cancel").status == 409
        assert send(server, "DELETE", f"/v1/files/{file_id}").json == {
            "id": file_id,
            "object": "file",
            "deleted": True,
        }
        assert send(server, "GET", f"/v1/files/{file_id}").status == 404


def test_a_long_file_is_rejected(tmp_path: Path) -> None:
    with StubServer(tmp_path) as server:
        server.wait_until_ready()
        too_long = upload(server, b"x" * 201_000_000)
        assert (too_long.status, too_long.json["error"]["message"]) == (
            413,
            "The file is longer than 200,000,000 bytes, the limit of a file. Split it into several.",
        )
        assert list((tmp_path / "state").rglob("uploads/*")) == []


def test_the_files_of_a_key_are_limited(tmp_path: Path) -> None:
    with StubServer(tmp_path, *KEYS, "--files-per-key-mb", "1") as server:
        server.wait_until_ready()
        first = upload(server, b"x" * 600_000, ANA)
        assert first.status == 200
        limited = upload(server, b"x" * 600_000, ANA)
        assert (limited.status, limited.json["error"]["message"]) == (
            413,
            "The files of this API key have 0.6 MB: with this one they would exceed 1 MB, the limit of each key. "
            "Delete some, or wait until they expire.",
        )
        assert upload(server, b"x" * 600_000, RUI).status == 200
        assert send(server, "DELETE", f"/v1/files/{first.json['id']}", key=ANA).status == 200
        assert upload(server, b"x" * 600_000, ANA).status == 200


def test_batches_have_tokens_of_their_own(tmp_path: Path) -> None:
    """A line has 5 tokens. Those of the batches of a key pause when they have used the tokens of a minute."""
    limits = ("--tokens-per-minute", "20", "--batch-tokens-per-minute", "60")
    with StubServer(tmp_path, *KEYS, *limits) as server:
        server.wait_until_ready()
        batch_id = submit(server, [line(f"id-{index}") for index in range(30)], ANA)
        until(lambda: batch_of(server, batch_id, ANA)["request_counts"]["completed"] == 12, "12 lines", 60)
        until(lambda: metric(server, "maritalk_batch_keys_waiting", key=ANA) == 1, "a batch that waits")
        # Neither its own requests nor those of others wait for it.
        body = json.dumps({"prompt": "1 2 3", "max_tokens": 17}).encode()
        asked = [send(server, "POST", "/generate", body, key).status for key in (ANA, ANA, RUI)]
        assert asked == [200, 429, 200]
        other = submit(server, [line(f"id-{index}") for index in range(10)], RUI)
        assert wait_for(server, other, "completed", key=RUI)["request_counts"]["completed"] == 10
        # Without tokens for requests, a key has its files and batches still.
        assert send(server, "POST", f"/v1/batches/{batch_id}/cancel", key=ANA).status == 200
        batch = wait_for(server, batch_id, "cancelled", key=ANA)
        assert batch["request_counts"] == {"total": 30, "completed": 12, "failed": 0}
        assert metric(server, "maritalk_batch_tokens_total", key=ANA, of=("answer",)) == 24


def test_a_batch_is_cancelled(tmp_path: Path) -> None:
    with StubServer(tmp_path) as server:
        server.wait_until_ready()
        batch_id = submit(server, [line("short"), *(line(f"id-{index}", max_tokens=100_000) for index in range(100))])
        until(lambda: batch_of(server, batch_id)["request_counts"]["completed"], "a result")
        assert send(server, "DELETE", f"/v1/files/{batch_of(server, batch_id)['input_file_id']}").status == 409
        cancelled = send(server, "POST", f"/v1/batches/{batch_id}/cancel")
        assert (cancelled.status, cancelled.json["status"]) == (200, "cancelling")
        batch = wait_for(server, batch_id, "cancelled")
        assert batch["request_counts"] == {"total": 101, "completed": 1, "failed": 0}
        assert [each["custom_id"] for each in results(server, batch["output_file_id"])] == ["short"]
        until(lambda: "stub_requests_running 0.0" in server.ask("/metrics").body.decode(), "no line in the engine")


@pytest.mark.parametrize("victim", ["engine", nightly("api"), "supervisor", nightly("drain")])
def test_a_batch_continues_after_a_death(tmp_path: Path, victim: str) -> None:
    """Each line has one result, and no more than those in flight are computed again."""
    lines: list[object] = [line(f"id-{index}", max_tokens=20) for index in range(400)]
    data = ("--data-dir", str(tmp_path / "data"))
    server = StubServer(tmp_path, *data, "--drain-timeout", "5")
    with server:
        server.wait_until_ready()
        batch_id = submit(server, lines)
        until(lambda: 20 < batch_of(server, batch_id)["request_counts"]["completed"] < 350, "some results")
        if victim == "drain":
            assert server.stop() < 30
        else:
            os.kill(server.process.pid if victim == "supervisor" else getattr(server, victim), signal.SIGKILL)
        if victim in ("supervisor", "drain"):
            server.process.wait(30)
            until(lambda: not server.processes(), "the end of all processes")
            (tmp_path / "next").mkdir()  # the stub's model of the first start is no checkpoint
            server = StubServer(tmp_path / "next", *data)
        with server:
            server.wait_until_ready()
            until(lambda: server.ask("/readyz").status == 200, "ready", 60)
            batch = wait_for(server, batch_id, "completed")
            assert batch["request_counts"] == {"total": 400, "completed": 400, "failed": 0}
            output = results(server, batch["output_file_id"])
            assert sorted(each["custom_id"] for each in output) == sorted(f"id-{index}" for index in range(400))
            assert {each["response"]["body"]["output"] for each in output} == {" ".join(["token"] * 20)}


def test_a_batch_pauses_while_its_results_cannot_be_written(tmp_path: Path) -> None:
    """Here the files of the API process have a limit, which fails writes as a full disk does."""
    with StubServer(tmp_path) as server:
        server.wait_until_ready()
        batch_id = submit(server, [line(f"id-{index}", max_tokens=20) for index in range(300)])
        until(lambda: batch_of(server, batch_id)["request_counts"]["completed"] > 20, "some results", 60)
        api = psutil.Process(server.api)
        soft, hard = api.rlimit(psutil.RLIMIT_FSIZE)
        api.rlimit(psutil.RLIMIT_FSIZE, (1, hard))
        until(lambda: "maritalk_batch_disk_full 1.0" in server.ask("/metrics").body.decode(), "the pause")
        until(lambda: "maritalk_batch_window 0.0" in server.ask("/metrics").body.decode(), "no room for lines")
        assert server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 2}).status == 200
        assert batch_of(server, batch_id)["request_counts"]["completed"] < 300
        api.rlimit(psutil.RLIMIT_FSIZE, (soft, hard))
        batch = wait_for(server, batch_id, "completed")
        names = [each["custom_id"] for each in results(server, batch["output_file_id"])]
        assert sorted(names) == sorted(f"id-{index}" for index in range(300))
        log = server.engine_log.read_text()
        assert "Batches pause: their results cannot be written: File too large. See to the folder in --data-dir." in log
        assert "Batches continue: their results can be written again." in log


def test_what_is_older_than_the_retention_time_is_deleted(tmp_path: Path) -> None:
    """The next start deletes the contents: the worker looks for old ones when it begins, and each hour."""
    (tmp_path / "next").mkdir()
    data = tmp_path / "data"
    options = ("--data-dir", str(data), "--batch-retention", "2s")
    with StubServer(tmp_path, *options) as server:
        server.wait_until_ready()
        batch = wait_for(server, submit(server, [line("a")]), "completed")
        file = send(server, "GET", f"/v1/files/{batch['output_file_id']}")
        if file.status == 200:  # it is still young
            assert 0 < file.json["expires_at"] - file.json["created_at"] <= 2
        until(lambda: send(server, "GET", f"/v1/files/{batch['output_file_id']}").status == 404, "the end of the file")
        server.stop()
    files = list((data / "files").iterdir())
    assert len(files) == 2
    for each in files:
        os.utime(each, (1, 1))
    with StubServer(tmp_path / "next", *options) as server:
        server.wait_until_ready()
        until(lambda: not any((data / "files").iterdir()), "the end of the contents")
        assert send(server, "GET", f"/v1/batches/{batch['id']}").status == 404
        assert send(server, "GET", "/v1/batches").json["data"] == []


def test_fifty_thousand_lines_need_little_memory(tmp_path: Path) -> None:
    """The peak of the API process, from the upload until the batch is listed with all its lines."""
    content = jsonl(line(f"id-{index}", prompt="1", max_tokens=1) for index in range(50_000))
    with StubServer(tmp_path) as server:
        server.wait_until_ready()
        wait_for(server, submit(server, [line("first")]), "completed")
        before = memory_bytes(server.api, "VmRSS")
        Path(f"/proc/{server.api}/clear_refs").write_text("5")  # the peak begins anew
        batch_id = create(server, upload(server, content).json["id"]).json["id"]
        until(lambda: batch_of(server, batch_id)["request_counts"]["total"] == 50_000, "the validated batch", 60)
        listed = send(server, "GET", "/v1/batches?limit=1").json["data"]
        assert [each["id"] for each in listed] == [batch_id]
        growth = memory_bytes(server.api, "VmHWM") - before
        send(server, "POST", f"/v1/batches/{batch_id}/cancel")
        note(f"50,000 lines ({len(content) / 1e6:.1f} MB) validated: {growth / 1e6:.1f} MB more in the API process")
        assert growth < 50e6


def memory_bytes(pid: int, field: str) -> int:
    """Memory of a process, by a field of its status."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def test_two_servers_cannot_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    data = ("--data-dir", str(tmp_path / "data"))
    with StubServer(tmp_path / "1", *data) as server:
        server.wait_until_ready()
        with StubServer(tmp_path / "2", *data) as second:
            assert second.process.wait(30) == 2
            assert "Another server keeps its files and batches in" in second.stderr.read_text()


def test_pages_of_lists_follow_each_other(tmp_path: Path) -> None:
    with StubServer(tmp_path) as server:
        server.wait_until_ready()
        ids = [upload(server, b"{}").json["id"] for _ in range(5)]
        pages, after = [], ""
        while True:
            page = send(server, "GET", f"/api/files?limit=2{after}").json
            pages.append([each["id"] for each in page["data"]])
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert pages == [ids[:2:-1], ids[2:0:-1], ids[:1]]
        ascending = send(server, "GET", "/v1/files?order=asc&purpose=batch").json
        assert [each["id"] for each in ascending["data"]] == ids
        assert send(server, "GET", "/v1/files?purpose=batch_output").json["data"] == []
