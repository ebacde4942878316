"""Processes of one program that must never be taken for two programs with one identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.instances import pair as pairs

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]


def test_web_and_engine_in_processes_of_their_own(templates: Path, tmp_path: Path) -> None:
    """Two processes of the office speak in turns when one of them is started anew again and again."""
    with pairs.pair(templates, tmp_path, apart=True) as pair:
        pair.start()
        for turn in range(3):
            web, engine = pair.office.processes
            (web if turn % 2 else engine).kill()
            (web if turn % 2 else engine).wait(20)
            pair.office.processes.remove(web if turn % 2 else engine)
            if turn % 2:
                pair.office.start_web()
                pair.office.processes.reverse()
            else:
                pair.office.start_engine()
            pair.office.wait_ready()
            pair.wait_connected()
        pair.branch.write("UPDATE crm_client SET phone = 'still one' WHERE id = 1")
        pair.assert_same()
        assert pair.office.value("SELECT epoch FROM syncapp_instance") == 1
