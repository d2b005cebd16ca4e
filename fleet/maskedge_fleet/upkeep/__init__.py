"""Roll-up and retention.

- `runner`: `run_upkeep`, all upkeep.
- `settings`: how long rows are kept.
- `rollup`: sums minutes to hours and days.
- `retention`: removes old rows.
"""
