"""A token issuer for tests: a real server with rotating keys and configurable failures."""

import json
import threading
import time
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from joserfc import jws  # noqa: TID251 - tests act as the issuer
from joserfc.jwk import ECKey, RSAKey  # noqa: TID251

from tests.oidc.desk import Desk

AUDIENCE = "https://registry.example"


def an_rsa_key(**parameters):
    return RSAKey.generate_key(2048, {"kid": f"rsa-{uuid.uuid4().hex[:8]}", **parameters})


def an_ec_key(**parameters):
    return ECKey.generate_key("P-256", {"kid": f"ec-{uuid.uuid4().hex[:8]}", **parameters})


class TestIssuer:
    """One issuer of the server; `ill` names the way in which it fails."""

    def __init__(self, url):
        self.url = url
        self.keys = [an_rsa_key()]
        self.recover()

    def recover(self):
        """Reset the failure, the recorded requests and the published documents."""
        self.ill = None
        self.asked = []
        self.desk = Desk(self)
        self.discovery = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        self.discovery |= self.desk.document()

    def rotate(self):
        """Replace the signing key; the old one is no longer published."""
        self.keys = [an_rsa_key()]

    def claims(self, **changes):
        """Return the claims of a valid token; a change to None omits a claim."""
        now = int(time.time())  # noqa: TID251 - the issuer has its own clock
        good = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "repo:acme/voice:ref:refs/heads/main",
            "repository": "acme/voice",
            "ref": "refs/heads/main",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
        }
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(self, *, key=None, header=None, payload=None, **changes):
        key = key or self.keys[0]
        algorithm = "ES256" if isinstance(key, ECKey) else "RS256"
        headers = {"alg": algorithm, "typ": "JWT", "kid": key.kid} | (header or {})
        headers = {name: value for name, value in headers.items() if value is not None}
        content = json.dumps(self.claims(**changes)) if payload is None else payload
        return signed(headers, content, key)

    def document(self, name):
        if name == "keys":
            return {"keys": [key.as_dict(private=False) | {"use": "sig"} for key in self.keys]}
        return self.discovery


def signed(headers, content, key):
    """Sign any headers and content, as only an attacker or a broken issuer would."""
    registry = jws.JWSRegistry(algorithms=[headers["alg"]], strict_check_header=False)
    registry.check_header = lambda _header: None
    return jws.serialize_compact(headers, content, key, registry=registry)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._respond(self._healthy)

    def do_POST(self):
        self._respond(self._posted)

    def _respond(self, healthy):
        name, _, rest = self.path.lstrip("/").partition("/")
        path, _, query = rest.partition("?")
        issuer = self.server.issuers[name]
        issuer.asked.append(path)
        respond = getattr(self, f"_{issuer.ill}", healthy)
        respond(issuer, query if path == "authorize" else path.rpartition("/")[2])

    def _healthy(self, issuer, name):
        if self.path.partition("?")[0].endswith("/authorize"):
            self._send(200, issuer.desk.page(name).encode(), **{"Content-Type": "text/html"})
        else:
            self._send(200, json.dumps(issuer.document(name)).encode())

    def _posted(self, issuer, name):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if name == "decide":
            form = dict(parse_qsl(body.decode()))
            allow = form["verdict"] == "allow"
            to = issuer.desk.decided(form["asked"], form.get("subject", ""), allow=allow)
            self._send(302, b"", Location=to)
        else:
            status, document = issuer.desk.redeemed(body, self.headers["Authorization"])
            self._send(status, json.dumps(document).encode())

    def _down(self, _issuer, _name):
        self.connection.close()

    def _failing(self, _issuer, _name):
        self._send(500, b"{}")

    def _garbage(self, _issuer, _name):
        self._send(200, b"<html>We are down for maintenance</html>")

    def _huge(self, issuer, name):
        document = issuer.document(name) | {"padding": "x" * (1 << 20)}
        self._send(200, json.dumps(document).encode())

    def _moved(self, issuer, name):
        self._send(302, b"", Location=f"{issuer.url.replace('/moved', '')}/{name}")

    def _slow(self, _issuer, _name):
        self.send_response(200)
        self.end_headers()
        for _ in range(60):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.2)

    def _send(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # some tests disconnect on purpose


@contextmanager
def issuing(*names, host="127.0.0.1"):
    """Serve issuers with these names; yield them in that order."""
    server = _Server(("127.0.0.1", 0), _Handler)
    base = f"http://{host}:{server.server_port}"
    server.issuers = {name: TestIssuer(f"{base}/{name}") for name in names}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield list(server.issuers.values())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
