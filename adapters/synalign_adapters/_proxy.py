"""The proxy that the environment names for an address, and the variable that names it."""

from __future__ import annotations

import os
import urllib.request
from urllib.parse import urlsplit

from synalign_jax.llm.protocol import Misconfigured


def proxy_for(scheme: str, host: str, given: str | None) -> tuple[str | None, str]:
    """The proxy's address, None for none, and what names it: the setting, or the environment's variable.

    Loopback is never proxied unless `given` says so; NO_PROXY is obeyed. An address without a scheme counts
    as http, as curl takes it.

    Raises:
        Misconfigured: an address that is none, or a SOCKS proxy, which is not spoken.
    """
    if given is not None:
        return _checked(given, "the setting proxy"), "the setting proxy"
    if host in ("127.0.0.1", "localhost", "::1") or urllib.request.proxy_bypass(host):
        return None, ""
    named = urllib.request.getproxies().get(scheme)
    if not named:
        return None, ""
    variables = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    variable = next((name for name in variables if os.environ.get(name)), variables[0])
    return _checked(named, f"the environment variable {variable}"), f"the environment variable {variable}"


def _checked(address: str, name: str) -> str:
    address = address.strip()
    if "://" not in address:
        address = f"http://{address}"
    try:
        parts = urlsplit(address)
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good, parts = False, urlsplit("")
    if parts.scheme.startswith("socks"):
        raise Misconfigured(f"{name} names a SOCKS proxy; only HTTP proxies (http://host:port) are spoken")
    if not good or parts.scheme not in ("http", "https"):
        raise Misconfigured(f"{name} holds no proxy's address; write it like http://proxy.example.com:3128")
    return address
