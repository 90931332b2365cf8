"""Secrets are masked by their names, in flags, JSON, URLs and variables; nothing else is masked."""

import json
import logging
import time

import pytest

from maritalk_vllm.engine.vllm_flags import known_flags
from maritalk_vllm.masking import MASK, LogFilter, is_secret, masked, masked_words, secrets_of, without
from maritalk_vllm.settings import OPTIONS, flag

SECRET = "s3cr3t-v4lue"


@pytest.mark.parametrize(
    "name",
    [
        "--hf-token", "--hf_token", "hfToken", "HF_TOKEN", "--api-key", "api_key", "apiKey", "APIKEY", "OPENAI_API_KEY",
        "--ssl-keyfile-password", "AWS_SECRET_ACCESS_KEY", "aws_access_key_id_secret", "Authorization", "x-api-key",
        "db.password", "passphrase", "client_secret", "X-Amz-Signature", "sig", "--license", "MARITALK_LICENSE",
        "auth_tokens", "--kv-transfer-config.kv_connector_extra_config.token", "WANDB_API_KEY", "credentials",
        "PGPASSWORD", "MYSQLPASSWD", "pgpassword", "Pwd",
    ],
)  # fmt: skip
def test_a_name_of_a_secret_is_recognized(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "--eos-token", "eos_token", "bos_token", "pad_token", "padToken", "unk_token", "sort_key", "--eos-token-id",
        "PGPASSWORD_FILE", "passwords_path", "public_key", "CREDENTIALS_DIRECTORY", "--secrets-dir",
    ],
)  # fmt: skip
def test_a_name_of_no_secret_is_not_recognized(name: str) -> None:
    assert not is_secret(name)


def test_only_flags_of_secrets_are_masked() -> None:
    """Of all vLLM flags and all our options, exactly these hold a secret."""
    ours = {flag(name) for name in OPTIONS if is_secret(flag(name))}
    assert ours == {flag(name) for name, option in OPTIONS.items() if option.metadata.get("secret")}
    assert {each for each in known_flags() if is_secret(each)} == {"--api-key", "--hf-token"}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--hf-token", SECRET], ["--hf-token", MASK]),
        (["--hf-token=" + SECRET, "-tp", "2"], ["--hf-token=" + MASK, "-tp", "2"]),
        (["--hf_token", SECRET, "--seed", "1"], ["--hf_token", MASK, "--seed", "1"]),
        (["--api-key", SECRET, "another-one", "--seed", "1"], ["--api-key", MASK, MASK, "--seed", "1"]),
        (["--hf-token", "-" + SECRET], ["--hf-token", MASK]),
        (["--hf-token", "--seed", "1"], ["--hf-token", "--seed", "1"]),
        (["--additional-config.api_token", SECRET], ["--additional-config.api_token", MASK]),
        (["--max-num-batched-tokens", "8192", "--seed", "x"], ["--max-num-batched-tokens", "8192", "--seed", "x"]),
        (["--revision", f"https://user:{SECRET}@host/x"], ["--revision", f"https://{MASK}@host/x"]),
        ([f"--x=http://host/?a=1&token={SECRET}&b=2"], [f"--x=http://host/?a=1&token={MASK}&b=2"]),
    ],
)  # fmt: skip
def test_secrets_in_arguments_are_masked(words: list[str], shown: list[str]) -> None:
    assert list(masked_words(words)) == shown
    assert SECRET not in without(secrets_of(words), f"It failed: {' '.join(words)}.")


@pytest.mark.parametrize(
    "config",
    [
        {"api_token": SECRET},
        {"a": [{"b": {"password": SECRET}}]},
        {"tokens": {"auth_tokens": [SECRET]}},
        {"credentials": {"user": "u", "pass": SECRET}},
        {"headers": {"Authorization": f"Bearer {SECRET}"}},
        {"header": f"Bearer {SECRET}"},
        {"url": f"redis://:{SECRET}@host:6379/0"},
        {"inner": json.dumps({"token": SECRET})},
    ],
    ids=json.dumps,
)
def test_secrets_in_json_arguments_are_masked(config: dict[str, object]) -> None:
    for words in (["--additional-config", json.dumps(config)], [f"--additional-config={json.dumps(config)}"]):
        shown = " ".join(masked_words(words))
        assert SECRET not in shown
        assert MASK in shown
        assert SECRET not in without(secrets_of(words), f"Value {json.dumps(config)} cannot be converted.")


def test_json_without_secrets_keeps_its_values() -> None:
    config = {"max_tokens": 5, "tokenizer": "x", "num_speculative_tokens": 3, "key_cache": True, "token": None}
    (_, shown) = masked_words(["--additional-config", json.dumps(config)])
    assert shown == json.dumps(config)


@pytest.mark.parametrize(
    "text", [f"{{'token': '{SECRET}', 'a': 1", f'{{"token": "{SECRET}"', f"{{password: {SECRET}}}"]
)
def test_secrets_in_malformed_json_are_masked(text: str) -> None:
    assert SECRET not in masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "Give it with --api-key or MARITALK_API_KEY.",
        "The prompt has 5 tokens and max_tokens is 9: together 14, over this model's limit of 8.",
        "The licence service http://host:9100 cannot be asked about this key: it answers 500.",
        "Time: 12:30, see https://host/a@b.",
    ],
)
def test_sentences_without_secrets_are_unchanged(text: str) -> None:
    assert masked(text) == text


def test_secrets_in_variables_are_found() -> None:
    environment = {"HF_TOKEN": SECRET, "HOME": "/home/longer", "API_KEY": "x", "TOKENIZERS_PARALLELISM": "false"}
    environment |= {"PWD": "/home/longer", "OLDPWD": "/home/longer/work", "CREDENTIALS_DIRECTORY": "/run/credentials"}
    assert secrets_of(environment=environment) == {SECRET}


@pytest.mark.parametrize("form", ["%(message)s", "%(name)s %(message)s"])
def test_secrets_in_log_records_are_masked(form: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("test_masking")
    caplog.handler.addFilter(hidden := LogFilter({SECRET}))
    caplog.handler.setFormatter(logging.Formatter(form))
    try:
        logger.error("config: %s", {"hf_token": SECRET})
        try:
            raise ValueError(SECRET)
        except ValueError:
            logger.exception("failed")
        logger.error("nothing to hide: %s", 5)
    finally:
        caplog.handler.removeFilter(hidden)
    assert SECRET not in caplog.text
    assert ("'hf_token': '********'" in caplog.text, "ValueError: ********" in caplog.text) == (True, True)
    assert "nothing to hide: 5" in caplog.text


@pytest.mark.parametrize(
    "piece", ["x", "X", "a.", "a-", "1", " ", "=", "a=", "a:", "://", "a://", "a://b:", "@", "'", '"', "\\", "Bearer "]
)
def test_masking_takes_linear_time(piece: str) -> None:
    """Quadratic matching of 100,000 characters would take minutes."""
    for text in (
        piece * (100_000 // len(piece)),
        "https://" + piece * (100_000 // len(piece)),
        "token=" + piece * 30_000,
    ):
        began = time.process_time()
        masked(text)
        secrets_of(["--tokenizer-revision", text])
        assert time.process_time() - began < 5
