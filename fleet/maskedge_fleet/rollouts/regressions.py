"""Compares devices before and after an update with devices that are not updated."""

from __future__ import annotations

from .measure import Measures
from .plan import Limits

_LEAST_MESSAGES = 3
_LEAST_FRAMES = 100


def find_regressions(
    before: Measures, after: Measures, others_before: Measures, others_after: Measures, limits: Limits
) -> list[str]:
    """Return a clause for each limit that the updated devices exceed.

    What changes on the other devices too, as the habits of people or the light, is no effect of the
    update and is subtracted. A figure without enough data is not compared.

    Args:
        before: The updated devices, before the update.
        after: The updated devices, after the update.
        others_before: Devices without the update, in the time of `before`.
        others_after: Devices without the update, in the time of `after`.
        limits: The limits.
    """
    found = []
    change = _change_of_share(before, after, limits)
    if change is not None:
        change -= _change_of_share(others_before, others_after, limits) or 0.0
        if abs(change) > limits.share_change:
            found.append(f"the share of masked faces changed by {100 * change:+.1f} points (limit {100 * limits.share_change:g})")
    ratio = _latency_ratio(before, after)
    if ratio is not None:
        ratio /= max(1.0, _latency_ratio(others_before, others_after) or 1.0)
        if ratio > limits.latency_ratio:
            found.append(f"the latency is {ratio:.2f} times that before (limit {limits.latency_ratio:g})")
    dropped = _change_of_drops(before, after)
    if dropped is not None:
        dropped -= max(0.0, _change_of_drops(others_before, others_after) or 0.0)
        if dropped > limits.dropped_change:
            found.append(f"{100 * dropped:.1f} points more frames are dropped (limit {100 * limits.dropped_change:g})")
    errors = _change_of_errors(before, after)
    if errors is not None:
        errors -= max(0.0, _change_of_errors(others_before, others_after) or 0.0)
        # One error in a short time is a high rate.
        if errors > limits.errors_change and after.errors > 1:
            found.append(f"devices have {errors:.1f} more errors an hour (limit {limits.errors_change:g})")
    return found


def _change_of_share(before: Measures, after: Measures, limits: Limits) -> float | None:
    if min(before.faces_s, after.faces_s) < limits.min_face_s or before.share is None or after.share is None:
        return None
    return after.share - before.share


def _latency_ratio(before: Measures, after: Measures) -> float | None:
    if min(before.messages, after.messages) < _LEAST_MESSAGES or not before.latency or after.latency is None:
        return None
    return after.latency / before.latency


def _change_of_drops(before: Measures, after: Measures) -> float | None:
    if min(before.captured, after.captured) < _LEAST_FRAMES or before.dropped_share is None or after.dropped_share is None:
        return None
    return after.dropped_share - before.dropped_share


def _change_of_errors(before: Measures, after: Measures) -> float | None:
    if before.errors_per_hour is None or after.errors_per_hour is None:
        return None
    return after.errors_per_hour - before.errors_per_hour
