"""How a server is reached: the settings that every adapter over HTTP shares, named here alone; and what it
means where a connection fails."""

from __future__ import annotations

import base64
import os
import re
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp

from synalign_jax.llm.protocol import LLMError, Misconfigured, ServerError, Timeout, Unreachable

_CALLS = re.compile(r"(?:/(?:chat/completions|completions|embeddings|models|files|batches))?/*$")
_SHORTEST = 6  # characters: a shorter secret would be found in half of all texts
_TELLING = re.compile(r"key|token|secret|sig|pass|auth|code|credential|jwt|session", re.IGNORECASE)


class Connection(TypedDict, total=False):
    """Keyword arguments of OpenAIChat and OpenAIEmbeddings; all may be left out.

    api_key: sent as a bearer token. Better: leave it out and name a variable.
    api_key_env: the environment variable that holds the key; an unset one means no key.
    headers: more headers, for gateways that want them; kept as secret as the key.
    proxy: an HTTP proxy; by default the usual environment variables decide, loopback excepted.
    ca_file: PEM certificates to trust instead of the system's.
    connect_timeout: seconds for the connection to be made.
    """

    api_key: str | None
    api_key_env: str | None
    headers: Mapping[str, str] | None
    proxy: str | None
    ca_file: str | os.PathLike[str] | None
    connect_timeout: float


DEFAULT_KEY = "OPENAI_API_KEY"


class Address:
    """`base` names the endpoint and holds no secret; `of(path)` is the address of a call."""

    def __init__(self, base_url: str) -> None:
        try:
            parts = urlsplit(base_url.strip())
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            raise Misconfigured("base_url: its host or port cannot be read") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            shown = base_url.split("@")[-1].split("?")[0]
            raise Misconfigured(
                f"base_url: {shown!r} has no scheme and host; write it like http://127.0.0.1:8000/v1 or"
                " https://api.example.com/v1"
            )
        path = re.sub(r"(?:/v1)+$", "/v1", _CALLS.sub("", parts.path)) or "/v1"
        self.scheme, self.host = parts.scheme, parts.hostname
        shown = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.base = f"{parts.scheme}://{shown}{port}{path}"
        self._query = f"?{parts.query}" if parts.query else ""
        self.login = ""
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.login = "Basic " + base64.b64encode(pair.encode()).decode()

    def of(self, path: str) -> str:
        return f"{self.base}/{path}{self._query}"


class Secrets:
    """Header values, and the passwords and keys of addresses.

    Errors and records of failures are redacted wherever a secret stands. Answers that are used are not: they
    are somebody's data, and a key such as "anything" is a word first.
    """

    def __init__(self, values: Iterable[str], addresses: Iterable[str]) -> None:
        given = [value for value in values if value]
        found = set(given)
        found |= {value.split(" ", 1)[1] for value in given if " " in value}  # "Bearer KEY"
        for address in addresses:
            parts = urlsplit(address)
            found |= {parts.password or "", unquote(parts.password or "")}
            found |= {value for name, value in parse_qsl(parts.query) if _TELLING.search(name)}
        self._all = sorted((value for value in found if len(value) >= _SHORTEST), key=len, reverse=True)

    def redact(self, text: str) -> str:
        """For errors, logs and records of failures."""
        for secret in self._all:
            text = text.replace(secret, "[secret]")
        return text


class Credentials:
    """The headers of every call, what the key is called in errors, and what must not be repeated."""

    def __init__(self, address: Address, base_url: str, settings: Connection) -> None:
        given, variable = settings.get("api_key"), settings.get("api_key_env", DEFAULT_KEY)
        key = (given or (os.environ.get(variable, "") if variable else "")).strip()
        self.said = f"the key {'given as api_key' if given else f'in ${variable}'} was refused"
        if not key:
            self.said = f"no key was sent; set ${variable}" if variable else "no key was sent"
        more = dict(settings.get("headers") or {})
        if more and not key:
            self.said = f"sent were the headers {', '.join(sorted(more))}"
        self.headers = {"Accept-Encoding": "identity", **more}
        if key and not any(name.lower() == "authorization" for name in more):
            self.headers["Authorization"] = f"Bearer {key}"
        elif address.login:
            self.headers["Authorization"] = address.login
        if key and address.host.endswith(".openai.azure.com"):
            self.headers.setdefault("api-key", key)
        for name, value in self.headers.items():
            if not value.isascii() or not value.isprintable():
                raise Misconfigured(f"the header {name} holds a character that HTTP forbids; check its value")
        proxy = settings.get("proxy") or ""
        self.secrets = Secrets([key, address.login, *more.values()], [base_url, proxy])


def proxy_for(scheme: str, host: str, given: str | None) -> tuple[str | None, str]:
    """The proxy's address, None for none, and what names it: the setting, or the environment's variable.

    Loopback is never proxied unless `given` says so; NO_PROXY is obeyed. An address without a scheme counts
    as http, as curl takes it.

    Raises:
        Misconfigured: an address that is none, or a SOCKS proxy, which is not spoken.
    """
    if given is not None:
        return _proxy_at(given, "the setting proxy"), "the setting proxy"
    if host in ("127.0.0.1", "localhost", "::1") or urllib.request.proxy_bypass(host):
        return None, ""
    named = urllib.request.getproxies().get(scheme)
    if not named:
        return None, ""
    variables = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    variable = next((name for name in variables if os.environ.get(name)), variables[0])
    return _proxy_at(named, f"the environment variable {variable}"), f"the environment variable {variable}"


def _proxy_at(address: str, name: str) -> str:
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


@dataclass(frozen=True, slots=True)
class Way:
    """What an error names of the way to a server: its address, and the proxy with what names that."""

    base: str
    proxy: str | None
    proxy_name: str

    def late(self, error: TimeoutError) -> LLMError:
        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        what = "no connection" if connecting else "no further part of the answer"
        through = f" through {self._shown_proxy()}" if connecting and self.proxy else ""
        return Timeout(f"{self.base}: {what} in time{through}", paid=not connecting)

    def lost(self, error: aiohttp.ClientError | OSError) -> LLMError:
        """The error of a connection that failed. Only its class and its errno are repeated: aiohttp's texts
        hold addresses, and those may hold passwords."""
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            reason = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
            said = getattr(reason, "verify_message", None) or type(reason).__name__
            return Misconfigured(
                f"{self.base}: TLS failed: {said}; if the server's certificate is your own, set ca_file"
            )
        if isinstance(error, aiohttp.ClientHttpProxyError):
            what = f"{self._shown_proxy()} answered HTTP {error.status}"
            hint = " (it wants a user and password)" if error.status == 407 else ""
            kind = Misconfigured if error.status in (403, 407) else Unreachable
            return kind(f"{self.base}: {what}{hint}")
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno or 0
            said = os.strerror(number) if number > 0 else "unknown host"
            whom = (
                f"to {self._shown_proxy()}" if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
            )
            return Unreachable(f"{self.base}: cannot connect{' ' if whom else ''}{whom}: {said}")
        if isinstance(error, aiohttp.InvalidURL):
            whose = f"{self._shown_proxy()} is no address" if self.proxy else "base_url is no address"
            return Misconfigured(f"{self.base}: {whose}")
        through = f" through {self._shown_proxy()}" if self.proxy else ""
        return ServerError(f"{self.base}: the connection broke{through} ({type(error).__name__})", paid=True)

    def _shown_proxy(self) -> str:
        parts = urlsplit(self.proxy or "")
        return f"the proxy {parts.hostname}:{parts.port or 80} (from {self.proxy_name})"
