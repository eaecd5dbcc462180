"""What the process that reads a stranger's file gives up, for good, before it looks at the first byte.

Four layers, each of which Linux gives to a process without privileges, and each of which holds without the others:

- no new privileges: no program that it could start would have more rights than it;
- namespaces of its own: no network, not even the machine's own addresses, and no rights over what others own;
- Landlock: no file can be opened, made, changed or removed, no port reached, no other process signalled;
- seccomp: of some 350 system calls those stay that compute, and read and write what is open already.

After `confine` nothing can be imported any more either: whoever calls it loads all that it needs before.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
from collections.abc import Callable

NO_NEW_PRIVILEGES = "no_new_privs"
NAMESPACES = "user and network namespaces"
LANDLOCK = "Landlock"
SECCOMP = "seccomp"
LAYERS = (NO_NEW_PRIVILEGES, NAMESPACES, LANDLOCK, SECCOMP)

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_CLONE_NEWUTS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x04000000, 0x08000000, 0x10000000, 0x40000000
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # the same numbers on every architecture
_LANDLOCK_VERSION = 1  # the flag that asks for it

# From `linux/filter.h`, `linux/seccomp.h` and `linux/audit.h`.
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _THIRD_ARGUMENT = 0, 4, 32  # places in `struct seccomp_data`
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the latter fails with EPERM
_PROT_EXEC = 4

# The calls that stay, under their numbers; the first of each machine is its own number for the kernel's audit.
_X86_64 = (
    0xC000003E,
    "read 0 write 1 close 3 fstat 5 lseek 8 mmap 9 mprotect 10 munmap 11 brk 12 rt_sigaction 13 rt_sigprocmask 14 "
    "rt_sigreturn 15 sched_yield 24 mremap 25 madvise 28 nanosleep 35 getpid 39 exit 60 gettimeofday 96 getrusage 98 "
    "sysinfo 99 times 100 sigaltstack 131 gettid 186 futex 202 sched_getaffinity 204 restart_syscall 219 "
    "clock_gettime 228 clock_getres 229 clock_nanosleep 230 exit_group 231 set_robust_list 273 getrandom 318 "
    "membarrier 324 rseq 334",
)
_AARCH64 = (
    0xC00000B7,
    "close 57 lseek 62 read 63 write 64 fstat 80 exit 93 exit_group 94 futex 98 set_robust_list 99 nanosleep 101 "
    "clock_gettime 113 clock_getres 114 clock_nanosleep 115 sched_getaffinity 123 sched_yield 124 restart_syscall 128 "
    "sigaltstack 132 rt_sigaction 134 rt_sigprocmask 135 rt_sigreturn 139 times 153 getrusage 165 gettimeofday 169 "
    "getpid 172 gettid 178 sysinfo 179 brk 214 munmap 215 mremap 216 mmap 222 mprotect 226 madvise 233 getrandom 278 "
    "membarrier 283 rseq 293",
)
_MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}
_MEMORY_MAPS = ("mmap", "mprotect")  # allowed for data only: code that is not loaded yet never will be


def confine() -> tuple[str, ...]:
    """Enter every layer that this host offers; names those of `LAYERS` that it does not.

    The process must have one thread, and have loaded all that it will run.
    """
    if sys.platform != "linux":
        return LAYERS
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # nobody reads its memory, nor what came through it
    layers: dict[str, Callable[[ctypes.CDLL], bool]] = {
        NO_NEW_PRIVILEGES: _without_new_privileges,
        NAMESPACES: _in_own_namespaces,
        LANDLOCK: _within_landlock,
        SECCOMP: _under_seccomp,
    }
    return tuple(name for name, enter in layers.items() if not enter(libc))


def keep_to_itself() -> None:
    """Let no other process of this user read this one's memory or environment; where Linux is not, nothing is done.

    For the process that starts the readers, which holds the host's tokens.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _without_new_privileges(libc: ctypes.CDLL) -> bool:
    return bool(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def _in_own_namespaces(libc: ctypes.CDLL) -> bool:
    return bool(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS) == 0)


def _within_landlock(libc: ctypes.CDLL) -> bool:
    """Forbid all that the kernel's version of Landlock knows, with no exception."""
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    if version < 1:
        return False
    rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)  # on files, one bit each
    ports, scopes = (0b11 if version >= 4 else 0), (0b11 if version >= 6 else 0)
    known = 8 if version < 4 else 16 if version < 6 else 24  # bytes of the structure
    rules = ctypes.create_string_buffer(struct.pack("QQQ", (1 << rights) - 1, ports, scopes), 24)
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, rules, ctypes.c_size_t(known), 0)
    return ruleset >= 0 and bool(libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)


def _under_seccomp(libc: ctypes.CDLL) -> bool:
    if platform.machine() not in _MACHINES:
        return False
    program = b"".join(_filter(*_MACHINES[platform.machine()]))
    code = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    return bool(libc.prctl(_PR_SET_SECCOMP, 2, ctypes.create_string_buffer(whole, len(whole)), 0, 0) == 0)


def _filter(architecture: int, listed: str) -> list[bytes]:
    """The filter's instructions: what is of another architecture, or not `listed`, is refused."""

    def step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, operand)

    words = listed.split()
    calls = {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}
    maps = [calls.pop(name) for name in _MEMORY_MAPS]
    allow, refuse = step(_RETURN, _ALLOW), step(_RETURN, _REFUSE)
    program = [step(_LOAD, _ARCHITECTURE), step(_IF_EQUAL, architecture, if_true=1), refuse, step(_LOAD, _NUMBER)]
    for at, number in enumerate(calls.values()):
        program.append(step(_IF_EQUAL, number, if_true=len(calls) - at + len(maps)))
    for at, number in enumerate(maps):
        program.append(step(_IF_EQUAL, number, if_true=len(maps) - at + 1))
    program += [refuse, allow]
    return [*program, step(_LOAD, _THIRD_ARGUMENT), step(_IF_ANY_BIT, _PROT_EXEC, if_true=1), allow, refuse]
