"""Roll-up and retention.

- `runner`: `run_upkeep`, all upkeep.
- `rollup`: sums minutes to hours and days.
- `retention`: removes old rows.
"""
