"""vLLM's CUDA build on a machine without a GPU."""
