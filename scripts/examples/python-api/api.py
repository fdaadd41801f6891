"""An API that takes TokenService's access tokens and answers as RFC 6750 §3 says.

    ISSUER=http://127.0.0.1:8080 AUDIENCE=https://api.example.com flask --app api run
"""

import json
import os
import socket
import time
from functools import wraps
from urllib.request import urlopen

import jwt
from flask import Flask, g, jsonify, request

ISSUER = os.environ["ISSUER"]
AUDIENCE = os.environ["AUDIENCE"]
ALGORITHMS = ["ES256", "ES384", "RS256", "PS256"]
REQUIRED_CLAIMS = ["exp", "iat", "iss", "aud", "jti", "sub", "client_id"]
CLOCK_TOLERANCE = 30  # seconds

# PyJWT before 2.7 waits for keys without end.
socket.setdefaulttimeout(5)


class KeysAway(Exception):
    """There are no keys to verify with, which is not the caller's fault."""


class Keys(jwt.PyJWKClient):
    """PyJWKClient keeps the keys for five minutes, and fetches them again for a key it does not know, such as one that
    has just come into use. Since anybody can make up a key id, here it does so at most every 30 seconds."""

    _fetched = None
    _fetch_again = 0.0

    def fetch_data(self):
        if time.monotonic() >= self._fetch_again:
            try:
                self._fetched = super().fetch_data()
            except (jwt.PyJWKClientError, OSError, ValueError) as error:
                raise KeysAway from error
            self._fetch_again = time.monotonic() + 30
        return self._fetched


def discover(issuer):
    with urlopen(f"{issuer}/.well-known/openid-configuration") as response:
        metadata = json.load(response)
    if metadata["issuer"] != issuer:
        raise ValueError(f"The metadata of {issuer} is of {metadata['issuer']}")
    return metadata


app = Flask(__name__)
# From the issuer's own metadata, never from an address inside a token.
keys = Keys(discover(ISSUER)["jwks_uri"])


def verify(token):
    """The claims of a good access token."""
    # RFC 9068 §4: an access token, and no other JWT of this issuer.
    if str(jwt.get_unverified_header(token).get("typ")).lower() not in ("at+jwt", "application/at+jwt"):
        raise jwt.InvalidTokenError("not an access token")
    return jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token).key,
        algorithms=ALGORITHMS,
        issuer=ISSUER,
        audience=AUDIENCE,
        leeway=CLOCK_TOLERANCE,
        options={"require": REQUIRED_CLAIMS},
    )


def refuse(status, challenge):
    return "", status, {"WWW-Authenticate": challenge}


def requires_scope(scope):
    def decorate(view):
        @wraps(view)
        def guarded(*args, **kwargs):
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                return refuse(401, "Bearer")  # no credential: a challenge, and no error
            try:
                g.token = verify(token.strip())
            except KeysAway:
                app.logger.exception("No keys to verify with")
                return "", 503, {"Retry-After": "5"}
            # RecursionError: JSON so deeply nested that Python gives up.
            except (jwt.PyJWTError, ValueError, RecursionError):
                return refuse(401, 'Bearer error="invalid_token"')
            if scope not in str(g.token.get("scope")).split():
                return refuse(403, f'Bearer error="insufficient_scope", scope="{scope}"')
            return view(*args, **kwargs)

        return guarded

    return decorate


@app.get("/invoices")
@requires_scope("invoices:read")
def list_invoices():
    return jsonify(invoices=[], client=g.token["client_id"])


@app.post("/invoices")
@requires_scope("invoices:write")
def create_invoice():
    return jsonify(created=True, client=g.token["client_id"])
