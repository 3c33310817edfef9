"""TCP ports on this machine: finding free ones, and saying clearly which are taken."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

from freshet.dev.errors import PortInUse

HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def listens(port: int) -> bool:
    """Whether something accepts connections on this port."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=0.5):
        return True
    return False


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return not listens(port)


def require_free(ports: Mapping[str, int]) -> None:
    """Raises PortInUse, with all that are taken, where one of the ports (option name to number) is not free."""
    taken = [
        f"port {port} is in use: stop the program that listens on it, or choose another with {option}"
        for option, port in ports.items()
        if port and not is_free(port)
    ]
    if taken:
        raise PortInUse("\n".join(taken))
