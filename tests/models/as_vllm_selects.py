"""List the files that vLLM's own loader selects: `python -m tests.models.as_vllm_selects FOLDER`.

Prints one line of JSON for each folder in FOLDER and each load format: the names of the files, or the error.
"""

import json
import logging
import sys
from pathlib import Path

FORMATS = ("auto", "hf", "safetensors", "mistral", "pt", "npcache")


def main(folder: Path) -> None:
    logging.disable()
    from vllm.config.load import LoadConfig
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    for model in sorted(folder.iterdir()):
        for load_format in FORMATS:
            loader = DefaultModelLoader(LoadConfig(load_format=load_format))
            entry: dict[str, object] = {"name": model.name, "format": load_format}
            try:
                found = loader._prepare_weights(str(model), None, None, True, None)[1]
                entry["files"] = sorted(Path(file).name for file in found)
            except (RuntimeError, FileNotFoundError) as error:
                entry["error"] = type(error).__name__
            print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
