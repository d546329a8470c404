"""Which settings determine what comes out of a run, and how two sets of them differ."""

from __future__ import annotations

from typing import Any

# Settings that say how to go about a run and not what comes out of it: they may change between two starts.
OPERATIONAL = {
    "llm": {
        "api_key_env", "api_key_file", "proxy", "ca_file", "concurrency", "attempt_timeout", "max_attempts",
        "requests_per_minute", "tokens_per_minute", "prices", "max_cost", "max_requests", "max_tokens_total",
        "headers", "total_timeout", "stream", "batch",
    },
    "encoder": {"api_key_env", "api_key_file"},
    "run": {"folder"},
}  # fmt: skip


def outcome_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the plain settings that determine what comes out."""

    def kept(section: str, values: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if key not in OPERATIONAL.get(section, ())}

    found = {
        section: {name: kept("llm", values[name]) for name in values}
        if section == "llms"
        else kept(section, values)
        for section, values in settings.items()
    }
    judge = found.get("judge", {})
    if judge.get("endpoint"):
        found["judge"] = {**judge, "endpoint": kept("llm", judge["endpoint"])}
    return found


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """One line for every setting that differs: "section.name: old -> new"."""
    lines = []
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return lines
