"""OpenAI's own client: files and batches, as in the guide to the Batch API, and the flex tier."""

import json
import tempfile
import time
from pathlib import Path

import openai
from report import inputs, report, report_error

client = openai.OpenAI(base_url=inputs["base_url"], api_key="key")


def request(custom_id, **body):
    chat = {"model": "sabia-4", "messages": inputs["messages"], "max_tokens": 12, "temperature": 0}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": chat | body}


def wait(batch):
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    return batch


lines = [*(request(f"request-{number}") for number in range(20)), request("wrong", model="gpt-nope")]
path = Path(tempfile.mkdtemp()) / "batchinput.jsonl"
path.write_text("".join(json.dumps(line) + "\n" for line in lines))
batch_input_file = client.files.create(file=path.open("rb"), purpose="batch")
report("file", batch_input_file.model_dump())
batch = client.batches.create(
    input_file_id=batch_input_file.id,
    endpoint="/v1/chat/completions",
    completion_window="24h",
    metadata={"description": "nightly eval job"},
)
report("created", batch.model_dump())
batch = wait(batch)
report("finished", batch.model_dump())
report("output", [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()])
report("errors", [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()])
report("batches", [each.id for each in client.batches.list(limit=10)])
report("files", [each.id for each in client.files.list(limit=2, order="asc")])
broken = client.files.create(file=("broken.jsonl", b"{"), purpose="batch")
failed = wait(client.batches.create(input_file_id=broken.id, endpoint="/v1/completions", completion_window="24h"))
report("failed", failed.model_dump())
report_error("over", openai.ConflictError, lambda: client.batches.cancel(batch.id))
report("deleted", client.files.delete(batch_input_file.id).model_dump())
report_error("no such file", openai.NotFoundError, lambda: client.files.retrieve(batch_input_file.id))
report_error(
    "another purpose", openai.BadRequestError, lambda: client.files.create(file=("a", b"{}"), purpose="fine-tune")
)
flex = client.chat.completions.create(
    model="sabia-4", messages=inputs["messages"], max_tokens=12, temperature=0, service_tier="flex"
)
report("flex", flex.model_dump())
