"""A stand-in for a cluster's API server: lists and watches the pods that a test defines."""

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.answering import Request, answering
from tests.deploy.chart import Document

CONFIG = """\
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: here, user: none}}}}]
clusters: [{{name: here, cluster: {{server: "{url}"}}}}]
users: [{{name: none, user: {{}}}}]
"""


class Cluster:
    def __init__(self) -> None:
        self._pods: dict[str, Document] = {}
        self._watchers: list[queue.Queue[dict[str, Any] | None]] = []

    def set_pod(
        self, name: str, address: str, labels: dict[str, str], *, ready: bool = True, ending: bool = False
    ) -> None:
        """Add or change a pod."""
        metadata: Document = {"name": name, "namespace": "llm", "uid": name, "resourceVersion": "1", "labels": labels}
        if ending:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        conditions = [{"type": "Ready", "status": str(ready)}]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": []},
            "status": {"phase": "Running", "podIP": address, "conditions": conditions},
        }
        change = {"type": "MODIFIED" if name in self._pods else "ADDED", "object": pod}
        self._pods[name] = pod
        for watcher in self._watchers:
            watcher.put(change)

    def answer(self, request: Request) -> None:
        path, _, query = request.path.partition("?")
        assert path == "/api/v1/namespaces/llm/pods", path
        if "watch=true" not in query:
            pods = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}}
            request.reply(200, json.dumps({**pods, "items": list(self._pods.values())}).encode())
            return
        changes: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._watchers.append(changes)
        request.begin(200, content_type="application/json", transfer_encoding="chunked")
        while change := changes.get():
            line = json.dumps(change).encode() + b"\n"
            request.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.put(None)


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """A cluster without pods, and a kubeconfig for its clients."""
    made = Cluster()
    with answering(made.answer) as server:
        config = folder / "kubeconfig"
        config.write_text(CONFIG.format(url=server.url))
        try:
            yield made, config
        finally:
            made.close()
