"""Authlib: prints a token."""

import json
import os

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT

method = os.environ["METHOD"]
options = {"token_endpoint_auth_method": method} if method else {}
credential = os.environ["CLIENT_SECRET"]
if method == "private_key_jwt":
    with open(os.environ["CLIENT_KEY"]) as file:
        credential = json.load(file)
with OAuth2Session(os.environ["CLIENT_ID"], credential, scope=os.environ["SCOPE"], **options) as session:
    if method == "private_key_jwt":
        # The aud is the address of the token endpoint, unless this parameter is something else: the issuer. Not by
        # claims={"aud": ...}: Authlib keeps its jti there, and the second request would repeat it.
        audience = os.environ["AUD"] or None
        session.register_client_auth_method(PrivateKeyJWT(token_endpoint=audience, alg=credential["alg"]))
    print(session.fetch_token(os.environ["ISSUER"] + "/token", grant_type="client_credentials")["access_token"])
