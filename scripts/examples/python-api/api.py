"""An API that accepts TokenService's access tokens and answers as RFC 6750 §3 and RFC 9449 §7 say.

    ISSUER=http://127.0.0.1:8080 AUDIENCE=https://api.example.com flask --app api run
"""

import json
import os
import socket
import threading
import time
from functools import wraps
from urllib.request import urlopen

import jwt
from flask import Flask, g, jsonify, request

import dpop

ISSUER = os.environ["ISSUER"]
AUDIENCE = os.environ["AUDIENCE"]
ALGORITHMS = ["ES256", "ES384", "RS256", "PS256"]
REQUIRED_CLAIMS = ["exp", "iat", "iss", "aud", "jti", "sub", "client_id"]
CLOCK_TOLERANCE = 30  # seconds
LIST_SECONDS = float(os.environ.get("LIST_SECONDS", "60"))
# The address that callers use, which a proof names. Behind a proxy it is the proxy's.
PUBLIC_URL = os.environ.get("PUBLIC_URL", "http://127.0.0.1:3000")
ALGS = f'algs="{" ".join(dpop.ALGORITHMS)}"'
MAX_LIST_BYTES = 250 * 1024  # the issuer's list never has more than 165,000 characters

# PyJWT before 2.7 has no timeout when it fetches keys.
socket.setdefaulttimeout(5)


class IssuerUnavailable(Exception):
    """There are no keys or there is no list to verify with, which is not the caller's fault."""


class Keys(jwt.PyJWKClient):
    """PyJWKClient caches the keys for five minutes, and fetches them again for an unknown key, such as one that has
    just come into use. This class limits that to once in 30 seconds, since anybody can invent a key id."""

    _fetched = None
    _fetch_again = 0.0

    def fetch_data(self):
        if time.monotonic() >= self._fetch_again:
            try:
                self._fetched = super().fetch_data()
            except (jwt.PyJWKClientError, OSError, ValueError) as error:
                raise IssuerUnavailable from error
            self._fetch_again = time.monotonic() + 30
        return self._fetched


class RevokedTokens:
    """Revoked tokens, by a list that the issuer signs, fetched when a token comes and the last list is a minute old.
    When no new list can be fetched, the last one is used until it expires, five minutes after it was signed. After that
    no token is accepted, because the API cannot know which were revoked."""

    def __init__(self, address):
        self._address = address
        self._list = {"exp": 0}
        self._fetch_again = 0.0
        self._fetching = threading.Lock()

    def __contains__(self, token):
        with self._fetching:
            if time.monotonic() >= self._fetch_again:
                self._fetch()
            revoked = self._list
        if time.time() >= revoked["exp"]:
            raise IssuerUnavailable("The list of revoked tokens has expired.")
        # not_before: all tokens that a client got up to this time are revoked, for example because it was disabled. "*"
        # stands for every client.
        not_before = revoked["not_before"]
        return token["jti"] in revoked["revoked"] or any(
            token["iat"] <= not_before.get(client, -1) for client in (token["client_id"], "*")
        )

    def _fetch(self):
        try:
            with urlopen(self._address) as response:
                text, required = response.read(MAX_LIST_BYTES).decode(), ["exp", "iss", "aud", "revoked", "not_before"]
            # The audience is the list's own address, since it is for every API.
            revoked = decode(text, "revoked-tokens+jwt", required, self._address)
            self._list = {**revoked, "revoked": set(revoked["revoked"])}
            self._fetch_again = time.monotonic() + LIST_SECONDS
        except (jwt.PyJWTError, IssuerUnavailable, OSError, ValueError):
            app.logger.exception("There is no new list of revoked tokens")
            self._fetch_again = time.monotonic() + min(LIST_SECONDS, 15)


def discover(issuer):
    with urlopen(f"{issuer}/.well-known/openid-configuration") as response:
        metadata = json.load(response)
    if metadata["issuer"] != issuer:
        raise ValueError(f"The metadata of {issuer} is of {metadata['issuer']}")
    return metadata


app = Flask(__name__)
# Keys come from the issuer's own metadata, never from an address inside a token.
metadata = discover(ISSUER)
keys = Keys(metadata["jwks_uri"])
revoked_tokens = RevokedTokens(metadata["revoked_tokens_uri"])


def decode(token, typ, required, audience):
    """Returns the claims of a JWT of this issuer, if it has this type and this audience."""
    if str(jwt.get_unverified_header(token).get("typ")).lower() not in (typ, f"application/{typ}"):
        raise jwt.InvalidTokenError(f"not of type {typ}")
    return jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token).key,
        algorithms=ALGORITHMS,
        issuer=ISSUER,
        audience=audience,
        leeway=CLOCK_TOLERANCE,
        options={"require": required},
    )


def verify(token):
    """Returns the claims of a good access token, RFC 9068 §4."""
    claims = decode(token, "at+jwt", REQUIRED_CLAIMS, AUDIENCE)
    # Without these two lines and RevokedTokens, a revoked token is good until it expires.
    if claims in revoked_tokens:
        raise jwt.InvalidTokenError("revoked")
    return claims


def refuse(status, *challenges):
    return "", status, [("WWW-Authenticate", challenge) for challenge in challenges]


def requires_scope(scope):
    def decorate(view):
        @wraps(view)
        def guarded(*args, **kwargs):
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            scheme, token = {"bearer": "Bearer", "dpop": "DPoP"}.get(scheme.lower()), token.strip()
            if scheme is None:
                return refuse(401, "Bearer", f"DPoP {ALGS}")  # no credential: challenges, and no error
            algs = f", {ALGS}" if scheme == "DPoP" else ""
            try:
                g.token = verify(token)
                # A token with cnf is bound to a key, and is no bearer token (RFC 9449 §7.2).
                if ("cnf" in g.token) != (scheme == "DPoP"):
                    raise jwt.InvalidTokenError(f"not for {scheme}")
                if scheme == "DPoP":
                    address, proofs = PUBLIC_URL + request.path, request.headers.getlist("DPoP")
                    dpop.verify_proof(proofs, request.method, address, token, g.token["cnf"])
            except IssuerUnavailable:
                app.logger.exception("Nothing to verify with")
                return "", 503, {"Retry-After": "5"}
            except dpop.BadProof as error:
                app.logger.info("%s", error)
                return refuse(401, f'DPoP error="invalid_dpop_proof"{algs}')
            # RecursionError: JSON so deeply nested that Python gives up.
            except (jwt.PyJWTError, ValueError, RecursionError):
                return refuse(401, f'{scheme} error="invalid_token"{algs}')
            if scope not in str(g.token.get("scope")).split():
                return refuse(403, f'{scheme} error="insufficient_scope", scope="{scope}"')
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
