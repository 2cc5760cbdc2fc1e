"""The system calls that no task needs, as a classic BPF program for bubblewrap.

Namespaces hide files, processes and networks. They do not hide kernel keyrings (inherited
from the node's session) and the kernel log, and they leave large parts of the kernel open
to attack that ordinary programs never touch. These calls fail with EPERM.
"""

import platform
import struct

_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
_X32 = 0x40000000  # x86-64 calls with this bit are the x32 variant of the same calls

# name: number on (x86_64, aarch64)
DENIED = {
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "syslog": (103, 116),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "quotactl": (179, 60),
    "acct": (163, 89),
}
_IOCTL = (16, 29)
_DENIED_IOCTLS = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into somebody's terminal

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _EPERM = 0x7FFF0000, 0x00050000 | 1
_NUMBER_AT, _ARCH_AT, _SECOND_ARGUMENT_AT = 0, 4, 24  # offsets in struct seccomp_data


def program(machine: str = "") -> bytes:
    """The filter for a machine (`platform.machine()`); empty where we have no numbers for it."""
    machine = machine or platform.machine()
    if machine not in _ARCH:
        return b""
    column = list(_ARCH).index(machine)
    calls = [numbers[column] for numbers in DENIED.values()]

    # (code, k, where to go if true, if false); None is the next one, else a label
    steps: list[tuple[int, int, str | None, str | None]] = [
        (_LOAD, _ARCH_AT, None, None),
        (_EQUAL, _ARCH[machine], None, "deny"),
        (_LOAD, _NUMBER_AT, None, None),
    ]
    if machine == "x86_64":
        steps.append((_AT_LEAST, _X32, "deny", None))
    steps += [(_EQUAL, call, "deny", None) for call in calls]
    steps.append((_EQUAL, _IOCTL[column], None, "allow"))
    steps.append((_LOAD, _SECOND_ARGUMENT_AT, None, None))
    steps += [(_EQUAL, request, "deny", None) for request in _DENIED_IOCTLS]
    label = {"allow": len(steps), "deny": len(steps) + 1}
    steps += [(_RETURN, _ALLOW, None, None), (_RETURN, _EPERM, None, None)]

    def distance(here: int, to: str | None) -> int:
        return 0 if to is None else label[to] - here - 1

    return b"".join(
        struct.pack("=HBBI", code, distance(here, yes), distance(here, no), k)
        for here, (code, k, yes, no) in enumerate(steps)
    )
