"""An HTTP client for streams. Its errors describe the response of the server."""

from __future__ import annotations

import contextlib
import re
import select
import ssl
import threading
import urllib.error
import urllib.request
from functools import cached_property
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, InvalidURL, RemoteDisconnected
from typing import Any

from maskedge.errors import SourceError, UsageError
from maskedge.sources.address import PERCENT_HINT, Address, check_stream, split_address, without_password
from maskedge.sources.config import SourceConfig
from maskedge.version import VERSION

from .authentication import Authentication, Passwords, UnsupportedAuthenticationError

_CHUNK = 65536
_LONGEST = 200
"""Maximum length of a reason in a message, in characters."""


class NotHttpError(Exception):
    """The server's response resembles HTTP but is not valid."""


class HttpClient:
    """Sends requests to one server, with the user's credentials if the server asks for them.

    Args:
        address: Address of the stream.
        config: Its timeouts.
    """

    def __init__(self, address: Address, config: SourceConfig) -> None:
        self.name = without_password(address.full)
        self.warnings: list[str] = []
        self.read_timeout = (config.stall_timeout or 30.0) + 1.0
        self._address = address
        self._timeout = config.open_timeout
        self._passwords = Passwords()
        self.connections: list[Any] = []

    @cached_property
    def context(self) -> ssl.SSLContext:
        """TLS settings, created on first use because loading the certificates takes time."""
        return ssl.create_default_context()

    def get(self) -> HTTPResponse:
        """Send the request, follow redirects, and return the response, which has status 200.

        Raises:
            SourceError: The request failed.
            NotHttpError: The response is not HTTP.
        """
        while True:
            try:
                return self._get()
            except ssl.SSLCertVerificationError as error:
                if self.context.verify_mode is ssl.CERT_NONE:
                    raise self._connection_error(error) from None
                # Cameras sign their own certificates. Without verification, the connection is
                # protected against eavesdropping, but not against a server that impersonates the
                # camera.
                self.warnings.append(
                    f"the certificate of {self.name} cannot be verified ({error.verify_message or error.reason}): "
                    "the connection is encrypted, but may lead to another server."
                )
                self.context.check_hostname = False
                self.context.verify_mode = ssl.CERT_NONE

    def _get(self) -> HTTPResponse:
        self.connections.clear()
        agent = {"User-Agent": f"maskedge/{VERSION}", "Accept": "*/*"}
        timed_out = threading.Event()

        def give_up() -> None:
            timed_out.set()
            self.disconnect()

        # The timeout of a socket restarts with every byte, so the whole response has a timer.
        timer = threading.Timer(self._timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            request = urllib.request.Request(self._address.bare.partition("#")[0], headers=agent)  # noqa: S310  (http or https)
            response: HTTPResponse = self._opener().open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._status_error(error) from None
        except RemoteDisconnected:
            raise self._timeout_error(timed_out) or self.failure(
                "the server closed the connection without a response", "try again"
            ) from None
        except BadStatusLine:
            raise NotHttpError from None
        except UnsupportedAuthenticationError:
            raise self.failure(
                "the server asks for an unsupported kind of authentication", "set the camera to Digest or Basic"
            ) from None
        except (urllib.error.URLError, OSError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise reason from None
            raise self._timeout_error(timed_out) or self._connection_error(reason) from None
        except (HTTPException, ValueError) as error:
            raise self._timeout_error(timed_out) or self._protocol_error(error) from None
        finally:
            timer.cancel()
        if timed_out.is_set():
            response.close()
            raise self.failure(f"no response within {self._timeout:g} s", "check that the camera is running")
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.settimeout(self.read_timeout)
        if response.status != 200:
            response.close()
            raise self.failure(f"the server returns {response.status} {response.reason}".rstrip(), "check the address")
        return response

    def _opener(self) -> urllib.request.OpenerDirector:
        """Return an opener for http and https only."""
        client = self
        passwords = self._passwords = Passwords()

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                client.connections.append(self.sock)

        class Encrypted(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                client.connections.append(self.sock)

        class Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
            def __init__(self) -> None:
                super().__init__()

            def http_open(self, req: urllib.request.Request) -> HTTPResponse:
                return self.do_open(Plain, req)

            def https_open(self, req: urllib.request.Request) -> HTTPResponse:
                return self.do_open(Encrypted, req, context=client.context)

        class Redirect(urllib.request.HTTPRedirectHandler):
            def redirect_request(
                self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
            ) -> urllib.request.Request | None:
                # As in the first address, a name and a password are not part of the host. They are sent to it
                # only, and only if it asks for them.
                address = client.split_redirect(newurl)
                if address.credentials is not None:
                    passwords.add_password(None, address.bare, *address.credentials)
                return super().redirect_request(req, fp, code, msg, headers, address.bare)

        credentials = self._address.credentials
        if credentials is not None:
            host = re.split("[/?#]", self._address.rest, maxsplit=1)[0]
            # A camera may redirect from http to https. The password must not be sent to another
            # host, nor unencrypted if the user wrote https.
            places = f"{self._address.scheme}://{host}", f"https://{host}", f"https://{_without_port(host)}"
            passwords.add_password(None, places, *credentials)
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            Handler(),
            Authentication(passwords),
            Redirect(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
        ):
            opener.add_handler(handler)
        return opener

    def read(self, response: HTTPResponse) -> bytes:
        """Wait for the next bytes of a response. Return empty bytes at its end.

        Raises:
            SourceError: No bytes arrive within the timeout.
        """
        try:
            return response.read1(_CHUNK)
        except TimeoutError:
            raise SourceError(f"{self.name} sent nothing for {self.read_timeout:g} s: check the cable or the network.") from None
        except (OSError, HTTPException, ValueError, AttributeError):  # the last: another thread closes the response meanwhile
            return b""

    def has_data(self, response: HTTPResponse) -> bool:
        """Return True when bytes wait to be read."""
        try:
            return bool(select.select([response.fileno()], [], [], 0)[0])
        except (OSError, ValueError):
            return False

    def split_redirect(self, text: str) -> Address:
        """Split the address of a redirect.

        Raises:
            SourceError: The address is not valid. It is not shown, because it may contain credentials.
        """
        try:
            check_stream(text)
            address = split_address(text)
        except UsageError:
            address = None
        if address is None:
            raise self.failure("the server redirects to an address that is not valid", "check the settings of the camera")
        return address

    def disconnect(self) -> None:
        """Close the connections. This ends a read in another thread."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    def failure(self, reason: str, remedy: str) -> SourceError:
        """Return the error for a stream that cannot be opened."""
        # The reason may repeat what the server sent.
        return SourceError(f"the stream {self.name} could not be opened ({without_password(reason)[:_LONGEST]}): {remedy}.")

    def _timeout_error(self, timed_out: threading.Event) -> SourceError | None:
        if not timed_out.is_set():
            return None
        return SourceError(
            f"the stream {self.name} could not be opened within {self._timeout:g} s: "
            "check the address, and that the camera is running."
        )

    def _connection_error(self, reason: Any) -> SourceError:
        if isinstance(reason, TimeoutError):
            reason = f"no response within {self._timeout:g} s"
        elif isinstance(reason, ssl.SSLError):
            reason = f"no encrypted connection: {' '.join(str(reason.reason or reason).split())}"
        elif isinstance(reason, OSError):
            reason = reason.strerror or type(reason).__name__
        remedy = "check the address, and that the camera is running"
        return self.failure(str(reason), f"{remedy}; {PERCENT_HINT}" if self._address.doubtful else remedy)

    def _protocol_error(self, error: Exception) -> SourceError:
        # The library's message is not shown, because it may contain the address.
        if isinstance(error, UnicodeEncodeError) and error.encoding != "idna":
            return self.failure(
                "the address contains a character that HTTP does not allow", "write it percent-encoded, as in %C3%A4"
            )
        if isinstance(error, UnicodeError):
            return self.failure("the host name is not valid", "check the address")
        if isinstance(error, InvalidURL):
            return self.failure("the address contains a blank or another character that HTTP does not allow", "write it as in %20")
        return self.failure("the response is not valid HTTP", "check the address, and that a camera is there")

    def _status_error(self, error: urllib.error.HTTPError) -> SourceError:
        reason, remedy = f"the server returns {error.code} {error.reason}", "check the address"
        if error.code == 401 and self._address.credentials is None:
            reason, remedy = "the server asks for a name and a password", f"write {self._address.scheme}://NAME:PASSWORD@HOST/..."
        elif error.code == 401 and self._passwords.find_user_password(None, error.url) == (None, None):
            place = "/".join(error.url.split("/")[:3])
            reason = f"it redirects to {place}, which asks for a name and a password"
            remedy = "give that address, as the ones of another host are not sent there, and those of https:// not over http://"
        elif error.code == 401:
            reason, remedy = "the server rejects the name and password", f"check them; {PERCENT_HINT}"
        elif error.code == 403:
            reason, remedy = "the server returns 403 Forbidden", "check the permissions of this user on the camera"
        elif 300 <= error.code < 400:
            reason = f"the server returns {error.code}, a redirect in a circle or to an address that is not HTTP"
        elif error.code >= 500:
            remedy = "the camera is busy or faulty: try again, or restart it"
        return self.failure(" ".join(reason.split()), remedy)


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host)
