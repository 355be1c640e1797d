"""Who may ask: pages of other sites may not, in whatever browser they are open."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import Request

SAME_SITE = ("same-origin", "none")
"""What browsers put into ``Sec-Fetch-Site`` for a page's own requests, and for those of the user."""


def refusal(request: Request, hosts: Collection[str] | None) -> str:
    """Why a request is refused, or an empty string.

    A page elsewhere could have its own name resolve to this machine (DNS rebinding), so the name is checked; it could
    also send pictures without reading the answer, so the sender of whatever is not only read is checked.

    Args:
        request: its headers are read.
        hosts: names of the server, besides loopback addresses; ``None`` for any.
    """
    host = request.headers.get("host", "")
    if hosts is not None and not _is_called(host, hosts):
        return "This server answers to localhost and 127.0.0.1 only; a proxy must send one of these as the Host."
    if request.method not in ("GET", "HEAD") and not _is_own(request, host):
        return "Pages of other sites may not use this server."
    return ""


def _is_called(host: str, hosts: Collection[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name in hosts or is_loopback(name)


def _is_own(request: Request, host: str) -> bool:
    """Whether a request comes from the server's own page, or from a program."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in SAME_SITE
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == host


def is_loopback(address: str) -> bool:
    """Whether an address reaches only the machine itself; names are not looked up."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
