"""GPUs that a number of users needs: arrivals, replica simulation, search. I/O only in `plot`, `benchmark_data`."""
