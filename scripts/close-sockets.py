"""Shuts all connected TCP sockets of a process, as a network that breaks would: for scripts/fail-launch.mjs.

    python3 scripts/close-sockets.py PID

Needs Linux 5.6 and the rights of a debugger.
"""

import ctypes
import errno
import os
import socket
import sys

PIDFD_GETFD = 438


def main(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    closed = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                continue
        except OSError:
            continue
        copy = libc.syscall(PIDFD_GETFD, process, int(fd), 0)
        if copy < 0:
            if ctypes.get_errno() == errno.EBADF:
                continue  # closed since it was listed
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        with socket.socket(fileno=copy) as found:
            if found.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            try:
                found.getpeername()
            except OSError:
                continue  # one that listens
            found.shutdown(socket.SHUT_RDWR)
            closed += 1
    print(closed)


main(int(sys.argv[1]))
