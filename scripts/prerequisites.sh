# shellcheck shell=bash
# Sourced by scripts/run and scripts/test, from the top of the repository: what the machine must have, and how it gets it.
# may_install=no forbids installing.

may_install=yes

need_dotnet() {
  local version
  version=$(dotnet --version) || version=none # fails, too, when no SDK is what global.json asks for, and says so
  case $version in
    10.0.*) ;;
    *) die "TokenService needs the .NET SDK 10.0 (here: $version). It is at https://dotnet.microsoft.com/download/dotnet/10.0" ;;
  esac
}

need_sodium() { need libsodium has_sodium; }
need_postgres() { need postgresql has_postgres; }
need_psql() { need postgresql-client has psql; }
need_curl() { need curl has curl; }

has_sodium() {
  case $(ldconfig -p 2>/dev/null) in *libsodium.so*) return ;; esac
  local folder
  for folder in /lib /lib/* /lib64 /usr/lib /usr/lib/* /usr/lib64 /usr/local/lib /opt/homebrew/lib; do
    if compgen -G "$folder/libsodium.so*" || compgen -G "$folder/libsodium*.dylib"; then return; fi
  done >/dev/null
  return 1
}

has_postgres() { scripts/postgres --which >/dev/null 2>&1; }

has() { type -P "$1" >/dev/null; }

# need PACKAGE CHECK...: sees to it that the check succeeds, by installing the package or saying how.
need() {
  local package=$1 manager command
  shift
  if "$@"; then return; fi

  manager=$(package_manager) || die "TokenService needs $package, and this machine has no package manager we know."
  command=$(install_command "$manager" "$package")
  if [ "$manager" != brew ] && [ "$(id -u)" != 0 ]; then
    command="sudo sh -c '$command'"
    may_install=no
  fi
  [ "$may_install" = yes ] || die "TokenService needs $package. To install it: $command"

  echo "Installing $package: $command" >&2
  sh -c "$command" </dev/null >&2 || die "That did not install $package."
  "$@" || die "$package is installed, but not as TokenService needs it."
}

package_manager() {
  local manager
  for manager in apt-get apk dnf brew; do
    if has "$manager"; then echo "$manager" && return; fi
  done
  return 1
}

install_command() {
  case $1:$2 in
    apt-get:libsodium) apt_install libsodium23 ;;
    apt-get:postgresql)
      # The package would otherwise set up a cluster and start a server, which nobody asked for.
      local folder=/etc/postgresql-common/createcluster.d
      echo "mkdir -p $folder && echo create_main_cluster = false >$folder/no-main-cluster.conf && $(apt_install postgresql)"
      ;;
    apt-get:*) apt_install "$2" ;;
    apk:*) echo "apk add $2" ;;
    dnf:postgresql) echo 'dnf install --assumeyes postgresql-server' ;;
    dnf:postgresql-client) echo 'dnf install --assumeyes postgresql' ;;
    dnf:*) echo "dnf install --assumeyes $2" ;;
    brew:postgresql) echo 'brew install postgresql@17' ;;
    brew:postgresql-client) echo 'brew install libpq && brew link --force libpq' ;;
    brew:*) echo "brew install $2" ;;
  esac
}

apt_install() {
  echo "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $1"
}

die() {
  echo "$1" >&2
  exit 1
}
