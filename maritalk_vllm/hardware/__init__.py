"""Hardware of this machine: GPUs, host and limits."""
