"""Calls an API a few times with one token.

    export ISSUER=http://127.0.0.1:8080 CLIENT_ID=… CLIENT_SECRET=…
    SCOPE=invoices:read API_URL=http://127.0.0.1:3000/invoices python caller.py
"""

import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ResponseError
from urllib3.util import Retry


class Patience(Retry):
    """Waits as 429 and 503 ask, at most three times and at most a minute each."""

    def __init__(self, total=3, **kwargs):
        kwargs.setdefault("status_forcelist", (429, 503))
        kwargs.setdefault("allowed_methods", None)  # POST too: after either status the request was not processed
        kwargs.setdefault("raise_on_status", False)
        super().__init__(total, **kwargs)

    def get_retry_after(self, response):
        seconds = super().get_retry_after(response)
        if seconds is None:
            return None
        if seconds > 60:
            raise ResponseError(f"{response.status}: asked to wait {seconds:.0f} seconds")
        print(f"{response.status}: again in {seconds:.0f} seconds.")
        return longer(seconds)

    def get_backoff_time(self):
        """Without Retry-After: 1, 2, then 4 seconds."""
        return longer(2 ** (len(self.history) - 1)) if self.history else 0


def longer(seconds):
    """Adds up to a quarter, at random, because other replicas were told to wait as long."""
    return seconds * random.uniform(1, 1.25)


def renew_after(lifetime):
    """80 % of a token's life or, if that is sooner, 60 seconds before its end, but at least half of it. Up to a tenth of
    the life is taken off, at random, so that replicas do not renew together."""
    return max(min(0.8 * lifetime, lifetime - 60), 0.5 * lifetime) - lifetime * random.uniform(0, 0.1)


class ApiSession(OAuth2Session):
    """authlib keeps the token and sends it. This class adds what authlib lacks: it fetches the first token, renews a
    token before it expires (newer authlib has a leeway), does so on one thread at a time, and reacts to 401."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, grant_type="client_credentials", default_timeout=10, **kwargs)
        self.mount("http://", HTTPAdapter(max_retries=Patience()))
        self.mount("https://", HTTPAdapter(max_retries=Patience()))
        self._one_at_a_time = threading.Lock()
        self._renew_at = 0.0

    def request(self, method, url, withhold_token=False, auth=None, **kwargs):
        if withhold_token or auth is not None:  # the token request itself comes here too
            return super().request(method, url, withhold_token, auth, **kwargs)

        token = self._good_token()
        response = super().request(method, url, **kwargs)
        if response.status_code == 401:  # the token was revoked, or its key withdrawn: try once with a new one
            self._good_token(refused=token)
            response = super().request(method, url, **kwargs)
        return response

    def _good_token(self, refused=None):
        with self._one_at_a_time:
            if self.token is None or time.time() >= self._renew_at or self.token["access_token"] == refused:
                self._renew(needed=refused is not None)
            return self.token["access_token"]

    def _renew(self, needed):
        try:
            lifetime = self.fetch_token()["expires_in"]
        except (requests.RequestException, OAuthError, ValueError):
            # The renewal is early, so there is time to try again later.
            if needed or self.token is None or time.time() > self.token["expires_at"] - 10:
                raise
            self._renew_at = time.time() + 10
            return
        self._renew_at = time.time() + renew_after(lifetime)
        print(f"A token for {lifetime} seconds.")


def main():
    issuer = os.environ["ISSUER"]
    metadata = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()
    if metadata["issuer"] != issuer:
        sys.exit(f"The metadata of {issuer} is of {metadata['issuer']}")

    session = ApiSession(
        os.environ["CLIENT_ID"],
        os.environ["CLIENT_SECRET"],
        scope=os.environ["SCOPE"],
        token_endpoint=metadata["token_endpoint"],
    )
    calls = int(os.environ.get("CALLS", "3"))
    with ThreadPoolExecutor(calls if "--at-once" in sys.argv else 1) as threads:
        responses = list(threads.map(session.get, [os.environ["API_URL"]] * calls))
    for response in responses:
        print(response.status_code, response.text.strip())
    return 0 if all(response.ok for response in responses) else 1


if __name__ == "__main__":
    sys.exit(main())
