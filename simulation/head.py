"""Head: whether the head of a Ray cluster answers at an address, asked without Ray, which would wait for minutes."""

from __future__ import annotations

import os
import socket


def answers(address: str, patience: float) -> bool:
    """Whether what listens at HOST:PORT says that it is well, to a connection and to a question of `patience` seconds each."""
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest
    from grpc_health.v1.health_pb2_grpc import HealthStub

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=patience).close()
    except (OSError, OverflowError):
        return False
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return True  # whether it is Ray that listens is then seen by Ray alone
    with grpc.insecure_channel(address) as channel:
        try:
            HealthStub(channel).Check(HealthCheckRequest(), timeout=patience)
        except grpc.RpcError:
            return False
    return True
