"""For scripts/examples/check: pretends to be an issuer that signs bad tokens, and an API that sometimes refuses.

pretender.py PORT AUDIENCE CERTIFICATE KEY

GET /tokens             a line for each kind of token: the status that an API must answer with, and the kind
GET /tokens/KIND        a token of that kind; if the status is not 200, it is wrong in one way
GET /proofs             a line for each kind of DPoP proof: the status that an API must answer with, and the kind
GET /proofs/KIND?URL    a token that is bound to a key, and a proof of that kind for GET URL, on two lines
POST /introspect        RFC 7662, for "apache-api" with any secret
GET /lists              a line for each list of revoked tokens, in the order in which an API gets them: the status that
                        the API must then answer the good token with, and the kind of list
GET /lists/KIND         publishes the list of that kind
GET /revoked-tokens     the published list
GET /fetched            how often the list has been fetched since it was published
POST /token, GET /api   refuse some requests, and each assertion or DPoP proof that was sent before; demand a nonce in a
                        proof
GET /story              the answers of /token and /api so far
"""

import hashlib
import hmac
import json
import os
import ssl
import sys
import time
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PORT, AUDIENCE, CERTIFICATE, CERTIFICATE_KEY = int(sys.argv[1]), *sys.argv[2:]
ISSUER = f"https://127.0.0.1:{PORT}"
LIST_URI = f"{ISSUER}/revoked-tokens"


