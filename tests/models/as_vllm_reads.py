"""Read model configurations with vLLM's own ModelConfig: `python -m tests.models.as_vllm_reads FOLDER`.

Creates in FOLDER, next to the models that are already there, folders with a config.json for each architecture of the
installed transformers that vLLM serves: `diff` leaves out the defaults of its class, as published models do, `full`
has every key, and `bare` none. Prints one line of JSON per model: its name, and the sizes or the error. No weights are
read, and no engine is started.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

SIZES = ("layers", "attention_heads", "key_value_heads", "head_size", "max_model_len", "sliding_layers")


def main(folder: Path) -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "CRITICAL", "TRANSFORMERS_VERBOSITY": "critical"}
    logging.disable()
    write(folder)
    for model in sorted(folder.iterdir()):
        try:
            found = as_model_config(model)
        except Exception as error:  # noqa: BLE001  any error of vLLM's is the result
            found = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps({"name": model.name, **found}), flush=True)


def write(folder: Path) -> None:
    from transformers import CONFIG_MAPPING

    for name in CONFIG_MAPPING:
        architecture = served_by(name)
        try:
            config = CONFIG_MAPPING[name]() if architecture else None
        except Exception:  # noqa: BLE001  a class without defaults
            config = None
        if config is None:
            continue
        config.architectures = [architecture]
        named = {"model_type": name, "architectures": [architecture]}
        for kind, content in (("diff", config.to_diff_dict()), ("full", config.to_dict()), ("bare", {})):
            target = folder / f"{name}--{kind}"
            target.mkdir(parents=True)
            (target / "config.json").write_text(json.dumps({**content, **named}, default=str))


def served_by(model_type: str) -> str | None:
    """The architecture of text models of this type, if vLLM has code for it."""
    from transformers.models.auto import modeling_auto
    from vllm.model_executor.models import ModelRegistry

    supported = ModelRegistry.get_supported_archs()
    for mapping in ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ"):
        found = getattr(modeling_auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES").get(model_type)
        first = found[0] if isinstance(found, tuple | list) else found
        if first in supported:
            return str(first)
    return None


def as_model_config(model: Path) -> dict[str, Any]:
    """Use ModelConfig, or its parts for architectures whose code needs torchvision, which is not installed for CPUs."""
    from vllm.config import ModelConfig
    from vllm.model_executor.models import registry

    # vLLM inspects each architecture's code in a subprocess, which imports torch each time.
    registry._run_in_subprocess = lambda function: function()
    try:
        config = ModelConfig(str(model), skip_tokenizer_init=True)
    except (ValueError, OSError) as error:
        if "failed to be inspected" not in str(error) and "image processor" not in str(error):
            raise
        return by_parts(model)
    return {"by": "ModelConfig", **sizes(config.model_arch_config, config.hf_text_config, config.max_model_len)}


def by_parts(model: Path) -> dict[str, Any]:
    """The same steps as in ModelConfig, without inspecting the architecture's code."""
    from vllm.config.model import _get_and_verify_max_len
    from vllm.transformers_utils.config import get_config, get_hf_text_config
    from vllm.transformers_utils.model_arch_config_convertor import (
        MODEL_ARCH_CONFIG_CONVERTORS,
        ModelArchConfigConvertorBase,
    )

    config = get_config(str(model), trust_remote_code=False)
    text = get_hf_text_config(config)
    convertor = MODEL_ARCH_CONFIG_CONVERTORS.get(config.model_type, ModelArchConfigConvertorBase)
    found = convertor(config, text).convert()
    longest = _get_and_verify_max_len(text, found, None, None, False, getattr(text, "sliding_window", None))
    return {"by": "parts", **sizes(found, text, longest)}


def sizes(found: Any, text: Any, max_model_len: int) -> dict[str, int | None]:
    """The sizes that a plan uses."""
    values = (
        found.total_num_hidden_layers,
        found.total_num_attention_heads,
        found.total_num_kv_heads,
        found.head_size,
        max_model_len,
        sliding_layers(text),
    )
    return dict(zip(SIZES, values, strict=True))


def sliding_layers(config: Any) -> int | None:
    """Number of layers with a sliding window, according to the class; None if it does not say."""
    kinds = getattr(config, "layer_types", None)
    if not isinstance(kinds, list) or not getattr(config, "sliding_window", None):
        return None
    return sum(kind in ("sliding_attention", "hybrid_sliding") for kind in kinds)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
