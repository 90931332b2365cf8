"""Plan how a model is served: device, GPUs, parallelism and memory. Pure: no I/O."""
