"""Client of a server's batches: a file with many requests, processed when the server has time for them."""
