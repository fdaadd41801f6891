"""Authlib: prints a token."""

import os

from authlib.integrations.requests_client import OAuth2Session

method = os.environ["METHOD"]
options = {"token_endpoint_auth_method": method} if method else {}
client = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
with OAuth2Session(*client, scope=os.environ["SCOPE"], **options) as session:
    print(session.fetch_token(os.environ["ISSUER"] + "/token", grant_type="client_credentials")["access_token"])
