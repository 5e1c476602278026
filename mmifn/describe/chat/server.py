"""A server of the OpenAI interface: requests with time limits and repeats, and its mistakes in words.

vLLM, llama.cpp's server, Ollama, LM Studio and `transformers serve` speak it. Nothing is followed to another host, and the
key is neither logged nor stored: whatever a server says is shown without it.
"""

from __future__ import annotations

import ipaddress
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx

from mmifn.core.errors import UserError, listed

DEFAULT_URL = "http://127.0.0.1:8000/v1"  # where vLLM and transformers serve listen
RETRIES, FIRST_WAIT_S, LONGEST_WAIT_S = 5, 1.0, 60.0  # half a minute in all, doubled each time
_BUSY = (408, 425, 429, 500, 502, 503, 504)
# Thinking off: for vLLM, llama.cpp and SGLang, and for Ollama. A server that refuses what it does not know is asked without.
_NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "none"}


class Refused(Exception):
    """The server understood a request and will not answer it; another image may fare better."""


@dataclass(frozen=True)
class Reply:
    """What a model said, and whether it ran into the longest answer."""

    text: str
    cut: bool


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: localhost, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def checked_url(base_url: str, allowed_host: str | None, with_key: bool) -> httpx.URL:
    """Return the address without a slash at its end.

    Raises UserError where it is none, where it is another machine that was not named by --allow-host, and where a key
    would leave this machine unencrypted.
    """
    try:
        url = httpx.URL(base_url.rstrip("/"))
    except httpx.InvalidURL as error:
        raise UserError(f"--base-url {base_url}: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or url.query or url.userinfo:
        raise UserError(f"--base-url {base_url}: wanted an address such as {DEFAULT_URL}, without name, password or query")
    if not is_loopback(url.host) and url.host != allowed_host:
        raise UserError(f"--base-url {base_url} is another machine, and the images would be sent to it; if that is what you "
                        f"want, say so: --allow-host {url.host}")
    if with_key and url.scheme == "http" and not is_loopback(url.host):
        raise UserError(f"--base-url {base_url}: the key would travel unencrypted; use https://")
    return url


def key_from(variable: str | None) -> str:
    """Return the key that an environment variable holds, "" where none is named; raises UserError where it is not set."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise UserError(f"--api-key-env {variable}: the environment variable {variable} "
                        f"{'holds no usable key' if key else 'is not set'}; set it (export {variable}=…) and run again")
    return key


@dataclass
class Server:
    """A connection; safe to use from several threads.

    key: sent as a bearer token where not empty; timeout_s: for one answer. `stop` ends all waiting before repeats.
    """

    url: httpx.URL
    key: str = field(default="", repr=False)
    timeout_s: float = 300.0
    extras: dict[str, Any] = field(default_factory=lambda: dict(_NO_THINKING))

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self.client = httpx.Client(headers=headers, follow_redirects=False, trust_env=not is_loopback(self.url.host),
                                   timeout=httpx.Timeout(self.timeout_s, connect=10.0))
        self.stop = threading.Event()

    def models(self) -> list[str] | None:
        """Return the names of the models that are served; None where the server keeps no list, or fails to give it."""
        response = self._send("GET", "/models")
        if response.status_code in (404, 405, 500, 501):
            return None
        self._require_rights(response)
        content = self._json(response)
        try:
            return [str(model["id"]) for model in content["data"]]
        except (KeyError, TypeError) as error:
            raise UserError(f"{self.url}/models holds no list of models; is this the address of an OpenAI interface? Its "
                            "addresses mostly end in /v1") from error

    def complete(self, model: str, messages: list[dict], max_tokens: int) -> Reply:
        """Ask for one answer, greedily. Raises Refused for this request alone, UserError where all would go the same way."""
        body = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0.0, "stream": False}
        response = self._send("POST", "/chat/completions", body | self.extras)
        if response.status_code in (400, 422) and self.extras:
            plain = self._send("POST", "/chat/completions", body)
            if plain.is_success:
                self.extras = {}
            response = plain
        self._require_rights(response)
        if response.status_code == 404:
            raise UserError(f"{self.url}/chat/completions knows no model {model!r}, or is no OpenAI interface "
                            f"(404: {self._said(response)})")
        if not response.is_success:
            raise Refused(f"the server refused ({response.status_code}: {self._said(response)})")
        return self._reply(self._json(response))

    def _reply(self, content: Any) -> Reply:
        try:
            choice = content["choices"][0]
            text, reason = choice["message"].get("content"), choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise Refused("the server's JSON holds no answer (choices[0].message.content)") from error
        if not (text is None or isinstance(text, str)):
            raise Refused(f"the server's answer is no text but {type(text).__name__}")
        return Reply(text or "", reason == "length")

    def _send(self, method: str, path: str, body: dict | None = None) -> httpx.Response:
        """Send a request, again after a while where the server is busy or the line breaks."""
        fault, pause, absent = "", 0.0, False
        for attempt in range(RETRIES + 1):
            self._wait(pause)
            pause = FIRST_WAIT_S * 2 ** attempt
            try:
                response = self.client.request(method, f"{self.url}{path}", json=body)
            except httpx.TimeoutException:
                fault, absent = f"no answer within {self.timeout_s:g} s", method == "GET"
            except httpx.TransportError as error:
                fault, absent = f"the connection failed: {error}", True
                if method == "GET":
                    break  # at the start: it is not there, and will not come by waiting
            else:
                self._require_staying(response)
                if response.status_code not in _BUSY or (method == "GET" and response.status_code == 500):
                    return response
                fault, absent = f"the server is busy or failing ({response.status_code}: {self._said(response)})", False
                pause = _seconds(response.headers.get("retry-after"), pause)
        if absent:
            raise UserError(f"no server answers at {self.url} ({self._clean(fault)}); start one there, such as `vllm serve "
                            "MODEL`, or give its address by --base-url. What was written is kept: run the same command again")
        raise Refused(f"{fault}, {RETRIES + 1} times")

    def _wait(self, seconds: float) -> None:
        if self.stop.wait(min(seconds, LONGEST_WAIT_S)):
            raise Refused("stopped")

    def _require_staying(self, response: httpx.Response) -> None:
        if response.is_redirect:
            raise UserError(f"{self.url} sends requests on to {self._clean(response.headers.get('location', '?'))}, which is not "
                            "followed; give the right address by --base-url")

    def _require_rights(self, response: httpx.Response) -> None:
        if response.status_code in (401, 403):
            what = "does not accept the key" if self.key else "wants a key: put it into an environment variable and name that"
            raise UserError(f"{self.url} {what} (--api-key-env VARIABLE; {response.status_code}: {self._said(response)})")

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise Refused(f"the server's answer is no JSON: {self._said(response)}") from error

    def _said(self, response: httpx.Response) -> str:
        """Return the beginning of what a server said, in one line and without the key."""
        try:
            content = response.json()
            told = content.get("error", content.get("detail", content)) if isinstance(content, dict) else content
            text = told.get("message", str(told)) if isinstance(told, dict) else str(told)
        except ValueError:
            text = response.text
        return self._clean(text) or "nothing"

    def _clean(self, text: str) -> str:
        text = " ".join(str(text).split())
        return (text.replace(self.key, "…") if self.key else text)[:300]


def _seconds(header: str | None, otherwise: float) -> float:
    """Return the seconds of a Retry-After header; `otherwise` where it is missing or a date."""
    try:
        return max(0.0, float(header)) if header is not None else otherwise
    except ValueError:
        return otherwise


def choose_model(server: Server, wanted: str | None) -> str:
    """Return the model to ask: the one wanted, or the only one there is. Raises UserError where it is not served.

    `transformers serve` lists what lies in the hub's cache, but loads any folder: a folder is taken at its word.
    """
    try:
        served = server.models()
    except Refused as error:
        raise UserError(f"{server.url}: {error}") from error
    if wanted is not None and (not served or Path(wanted).is_dir()):
        return wanted
    if served is None:
        raise UserError(f"{server.url} does not say which models it serves; name one: --model NAME")
    if wanted is None and len(served) == 1:
        return served[0]
    if wanted not in served:
        problem = f"serves no model {wanted!r}" if wanted else "serves several models" if served else "serves no model"
        raise UserError(f"{server.url} {problem}; there are:\n{listed(served) or '  none'}\nName one: --model NAME")
    return wanted
