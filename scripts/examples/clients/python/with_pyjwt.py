"""PyJWT: for each token on standard input, prints "accepted" or "refused" and why."""

import os
import sys

import jwt

issuer = os.environ["ISSUER"]
keys = jwt.PyJWKClient(issuer + "/.well-known/jwks.json")

for token in sys.stdin.read().split():
    try:
        key = keys.get_signing_key_from_jwt(token).key
        jwt.decode(token, key, ["ES256"], audience=os.environ["AUDIENCE"], issuer=issuer, options={"require": ["exp"]})
        print("accepted")
    except jwt.PyJWTError as error:
        print("refused", error)
