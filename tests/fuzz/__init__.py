"""Fuzzing: damaged and odd inputs for the commands.

Run `make fuzz`, or `python -m fuzz --help` in `tests`.

Each kind of input has a module with `cases(seed, count)`. The same seed yields the same inputs.
`targets` passes an input to a command. `harness` runs each input in its own process and checks how
the process ends.
"""
