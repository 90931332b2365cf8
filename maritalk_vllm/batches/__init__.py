"""Files and batches: what is stored, and the worker that computes batches within the server."""
