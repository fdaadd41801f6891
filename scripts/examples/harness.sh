# shellcheck shell=bash
# Sourced by scripts/examples/check and scripts/examples/clients/check, after scripts/prerequisites.sh: starts a
# TokenService of this checkout with a PostgreSQL of its own, and what else both need.

examples=$PWD/scripts/examples
server=TokenService/bin/Release/net10.0/TokenService.dll
audience=https://api.example.com
python=$PWD/.data/examples/venv/bin/python
java_options=()
failures=0
children=()

# Makes the folder work, which clean_up removes.
open_work() {
  umask 077
  work=$(mktemp -d)
  chmod 711 "$work" # Apache's children do not run as root and must reach the certificate
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

### Tools ###

install_token_service() {
  need_dotnet
  need_curl
  need_psql
  need_postgres
  need openssl has openssl
  local said
  said=$(dotnet build TokenService -c Release --nologo -v quiet --disable-build-servers 2>&1) || die "$said"
}

# install_python "DEBIAN'S PACKAGES" REQUIREMENTS...: Debian's versions are the required ones on Debian 12; pip fetches
# what is then still missing.
install_python() {
  local system=python3 requirements=("${@:2}")
  if [ -x /usr/bin/python3 ]; then system=/usr/bin/python3; fi
  if has apt-get; then (need "$1" has_packages "$1") || true; fi
  "$system" -c 'import sys; sys.exit(sys.version_info < (3, 11))' &&
    "$system" -m venv --system-site-packages .data/examples/venv &&
    "$python" -m pip install --quiet --disable-pip-version-check --retries 1 \
      "${requirements[@]/#/--requirement=}"
}

has_packages() {
  # shellcheck disable=SC2086 # a list
  dpkg --status $1 >/dev/null 2>&1
}

# Installs apache2-bin only, because the package apache2 would start a server.
install_apache() {
  has apt-get || has_apache || return
  (need 'apache2-bin libapache2-mod-auth-openidc' has_apache)
}

has_apache() { [ -x /usr/sbin/apache2 ] && [ -e /usr/lib/apache2/modules/mod_auth_openidc.so ]; }

# Draws all ports at once, so that no port is drawn twice.
draw_ports() {
  read -r -a ports < <("$python" - <<'END'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(30)]
print(*(s.getsockname()[1] for s in sockets))
END
  )
}

# Sets port to an unused one.
draw_port() {
  port=${ports[0]}
  ports=("${ports[@]:1}")
}

# TLS is needed because mod_auth_openidc fetches keys only over https. Each tool has its own variable for trusted
# certificates.
make_certificate() {
  certificate=$work/certificate.pem certificate_key=$work/certificate-key.pem
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2 -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 -out "$certificate" -keyout "$certificate_key" 2>/dev/null
  chmod 644 "$certificate"
  export CURL_CA_BUNDLE=$certificate SSL_CERT_FILE=$certificate REQUESTS_CA_BUNDLE=$certificate
  export NODE_EXTRA_CA_CERTS=$certificate CA_BUNDLE=$certificate
  export no_proxy='*'
  if has keytool; then # Java takes no certificate from the environment
    local said trusted=$work/trusted.p12
    said=$(keytool -importcert -noprompt -file "$certificate" -keystore "$trusted" -storepass changeit 2>&1) || die "$said"
    java_options+=(-Djavax.net.ssl.trustStore="$trusted" -Djavax.net.ssl.trustStorePassword=changeit)
  fi
}

### TokenService ###

start_token_service() {
  mkfifo "$work/lifeline" "$work/connection"
  scripts/postgres --throwaway <"$work/lifeline" >"$work/connection" &
  postgres=$!
  exec 9>"$work/lifeline" # scripts/postgres runs for as long as this is open
  read -r database <"$work/connection" || exit 1
  export ConnectionStrings__TokenService=$database
  export PGHOST PGPORT PGUSER PGDATABASE
  IFS='=;' read -r _ PGHOST _ PGPORT _ PGUSER _ PGDATABASE <<<"$database"

  draw_port
  issuer=https://127.0.0.1:$port
  export TOKEN_SERVICE="dotnet $server" Issuer=$issuer ASPNETCORE_URLS=$issuer Keys__SealingKeys__check
  export Kestrel__Certificates__Default__Path=$certificate Kestrel__Certificates__Default__KeyPath=$certificate_key
  Keys__SealingKeys__check=$(openssl rand -base64 32)
  dotnet "$server" migrate 9>&- >"$work/migrate.log" 2>&1 || die "$(cat "$work/migrate.log")"
  dotnet "$server" 9>&- >"$work/events" 2>"$work/token-service.log" &
  token_service=$!
  wait_for "$issuer/healthz/ready" token-service
  # An API ends at once if it gets no list at its start, and a slow database may delay the first list.
  wait_for "$issuer/revoked-tokens" token-service --fail
}

