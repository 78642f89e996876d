"""Addresses of clients: whose they are, and which of them count as one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

__all__ = [
    "LOCAL_NAMES",
    "address_key",
    "host_name",
    "is_address",
    "is_loopback",
    "is_trusted",
    "real_client",
]

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_IPV6_NETWORK_BITS = 64
"""Whoever has one IPv6 address has a network of at least that size."""


def address_key(address: str) -> str:
    """The name under which an address is counted: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        if parsed.is_loopback:
            return str(parsed)
        return str(ipaddress.ip_network((parsed, _IPV6_NETWORK_BITS), strict=False))
    return str(parsed)


def is_loopback(address: str) -> bool:
    """Whether this is an address of the own machine that nobody else can have."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback


def real_client(address: str, forwarded: Iterable[str], proxies: Iterable[str]) -> str:
    """The client behind trusted proxies.

    Each proxy adds at the end whom it heard, so the list is read from its end for as long as the
    one who says so is trusted; what a client wrote there itself comes before that and is not read.

    Args:
        address: who is at the other end of the TCP connection.
        forwarded: the values of ``X-Forwarded-For``, in order.
        proxies: addresses or networks that are trusted.
    """
    trusted = [ipaddress.ip_network(proxy, strict=False) for proxy in proxies]
    chain = [part.strip() for value in forwarded for part in value.split(",")]
    current = address
    while chain and _is_in(current, trusted):
        named = chain.pop()
        try:
            ipaddress.ip_address(named)
        except ValueError:
            break
        current = named
    return current


def is_trusted(address: str, proxies: Iterable[str]) -> bool:
    """Whether an address is one of these, or in one of these networks."""
    return _is_in(address, [ipaddress.ip_network(proxy, strict=False) for proxy in proxies])


def is_address(name: str) -> bool:
    """Whether a name is an address written out."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_in(address: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def host_name(header: str) -> str:
    """The name in a ``Host`` header, without the port; empty if it is none."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:  # half an IPv6 address, say
        return ""
