"""Who drives a link: names of processes that tell whether their bearer is still alive.

A process that was killed leaves its lease behind. Another one on the same machine need not wait until it runs out.
"""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path


def owner_name() -> str:
    """This process as the owner of leases: ``machine-pid-start-random``, at most 40 characters."""
    return f"{_machine()}-{os.getpid()}-{_started(os.getpid())}-{os.urandom(2).hex()}"


def is_dead(owner: str) -> bool:
    """Whether ``owner`` was a process of this machine that no longer runs; False when that cannot be known."""
    parts = owner.split("-")
    if len(parts) != 4 or parts[0] != _machine() or not parts[1].isdigit():
        return False
    pid = int(parts[1])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _started(pid) != parts[2]  # the number has been given to another process since


def _machine() -> str:
    """This machine, this boot, this space of process numbers (a container has its own)."""
    facts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id",):
        try:
            facts.append(Path(path).read_text(encoding="ascii"))
        except OSError:
            facts.append("")
    try:
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        facts.append("")
    return hashlib.blake2b("|".join(facts).encode(), digest_size=4).hexdigest()


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; 0 where that cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "0"
    return stat.rpartition(")")[2].split()[19]
