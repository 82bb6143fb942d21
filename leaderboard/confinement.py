"""Confinement: what a process takes from itself before it opens what a stranger sent.

On Linux: it dies with its parent, dumps no core, gains no privileges, has no network (a namespace
of its own, where the system lets it have one; else no TCP) and no file but those it names, the rest
of them for reading alone (Landlock). Everywhere: limits of memory, CPU time and file size.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PDEATHSIG, _NO_NEW_PRIVS = 1, 38
_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Numbers of Landlock's system calls, the same on every architecture that this runs on."""

_VERSION, _BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1, 2, 4, 8
_REFER, _TRUNCATE, _DEVICE = 1 << 13, 1 << 14, 1 << 15
_FILES_1 = (1 << 13) - 1
"""The rights over files of Landlock's first version; later ones added those above."""

_TCP = 1 | 2
_READ = _EXECUTE | _READ_FILE | _READ_FOLDER
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _DEVICE

MARGIN = 1 << 30
"""What the limit of memory leaves for code, stacks and arenas: its watcher goes by what is used."""


@final
@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a process may use.

    Attributes:
        memory: Bytes.
        cpu: Seconds of CPU time.
        wall: Seconds.
        file: Bytes of a file that it writes.
    """

    memory: int
    cpu: float
    wall: float
    file: int = 1 << 30


def confine(
    limits: Limits,
    *,
    readable: Iterable[Path],
    writable: Iterable[Path],
    network: bool = False,
    parent: int | None = None,
) -> tuple[str, ...]:
    """Takes from this process what it does not need, for good; returns what could not be taken.

    It must have one thread.

    Args:
        limits: What it may use.
        readable: Folders and files that it reads.
        writable: Folders that it writes.
        network: Whether it keeps the network.
        parent: Process without which it is to end.
    """
    lacking: list[str] = []
    _limit(limits)
    if not sys.platform.startswith("linux"):
        return (f"{platform.system()} has neither namespaces nor Landlock",)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    apart = network or _leave_network(libc)
    # After the namespace: whoever gains rights in one forgets to die with its parent.
    _die_with_parent(libc, parent)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        lacking.append("no_new_privs")
    version = _landlock(libc, readable, writable, tcp=network)
    if not version:
        lacking.append("Landlock: files are guarded by their permissions alone")
    if not apart:
        lacking.append(f"network namespace: {'no TCP' if version >= 4 else 'has network'}")
    return tuple(lacking)


def _limit(limits: Limits) -> None:
    os.nice(10)
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, int(limits.cpu) + 1),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_DATA, limits.memory + MARGIN),
    ):
        hard = resource.getrlimit(what)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (least, least))


def _leave_network(libc: ctypes.CDLL) -> bool:
    """Goes to a namespace without network; tells whether that was let be."""
    if libc.unshare(_CLONE_NEWNET) == 0:
        return True
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    # Who it was: files belong to nobody otherwise.
    with contextlib.suppress(OSError):
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def _die_with_parent(libc: ctypes.CDLL, parent: int | None) -> None:
    if parent is None:
        return
    libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _landlock(
    libc: ctypes.CDLL, readable: Iterable[Path], writable: Iterable[Path], *, tcp: bool
) -> int:
    """Leaves only these files; returns the version of Landlock, 0 where there is none."""
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    if version < 1:
        return 0
    handled = _FILES_1 | sum(
        right for right, since in ((_REFER, 2), (_TRUNCATE, 3), (_DEVICE, 5)) if version >= since
    )
    net = _TCP if version >= 4 and not tcp else 0
    rules = (ctypes.c_uint64 * 2)(handled, net)
    size = ctypes.sizeof(rules) if version >= 4 else 8
    ruleset = libc.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return 0
    try:
        for path in readable:
            _allow(libc, ruleset, path, _READ & handled)
        for path in writable:
            _allow(libc, ruleset, path, handled & ~_EXECUTE)
        done = libc.syscall(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0
    finally:
        os.close(ruleset)
    return int(version) if done else 0


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """Lets files below a path be used, where there is one."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _OF_FILES
        # A packed structure: uint64 rights, int32 descriptor.
        rule = rights.to_bytes(8, sys.byteorder) + handle.to_bytes(4, sys.byteorder)
        libc.syscall(_ADD, ctypes.c_int(ruleset), ctypes.c_int(_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(handle)


def of_the_program() -> Iterator[Path]:
    """Yields what a Python program of this environment reads."""
    for name in ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/sys", "/dev"):
        yield Path(name)
    for name in {sys.prefix, sys.base_prefix, *filter(None, sys.path)}:
        yield Path(name).resolve()
