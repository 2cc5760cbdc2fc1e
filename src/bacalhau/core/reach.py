"""May a node fetch from this address on a job's behalf?

By default only from addresses of the public internet: a node must not become a door into
the network behind it, to its own services, or to the metadata service of its cloud.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_METADATA = frozenset({ip_address("168.63.129.16")})
"""Public by its number, yet the metadata service of Azure; the others are not global."""
_NAT64 = IPv6Network("64:ff9b::/96")


def refusal(address: str, allow_private: bool) -> str:
    """Why nothing may be fetched from that IP address; empty when it may."""
    if allow_private:
        return ""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return f"'{address}' is not an IP address"
    for seen in (ip, *_embedded(ip)):
        if seen in _METADATA or seen.is_multicast or not seen.is_global:
            return f"{address} is not a public address"
    return ""


def _embedded(ip: IPv4Address | IPv6Address) -> tuple[IPv4Address, ...]:
    """IPv4 addresses that an IPv6 address leads to."""
    if isinstance(ip, IPv4Address):
        return ()
    nat64 = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
    teredo = ip.teredo[1] if ip.teredo else None
    return tuple(one for one in (ip.ipv4_mapped, ip.sixtofour, nat64, teredo) if one)
