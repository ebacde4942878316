"""Each benchmark runs from beginning to end, with sizes so small that its figures mean nothing."""

import json
import os
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import figures, programs, sample
from bench.processes import cpu_seconds, memory

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "FOLDER", tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_each_benchmark_runs_and_can_be_read(name: str, tmp_path: Path) -> None:
    found = bench.run([name], bench.TINY)
    bench.save(found, tmp_path / "results")
    assert json.loads((tmp_path / "results" / "results.json").read_text())[name] == found[name]
    text = (tmp_path / "results" / "README.md").read_text()
    assert "None" not in text
    assert text.count("\n## ") == 1
    CHECKS[name](found[name])


def _check_latency(found: dict) -> None:
    assert found["differing_rows"] == 0
    for direction in ("to passive", "to active"):
        for who in ("ours", "naive"):
            figures = found[direction][who]
            assert figures["unseen"] == 0
            assert 0 < figures["from_submit_ms"]["p50"] < 20_000


def _check_stream(found: dict) -> None:
    assert found["differing_rows"] == 0
    assert found["raw"]["unseen"] == found["saved"]["unseen"] == found["naive"]["FULL"]["unseen"] == 0
    assert found["capture"]["raw FULL"]["on_to_off"] > 0


def _check_idle(found: dict) -> None:
    assert all(0 <= found[name]["core_percent"] < 100 for name in ("head", "branch"))


def _check_postgresql(found: dict) -> None:
    assert found["differing_rows"] == 0
    for way in ("to passive", "to active", "logical replication"):
        assert found[way]["unseen"] == 0
    assert found["stream"]["per_second"] > 0


CHECKS = {
    "latency": _check_latency,
    "stream": _check_stream,
    "idle": _check_idle,
    "postgresql": _check_postgresql,
}


def test_a_second_run_of_one_benchmark_keeps_the_others_figures(tmp_path: Path) -> None:
    machine = figures.machine()
    first = {"seconds": 1} | {name: {"core_percent": 0.5, "rss_mib": 90.0} for name in ("head", "branch")}
    for found in ({"idle": first}, {}):
        bench.save(found | {"at": "now", "before": machine, "after": machine}, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["idle"] == first
    assert "| passive | 0.5 % | 90.0 MiB |" in (tmp_path / "README.md").read_text()


def test_percentiles() -> None:
    assert figures.percentiles([ms * 1_000_000 for ms in range(1, 101)]) == {
        "p50": 51.0,
        "p90": 91.0,
        "p99": 100.0,
        "max": 100.0,
    }
    assert figures.percentiles([]) == {}
    assert figures.ratio(1, 0) is None


def test_what_a_process_uses_is_read_from_the_kernel() -> None:
    before = cpu_seconds(os.getpid())
    sum(range(1_000_000))
    assert cpu_seconds(os.getpid()) > before
    used = memory(os.getpid())
    assert 1 < used["rss"] <= used["peak"]


def test_changes_go_to_one_row_after_the_other() -> None:
    assert [sample.change(marker, 3)[3] for marker in range(1, 6)] == [0, 1, 2, 0, 1]
    assert len(sample.row(7)) == len(sample.FIELDS)
