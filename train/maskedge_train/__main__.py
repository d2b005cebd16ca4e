"""Entry point of `python -m maskedge_train`, which torchrun starts on each machine."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="edge-train")
