"""Who a request comes from, for counting: an address, since a session is a name that its holder makes up."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

NETWORK_BITS = 64  # of an IPv6 address: what one subscriber gets, and could count as many as there are


def client_of(scope: Any) -> str:
    """The client of an ASGI scope or a Starlette request: its address, or its network where it has IPv6.

    Behind a proxy that uvicorn trusts (FORWARDED_ALLOW_IPS) this is the last address that the proxy did not make up
    itself, so that a client cannot pass for another by what it sends.
    """
    host = str((scope["client"] or ("",))[0])
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or ip_network((address, NETWORK_BITS), strict=False))