stop_token_service() {
  kill "$token_service"
  wait "$token_service" || true
}

# make_client CLIENT RESOURCE SCOPES [METHODS [ARGUMENTS FOR PSQL]]: the secret is the one in $work/CLIENT.secret, if that
# exists, else a new one that is written there.
make_client() {
  local made secret=$work/$1.secret hashed=()
  if [ -e "$secret" ]; then
    made=$(dotnet "$server" secret hash <"$secret" 2>"$work/$1.warnings" 9>&-)
    hashed=(-v digest="$(sed -n 's/^digest=//p' <<<"$made")" -v secret_id="$(sed -n 's/^secret_id=//p' <<<"$made")")
  fi
  made=$(psql --no-psqlrc -v client_id="$1" -v name="$1" -v resource="$2" -v scopes="$3" \
    -v methods="${4-client_secret_basic}" "${hashed[@]}" "${@:5}" -f scripts/create-client.sql 9>&-) ||
    die "There is no client $1."
  [ -e "$secret" ] || sed -n 's/^client_secret=//p' <<<"$made" >"$secret"
}

# make_client_with_key CLIENT RESOURCE SCOPES [OPTIONS OF client-key new]: the private key is in $work/CLIENT.jwk.
make_client_with_key() {
  local made
  made=$(dotnet "$server" client-key new "${@:4}" "$work/$1.jwk" 2>"$work/$1.warnings" 9>&-) || die "There is no key for $1."
  make_client "$1" "$2" "$3" private_key_jwt -v public_jwk="$(sed -n 's/^public_jwk=//p' <<<"$made")"
}

# require_dpop CLIENT
require_dpop() {
  psql --no-psqlrc --quiet -v client_id="$1" -v constraint=dpop -f scripts/require-sender-constraint.sql 9>&- >/dev/null
}

# let_introspect CLIENT
let_introspect() {
  psql --no-psqlrc --quiet -v client_id="$1" -v resource="$audience" -f scripts/register-resource-server.sql \
    9>&- >/dev/null
}

### Tokens ###

# token CLIENT SCOPE
token() {
  as "$1" --data grant_type=client_credentials --data-urlencode "scope=$2" "$issuer/token" |
    sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p'
}

# as CLIENT CURL-ARGUMENTS...
as() {
  printf 'user = "%s:%s"\n' "$1" "$(cat "$work/$1.secret")" | curl --silent --fail-with-body --config - "${@:2}"
}

# Changes the first character of the signature.
tamper() { sed -e 's/\.A\([^.]*\)$/.B\1/' -e t -e 's/\.[^.]\([^.]*\)$/.A\1/'; }

### Servers ###

# Starts a pretender and sets address to its address.
start_pretender() {
  draw_port
  address=https://127.0.0.1:$port
  start "$1" "$python" "$examples/pretender.py" "$port" "$audience" "$certificate" "$certificate_key"
  wait_for "$address/tokens" "$1"
}

# start NAME COMMAND...: runs a command in the background until clean_up.
start() {
  local name=$1
  shift
  "$@" 9>&- >>"$work/$name.log" 2>&1 </dev/null &
  children+=($!)
}

# wait_for ADDRESS NAME [OPTIONS FOR CURL]
wait_for() {
  local deadline=$((SECONDS + 30))
  until curl --silent --max-time 2 --output /dev/null "${@:3}" "$1"; do
    [ $SECONDS -lt $deadline ] || die "$2 does not answer: $(tail -n 20 "$work/$2.log")"
    sleep 0.1
  done
}

fail() {
  echo "FAILED $1" >&2
  failures=$((failures + 1))
}

clean_up() {
  set +e
  [ ${#children[@]} = 0 ] || kill "${children[@]}" 2>/dev/null
  [ -z "${token_service-}" ] || kill "$token_service" 2>/dev/null
  # Closing the lifeline would not end it: bash keeps a copy while it runs a command with 9>&-.
  [ -z "${postgres-}" ] || kill "$postgres" 2>/dev/null
  wait
  rm -rf "$work"
}
