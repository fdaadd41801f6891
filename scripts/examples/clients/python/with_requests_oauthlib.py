"""requests-oauthlib: prints a token."""

import os

from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

client_id, method = os.environ["CLIENT_ID"], os.environ["METHOD"]
session = OAuth2Session(client=BackendApplicationClient(client_id, scope=os.environ["SCOPE"].split()))
token = session.fetch_token(
    os.environ["ISSUER"] + "/token",
    client_id=client_id,
    client_secret=os.environ["CLIENT_SECRET"],
    include_client_id=True if method == "client_secret_post" else None,  # None is the default, and means Basic
)
print(token["access_token"])
