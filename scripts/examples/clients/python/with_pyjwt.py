"""PyJWT: for each token on standard input, prints "accepted" or "refused" and why."""

import os
import sys

import jwt

issuer = os.environ["ISSUER"]
keys = jwt.PyJWKClient(issuer + "/.well-known/jwks.json")

for token in sys.stdin.read().split():
    try:
        key = keys.get_signing_key_from_jwt(token).key
        options = {"require": ["exp"]}
        claims = jwt.decode(token, key, ["ES256"], audience=os.environ["AUDIENCE"], issuer=issuer, options=options)
        if "cnf" in claims:  # bound to a key (RFC 9449), which PyJWT does not check
            raise jwt.InvalidTokenError("bound to a key")
        print("accepted")
    except jwt.PyJWTError as error:
        print("refused", error)
