"""
activate.py NAMES FDS COMMAND...: executes COMMAND with these open descriptors at 3 and up, as systemd passes sockets. NAMES are
separated by colons, FDS by commas.
"""

import fcntl
import os
import sys

FIRST = 3


def main():
    names, numbers, command = sys.argv[1], [int(n) for n in sys.argv[2].split(",")], sys.argv[3:]
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST + len(numbers)) for fd in numbers]  # out of the targets' way
    for target, fd in enumerate(moved, FIRST):
        os.dup2(fd, target, inheritable=True)
    for fd in numbers:
        if fd >= FIRST + len(numbers):
            os.close(fd)
    env = {"LISTEN_PID": str(os.getpid()), **os.environ, "LISTEN_FDS": str(len(numbers)), "LISTEN_FDNAMES": names}
    os.execve(command[0], command, env)


main()
