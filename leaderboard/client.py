"""The client: one board over HTTP, with patience for bad lines."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, final
from urllib.parse import quote, urlsplit

from zapeval.errors import InvalidInput, NotFound, Refused, UsageError, ZapevalError

try:
    import httpx2
except ImportError as error:
    raise UsageError(
        f"talking to a board needs {error.name}; install it with `pip install 'zapeval[submit]'`"
    ) from error

API = "/api/v1"

PATIENCE = 300.0
"""Seconds in which something must get through once the board has answered."""

LONGEST_WAIT = 45.0
"""Most seconds that a board may ask to be waited for; a quota asks for more, and is an answer."""

_TIMEOUT = httpx2.Timeout(60.0, connect=20.0, read=600.0)
"""Seconds; the answer to the last part of a file of 8 GiB comes when all of it is hashed."""

_WAITS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_BUSY = frozenset({408, 425, 429, 502, 503, 504})
_SHOWN = 20

Note = Callable[[str], None]


class Lost(Exception):
    """Says that a request did not get through, for a reason that may pass.

    Attributes:
        seconds: How long the board asks to be left alone, or 0.
    """

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.seconds = seconds


def address_of(text: str) -> str:
    """Returns the address of a board in its plain form.

    Raises:
        UsageError: It is none.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{text!r:.80}: is no address of a board: {error}") from error
    plain = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not plain or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(f"{text!r:.80}: expected the address of a board, such as https://HOST")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")


@final
class Board:
    """A board. Everything that it is asked may be asked twice."""

    def __init__(
        self,
        address: str,
        token: str = "",
        *,
        patience: float = PATIENCE,
        note: Note = lambda text: None,
    ) -> None:
        """Opens it; nothing is sent yet.

        Args:
            address: Its address.
            token: Secret of a token, or "".
            patience: See PATIENCE.
            note: Is told what goes wrong and passes.
        """
        self.address = address_of(address)
        self.patience = patience
        self._note = note
        self._answered = False
        headers = {"Accept": "application/json", "User-Agent": "zapeval"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx2.Client(
            base_url=self.address + API,
            headers=headers,
            timeout=_TIMEOUT,
            # Proxies of the environment, as every tool takes them; redirects, which would take the
            # token elsewhere, never.
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """Returns what the board has at a path of its API."""
        return self.patiently(lambda: self.once("GET", path))

    def post(self, path: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Returns what the board answers to a document."""
        content = b"" if document is None else json.dumps(document, allow_nan=False).encode()
        headers = {} if document is None else {"Content-Type": "application/json"}
        return self.patiently(lambda: self.once("POST", path, content, headers))

    def once(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Returns the answer to one request, tried once.

        Raises:
            Lost: It did not get through, or the board is busy.
            ZapevalError: The board refuses, or is none.
        """
        try:
            response = self._client.request(method, path, content=content, headers=headers)
        except httpx2.TransportError as error:
            raise self._lost(error) from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise UsageError(f"{self.address}: is no address of a board: {error}") from error
        document = _document(response)
        if document is None and response.status_code not in _BUSY:
            raise self._no_board(response)
        if response.is_success and document is not None:
            self._answered = True
            return document
        said = document or {}
        seconds = _seconds(response)
        if _passes(response, said) and seconds <= LONGEST_WAIT:
            self._answered = self._answered or document is not None
            raise Lost(
                f"{self.address}: {said.get('detail', f'HTTP {response.status_code}')}", seconds
            )
        raise problem_of(self.address, response.status_code, said)

    def patiently(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Returns what comes of asking, again and again while patience lasts.

        Raises:
            ZapevalError: The board refuses, or does not answer.
        """
        end = time.monotonic() + self.patience
        for tries in range(1 << 30):
            try:
                return ask()
            except Lost as lost:
                self.wait(lost, tries, end)
        raise AssertionError("patience ends before")

    def wait(self, lost: Lost, tries: int, end: float) -> None:
        """Waits before the next try.

        Raises:
            NotFound: The board has never answered.
            Refused: Patience is at its end.
        """
        if not self._answered and not lost.seconds:
            raise NotFound(f"{lost}; is the address right, and the board running?") from lost
        seconds = max(lost.seconds, _WAITS[min(tries, len(_WAITS) - 1)])
        if time.monotonic() + seconds > end:
            raise Refused(f"{lost}; repeat the command: it goes on where it was") from lost
        if tries == 1:
            self._note(f"{lost}; trying again")
        time.sleep(seconds)

    def _lost(self, error: httpx2.TransportError) -> Exception:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                why = cause.verify_message
                return Refused(f"{self.address}: its certificate can't be verified: {why}")
            if isinstance(cause, ssl.SSLError) and not self._answered:
                return Refused(f"{self.address}: does not speak https; is it http://?")
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx2.ConnectError):
            return Lost(f"{self.address}: can't be reached ({error})")
        return Lost(f"{self.address}: the connection was lost ({type(error).__name__})")

    def _no_board(self, response: httpx2.Response) -> ZapevalError:
        if response.is_redirect:
            where = response.headers.get("location", "elsewhere")
            return NotFound(f"{self.address}: leads to {where:.200}; give the address of the board")
        kind = response.headers.get("content-type", "nothing").partition(";")[0]
        return NotFound(
            f"{self.address}: is no zapeval board: answered HTTP {response.status_code}, {kind}"
        )


def file_path(submission_id: str, path: str) -> str:
    """Returns the address of a file of a submission."""
    return f"/submissions/{submission_id}/files/{quote(path)}"


def problem_of(address: str, status: int, document: Mapping[str, Any]) -> ZapevalError:
    """Returns the error that a board's problem document is."""
    detail = str(document.get("detail") or document.get("title") or f"HTTP {status}")
    findings = [_finding(one) for one in document.get("findings") or ()]
    listed = [one for one in findings if one not in detail]
    message = "\n".join([f"{address}: {detail}", *(f"- {one}" for one in listed[:_SHOWN])])
    if status == 401:
        return Refused(f"{message}; sign in with `zapeval login {address}`")
    if status == 404:
        return NotFound(message)
    if status in (400, 416, 422):
        return InvalidInput(message, findings)
    return Refused(message)


def _passes(response: httpx2.Response, document: Mapping[str, Any]) -> bool:
    """Tells whether asking again can help: the board is busy, or says how much has arrived."""
    busy = response.status_code in _BUSY
    taken = response.status_code == 409 and "retry-after" in response.headers
    return busy or taken or "received" in document


def _finding(one: object) -> str:
    if isinstance(one, Mapping):
        return f"{one.get('where', '')}: {one.get('what', one.get('message', ''))}".strip(": ")
    return str(one)


def _document(response: httpx2.Response) -> dict[str, Any] | None:
    """Returns the JSON object of an answer, or None where it is something else."""
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind not in ("application/json", "application/problem+json"):
        return None
    try:
        document = response.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _seconds(response: httpx2.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("retry-after", "0")))
    except ValueError:
        return 0.0
