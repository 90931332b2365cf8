"""python -m benchmarks.bandwidth DEVICE: memory bandwidth in bytes/s (read plus written), measured by a torch copy."""

import sys
import time

SIZE = 1 << 30
ROUNDS = 10


def main() -> None:
    """Print the bandwidth of the fastest of `ROUNDS` copies."""
    import torch

    device = torch.device(sys.argv[1])
    source = torch.ones(SIZE, dtype=torch.uint8, device=device)
    copy = torch.empty_like(source)

    def seconds() -> float:
        started = time.perf_counter()
        copy.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    print(2 * SIZE / min(seconds() for _ in range(ROUNDS)))


if __name__ == "__main__":
    main()
