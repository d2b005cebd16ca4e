"""Damaged and odd inputs of every kind, and what the commands make of them: `python -m fuzz --help` (in `tests`), `make fuzz`.

A module a kind gives the inputs: `cases(seed, count)`, the same ones for the same seed. `targets` says how a command takes a kind,
`harness` runs each input in a process of its own and judges how that ends.
"""
