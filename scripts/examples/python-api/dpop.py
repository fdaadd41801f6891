"""DPoP proofs (RFC 9449): a caller shows, for one request, that it has the private half of the key that its token is bound
to. Neither PyJWT nor Authlib nor joserfc verifies them for an API, so this file does, with PyJWT for the signature."""

import hashlib
import json
import threading
import time
from base64 import urlsafe_b64encode
from urllib.parse import urldefrag

import jwt

ALGORITHMS = ["ES256", "ES384", "PS256"]
MAX_AGE = 60  # seconds after its iat
CLOCK_TOLERANCE = 30  # seconds
# RFC 7638 §3.2. A JWK may have other members, such as kid.
MEMBERS = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}
MIN_RSA_BITS = 2048


class BadProof(Exception):
    """What is wrong with a proof, for the API's log."""


def verify_proof(proofs, method, address, token, cnf):
    """RFC 9449 §4.3. The address is the API's own, without a query. The token was verified, and has this cnf."""
    if len(proofs) != 1:
        raise BadProof("There must be one proof.")
    try:
        claims, thumbprint = read(proofs[0])
        age = time.time() - float(claims["iat"])
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadProof("The proof cannot be verified.") from error

    if not isinstance(cnf, dict) or cnf.get("jkt") != thumbprint:
        raise BadProof("The token is bound to another key.")
    if claims["ath"] != sha256(token):
        raise BadProof("The proof is for another token.")
    if claims["htm"] != method or urldefrag(str(claims["htu"])).url.split("?")[0] != address:
        raise BadProof("The proof is for another request.")
    if not -CLOCK_TOLERANCE <= age <= MAX_AGE + CLOCK_TOLERANCE:
        raise BadProof("The proof is too old, or of the future.")
    used_proofs.use(f"{thumbprint} {claims['jti']}")


def read(proof):
    """Returns the claims of a proof, and the thumbprint of the key that signed it."""
    header = jwt.get_unverified_header(proof)
    if str(header.get("typ")).lower() != "dpop+jwt" or "crit" in header:
        raise jwt.InvalidTokenError("not of type dpop+jwt, or with critical extensions")
    jwk = header["jwk"]
    # Only the public members are read, because PyJWT would also accept a private key here.
    public = {name: jwk[name] for name in MEMBERS[jwk["kty"]]}
    if "d" in jwk:
        raise jwt.InvalidTokenError("a private key")
    key = jwt.PyJWK(public).key
    if jwk["kty"] == "RSA" and key.key_size < MIN_RSA_BITS:
        raise jwt.InvalidTokenError("a short key")
    claims = jwt.decode(
        proof,
        key,
        algorithms=ALGORITHMS,
        leeway=CLOCK_TOLERANCE,
        options={"require": ["iat", "jti", "htm", "htu", "ath"]},
    )
    return claims, sha256(json.dumps(public, separators=(",", ":"), sort_keys=True))


def sha256(text):
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


class UsedProofs:
    """The proofs of the last two to four minutes, which is longer than one is accepted. Each process remembers its own,
    so a proof works once in each. Where that is too often, keep them in a store that all processes share."""

    def __init__(self):
        self._lock = threading.Lock()
        self._younger, self._older = set(), set()
        self._since = time.monotonic()

    def use(self, proof):
        with self._lock:
            if time.monotonic() - self._since > MAX_AGE + 2 * CLOCK_TOLERANCE:
                self._younger, self._older, self._since = set(), self._younger, time.monotonic()
            if proof in self._younger or proof in self._older:
                raise BadProof("The proof was used before.")
            self._younger.add(proof)


used_proofs = UsedProofs()