def base64url(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


# --- the issuer ---

KEY, STRANGERS_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
# The other algorithms of TokenService. The kid is the algorithm.
OTHER_KEYS = {
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "RS256": rsa.generate_private_key(65537, 2048),
    "PS256": rsa.generate_private_key(65537, 2048),
}


def jwk(key, kid, algorithm="ES256"):
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        public = {"kty": "RSA", "n": integer(numbers.n, 256), "e": integer(numbers.e, 3)}
    else:
        curve, size = ("P-256", 32) if key.key_size == 256 else ("P-384", 48)
        public = {"kty": "EC", "crv": curve, "x": integer(numbers.x, size), "y": integer(numbers.y, size)}
    return {**public, "kid": kid, "alg": algorithm, "use": "sig"}


def integer(number, size):
    return base64url(number.to_bytes(size, "big"))


def jwks():
    return {"keys": [jwk(KEY, "1")] + [jwk(key, algorithm, algorithm) for algorithm, key in OTHER_KEYS.items()]}


def token(key=KEY, algorithm="ES256", header=None, **claims):
    """A good token, with the passed changes. None leaves a member out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "caller",
        "client_id": "caller",
        "scope": "invoices:read",
        "jti": "1",
    }
    payload = {**good, "iat": now, "exp": now + 600, **claims}
    headers = {"typ": "at+jwt", "kid": "1", **(header or {})}
    return jwt.encode({k: v for k, v in payload.items() if v is not None}, key, algorithm, headers)


def signed_with(algorithm):
    return token(key=OTHER_KEYS[algorithm], algorithm=algorithm, header={"kid": algorithm})


def signed_with_the_public_key():
    signed = base64url(b'{"alg":"HS256","typ":"at+jwt","kid":"1"}') + "." + token().split(".")[1]
    return signed + "." + base64url(hmac.digest(PUBLIC_PEM, signed.encode(), "sha256"))


def with_another_algorithm():
    header, payload, _ = token().split(".")
    signed = base64url(b'{"alg":"ES384","typ":"at+jwt","kid":"1"}') + "." + payload
    signature = jwt.get_algorithm_by_name("ES256").sign(signed.encode(), KEY)
    return signed + "." + base64url(signature)


def tampered():
    header, payload, signature = token().split(".")
    richer = urlsafe_b64decode(payload + "==").replace(b"invoices:read", b"invoices:all!")
    return f"{header}.{base64url(richer)}.{signature}"


def introspect(token):
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key, algorithm = (OTHER_KEYS[kid].public_key(), kid) if kid in OTHER_KEYS else (PUBLIC_PEM, "ES256")
        claims = jwt.decode(token, key, [algorithm], audience=AUDIENCE, issuer=ISSUER, options={"require": ["exp"]})
        active = jwt.get_unverified_header(token).get("typ") == "at+jwt"
    except (jwt.PyJWTError, ValueError, RecursionError):
        active = False
    token_type = "DPoP" if active and "cnf" in claims else "Bearer"
    return {"active": True, "token_type": token_type, **claims} if active else {"active": False}


KINDS = {
    "good": (200, token),
    "signed-with-ES384": (200, lambda: signed_with("ES384")),
    "signed-with-RS256": (200, lambda: signed_with("RS256")),
    "signed-with-PS256": (200, lambda: signed_with("PS256")),
    "of-another-scope": (403, lambda: token(scope="invoices:write")),
    "of-a-longer-scope": (403, lambda: token(scope="invoices:read-all my-invoices:read")),
    "of-no-scope": (403, lambda: token(scope=None)),
    "whose-scope-is-a-number": (403, lambda: token(scope=1)),
    "for-another-audience": (401, lambda: token(aud="https://other.example.com")),
    "for-no-audience": (401, lambda: token(aud=None)),
    "of-another-issuer": (401, lambda: token(iss="https://other.example.com")),
    "of-another-typ": (401, lambda: token(header={"typ": "JWT"})),
    "of-no-typ": (401, lambda: token(header={"typ": None})),
    "expired": (401, lambda: token(exp=int(time.time()) - 120)),
    "that-never-expires": (401, lambda: token(exp=None)),
    "not-yet-valid": (401, lambda: token(nbf=int(time.time()) + 120)),
    "bound-to-a-key": (401, lambda: token(cnf={"jkt": thumbprint(KEY_OF_CALLER)})),
    "bound-to-a-certificate": (401, lambda: token(cnf={"x5t#S256": sha256(b"certificate")})),
    "of-no-client": (401, lambda: token(client_id=None)),
    "unsigned": (401, lambda: token(key=None, algorithm="none")),
    "signed-with-the-public-key": (401, signed_with_the_public_key),
    "that-names-another-algorithm": (401, with_another_algorithm),
    "signed-by-a-stranger": (401, lambda: token(key=STRANGERS_KEY)),
    "of-an-unknown-key": (401, lambda: token(key=STRANGERS_KEY, header={"kid": "2"})),
    "that-brings-its-keys": (
        401,
        lambda: token(key=STRANGERS_KEY, header={"kid": "2", "jku": f"{ISSUER}/strangers.json"}),
    ),
    "that-brings-its-key": (401, lambda: token(key=STRANGERS_KEY, header={"jwk": jwk(STRANGERS_KEY, "1")})),
    "tampered": (401, tampered),
    "deeply-nested": (401, lambda: base64url(b'{"alg":' + b"[" * 5000) + ".e30.AA"),
    "rubbish": (401, lambda: "x" * 7000),
    "of-dots": (401, lambda: "...."),
}


# --- DPoP (RFC 9449) ---

KEY_OF_CALLER, KEY_OF_THIEF = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def sha256(data):
    return base64url(hashlib.sha256(data).digest())


def public_members(key):
    return {name: value for name, value in jwk(key, "").items() if name not in ("kid", "alg", "use")}


def thumbprint(key):
    """RFC 7638."""
    return sha256(json.dumps(public_members(key), separators=(",", ":"), sort_keys=True).encode())


def bound(url, key=KEY_OF_CALLER, signer=None, algorithm="ES256", header=None, token_claims=None, **claims):
    """A bound token and a good proof for it, with the passed changes. None leaves a member out."""
    access_token = token(**{"cnf": {"jkt": thumbprint(key)}, **(token_claims or {})})
    good = {"jti": base64url(os.urandom(12)), "htm": "GET", "htu": url, "ath": sha256(access_token.encode())}
    payload = {**good, "iat": int(time.time()), **claims}
    headers = {"typ": "dpop+jwt", "jwk": public_members(key), **(header or {})}
    payload = {name: value for name, value in payload.items() if value is not None}
    return access_token, jwt.encode(payload, key if signer is None else signer, algorithm, headers)


def remembered(url):
    last_pair[:] = bound(url)
    return last_pair


def private_jwk(key):
    return {**public_members(key), "d": integer(key.private_numbers().private_value, 32)}


last_pair = []

PROOFS = {
    "good": (200, remembered),
    "used-before": (401, lambda url: last_pair),
    "with-a-query": (200, lambda url: bound(url, htu=f"{url}?page=2#top")),
    "signed-with-ES384": (200, lambda url: bound(url, OTHER_KEYS["ES384"], algorithm="ES384")),
    "signed-with-PS256": (200, lambda url: bound(url, OTHER_KEYS["PS256"], algorithm="PS256")),
    "of-another-scope": (403, lambda url: bound(url, token_claims={"scope": "invoices:write"})),
    "none": (401, lambda url: (bound(url)[0], "")),
    "rubbish": (401, lambda url: (bound(url)[0], "x" * 7000)),
    "two": (401, lambda url: (bound(url)[0], ", ".join((bound(url)[1], bound(url)[1])))),
    "for-an-expired-token": (401, lambda url: bound(url, token_claims={"exp": int(time.time()) - 120})),
    "for-a-bearer-token": (401, lambda url: bound(url, token_claims={"cnf": None})),
    "for-a-token-bound-to-a-certificate": (
        401,
        lambda url: bound(url, token_claims={"cnf": {"x5t#S256": sha256(b"certificate")}}),
    ),
    "of-a-thief": (401, lambda url: bound(url, KEY_OF_THIEF, token_claims={"cnf": {"jkt": thumbprint(KEY_OF_CALLER)}})),
    "signed-by-a-thief": (401, lambda url: bound(url, signer=KEY_OF_THIEF)),
    "with-a-private-key": (401, lambda url: bound(url, header={"jwk": private_jwk(KEY_OF_CALLER)})),
    "without-a-key": (401, lambda url: bound(url, header={"jwk": None})),
    "of-another-typ": (401, lambda url: bound(url, header={"typ": "JWT"})),
    "unsigned": (401, lambda url: bound(url, signer="", algorithm="none")),
    "signed-with-RS256": (401, lambda url: bound(url, OTHER_KEYS["RS256"], algorithm="RS256")),
    "for-another-token": (401, lambda url: bound(url, ath=sha256(b"another"))),
    "for-no-token": (401, lambda url: bound(url, ath=None)),
    "for-another-method": (401, lambda url: bound(url, htm="POST")),
    "for-another-path": (401, lambda url: bound(url, htu=url + "/1")),
    "for-another-host": (401, lambda url: bound(url, htu="https://api.example.com/invoices")),
    "for-no-address": (401, lambda url: bound(url, htu=None)),
    "of-two-minutes-ago": (401, lambda url: bound(url, iat=int(time.time()) - 120)),
    "of-two-minutes-ahead": (401, lambda url: bound(url, iat=int(time.time()) + 120)),
    "of-no-time": (401, lambda url: bound(url, iat=None)),
    "without-jti": (401, lambda url: bound(url, jti=None)),
}

# --- lists of revoked tokens ---


def longest_list(token_ids):
    """A list of as many characters as the server ever sends."""
    clients = {f"{client:0128}": int(time.time()) - 3600 for client in range(422)}
    return revoked_tokens(revoked=[f"{token:022}" for token in range(2400)] + token_ids, not_before=clients)


def revoked_tokens(key=KEY, typ="revoked-tokens+jwt", **claims):
    """An empty list, with the passed changes."""
    now = int(time.time())
    empty = {"not_before": {}, "revoked": []}
    payload = {"iss": ISSUER, "aud": LIST_URI, "iat": now, "exp": now + 300, **empty, **claims}
    headers = {"typ": typ, "kid": "1"}
    return jwt.encode({k: v for k, v in payload.items() if v is not None}, key, "ES256", headers)


LISTS = {
    "empty": (200, revoked_tokens),
    "of-another-token": (200, lambda: revoked_tokens(revoked=["2"])),
    "of-another-client": (200, lambda: revoked_tokens(not_before={"stranger": int(time.time()) + 60})),
    "of-the-clients-older-tokens": (200, lambda: revoked_tokens(not_before={"caller": int(time.time()) - 3600})),
    "of-the-clients-tokens": (401, lambda: revoked_tokens(not_before={"caller": int(time.time()) + 60})),
    "empty-again": (200, revoked_tokens),
    "of-every-clients-older-tokens": (200, lambda: revoked_tokens(not_before={"*": int(time.time()) - 3600})),
    "of-every-clients-tokens": (401, lambda: revoked_tokens(not_before={"*": int(time.time()) + 60})),
    "as-long-as-can-be": (200, lambda: longest_list(["another"])),
    "as-long-as-can-be-with-the-token": (401, lambda: longest_list(["1"])),
    "empty-after-that": (200, revoked_tokens),
    "of-the-token": (401, lambda: revoked_tokens(revoked=["0", "1"])),
    # An API must not accept these empty lists, so it goes on using the list before.
    "none": (401, lambda: None),
    "rubbish": (401, lambda: "{}"),
    "signed-by-a-stranger": (401, lambda: revoked_tokens(key=STRANGERS_KEY)),
    "of-another-typ": (401, lambda: revoked_tokens(typ="at+jwt")),
    "of-another-issuer": (401, lambda: revoked_tokens(iss="https://other.example.com")),
    "of-another-audience": (401, lambda: revoked_tokens(aud=AUDIENCE)),
    "of-no-audience": (401, lambda: revoked_tokens(aud=None)),
    "expired": (401, lambda: revoked_tokens(exp=int(time.time()) - 120)),
    "that-never-expires": (401, lambda: revoked_tokens(exp=None)),
    "without-tokens": (401, lambda: revoked_tokens(revoked=None)),
    # The API uses this list until it expires, and no longer.
    "that-expires-soon": (200, lambda: revoked_tokens(exp=int(time.time()) + 4)),
    "none-for-long": (503, lambda: None),
    "empty-at-last": (200, revoked_tokens),
}

published, fetched = "empty", 0


def publish(kind):
    global published, fetched
    published, fetched = kind, 0


def fetch():
    global fetched
    fetched += 1
    return LISTS[published][1]()


# --- the API and the token endpoint: their answers to the first request, the second, ... and all further ones ---

ANSWERS = {"/token": [503, 200], "/api": [200, 429, 200, 401, 200, 401, 401, 200]}
RETRY_AFTER = 1  # seconds that 429 and 503 ask the caller to wait

story = []
used = set()
not_before = 0.0


def nonce_demanded(path, proof):
    """RFC 9449 §8 and §9: the token endpoint and the API each have a nonce. A caller without DPoP sends no proof. A caller
    keeps one nonce for each origin, and both paths are of one, so it is told again after each change of path."""
    if not proof or jwt.decode(proof, options={"verify_signature": False}).get("nonce") == path:
        return False
    story.append(f"{path} nonce")
    return True


def answer_in_turn(path, *once):
    """Takes what may be sent only once: an assertion and a DPoP proof. Callers with a secret send neither."""
    global not_before
    if any(one in used for one in once if one):
        story.append(f"{path} repeats an assertion or a proof")
    used.update(once)
    if time.time() < not_before:
        story.append(f"{path} too early")
        return 503
    met = sum(line.startswith(path) and not line.endswith(" nonce") for line in story)
    status = ANSWERS[path][min(met, len(ANSWERS[path]) - 1)]
    not_before = time.time() + RETRY_AFTER if status in (429, 503) else 0.0
    story.append(f"{path} {status}")
    return status


# --- HTTP ---


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/tokens/")
        if self.path == "/.well-known/openid-configuration" or self.path == "/.well-known/oauth-authorization-server":
            endpoints = {
                "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
                "token_endpoint": f"{ISSUER}/token",
                "revoked_tokens_uri": LIST_URI,
                "id_token_signing_alg_values_supported": ["ES256"],
            }
            self.answer(200, json.dumps({"issuer": ISSUER, **endpoints, "response_types_supported": []}))
        elif self.path == "/.well-known/jwks.json":
            self.answer(200, json.dumps(jwks()))
        elif self.path == "/strangers.json":
            story.append("looked for keys where a token said")
            self.answer(200, json.dumps({"keys": [jwk(STRANGERS_KEY, "2")]}))
        elif self.path == "/tokens":
            self.answer(200, "".join(f"{status} {kind}\n" for kind, (status, _) in KINDS.items()))
        elif self.path == "/lists":
            self.answer(200, "".join(f"{status} {kind}\n" for kind, (status, _) in LISTS.items()))
        elif self.path.startswith("/lists/"):
            publish(self.path.removeprefix("/lists/"))
            self.answer(200, "")
        elif self.path == "/revoked-tokens":
            text = fetch()
            self.answer(500 if text is None else 200, text or "")
        elif self.path == "/fetched":
            self.answer(200, str(fetched))
        elif name in KINDS:
            self.answer(200, KINDS[name][1]())
        elif self.path == "/proofs":
            self.answer(200, "".join(f"{status} {kind}\n" for kind, (status, _) in PROOFS.items()))
        elif self.path.startswith("/proofs/"):
            kind, _, url = self.path.removeprefix("/proofs/").partition("?")
            self.answer(200, "\n".join(PROOFS[kind][1](url)) + "\n")
        elif self.path == "/api":
            proof = self.headers.get("DPoP")
            if nonce_demanded("/api", proof):
                self.answer(401, "{}", {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"', "DPoP-Nonce": "/api"})
            else:
                self.answer(answer_in_turn("/api", proof), "{}")
        elif self.path == "/story":
            self.answer(200, "\n".join(story))
        else:
            self.answer(404, "")

    def do_POST(self):
        headers = None
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        if self.path == "/introspect":
            caller = b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode().split(":")[0]
            status, answer = (200, introspect(form["token"][0])) if caller == "apache-api" else (401, {})
        elif nonce_demanded("/token", self.headers.get("DPoP")):
            status, answer, headers = 400, {"error": "use_dpop_nonce"}, {"DPoP-Nonce": "/token"}
        else:
            proof = self.headers.get("DPoP")
            status = answer_in_turn("/token", *form.get("client_assertion", []), proof)
            token_type = "DPoP" if proof else "Bearer"
            granted = {"access_token": f"t{len(story)}", "token_type": token_type, "expires_in": 600}
            answer = granted if status == 200 else {"error": "temporarily_unavailable"}
        self.answer(status, json.dumps(answer), headers)

    def answer(self, status, body, headers=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status in (429, 503):
            self.send_header("Retry-After", str(RETRY_AFTER))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(CERTIFICATE, CERTIFICATE_KEY)
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
