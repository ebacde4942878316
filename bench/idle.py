"""What a linked program costs while nothing happens."""

import time
from typing import Any

from bench import programs


def run(seconds: float = 20, rows: int = 100) -> dict[str, Any]:
    """CPU share of one core and memory of each of two linked programs over ``seconds`` of silence."""
    with programs.linked(rows) as pair:
        time.sleep(min(5.0, seconds))  # what the start left to do
        meters = [program.meter() for program in pair.both]
        begin = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - begin
        used = {meter.name: meter.read() for meter in meters}
    found: dict[str, Any] = {"seconds": seconds}
    for name, figures in used.items():
        found[name] = {"core_percent": round(100 * figures["cpu"] / took, 2), "rss_mib": figures["rss"]}
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """The figures as Markdown."""
    text = [f"## Idle, over {found['seconds']:g} s", "", "| | of one core | memory |", "| --- | --- | --- |"]
    for name, title in (("head", "passive"), ("branch", "active")):
        text.append(f"| {title} | {found[name]['core_percent']} % | {found[name]['rss_mib']} MiB |")
    return [*text, ""]
