# shellcheck shell=bash
# Sourced by scripts/run, scripts/test and others, from the top of the repository: checks what the machine needs and
# installs what is missing. may_install=no forbids installing.

may_install=yes

need_dotnet() {
  local version
  version=$(dotnet --version) || version=none # it also fails, with a message, when no SDK matches global.json
  case $version in
    10.0.*) ;;
    *)
      die "TokenService needs the .NET SDK 10.0 (here: $version). See https://dotnet.microsoft.com/download/dotnet/10.0"
      ;;
  esac
}

need_postgres() { need postgresql has_postgres; }
need_psql() { need postgresql-client has psql; }
need_curl() { need curl has curl; }
need_linker() { need clang has_linker; }

# Either links the native build.
has_linker() { has clang || has gcc; }

has_postgres() { scripts/postgres --which >/dev/null 2>&1; }

has() { type -P "$1" >/dev/null; }

# need PACKAGE CHECK...: if the check fails, installs the package or prints how to install it.
need() {
  local package=$1 manager command
  shift
  if "$@"; then return; fi

  manager=$(package_manager) || die "TokenService needs $package, but apt-get, apk, dnf and brew are missing."
  command=$(install_command "$manager" "$package")
  if [ "$manager" != brew ] && [ "$(id -u)" != 0 ]; then
    command="sudo sh -c '$command'"
    may_install=no
  fi
  [ "$may_install" = yes ] || die "TokenService needs $package. To install it: $command"

  echo "Installing $package: $command" >&2
  sh -c "$command" </dev/null >&2 || die "Installing $package failed; the output above says why."
  "$@" || die "$package is installed, but TokenService cannot use it."
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
    apt-get:postgresql)
      # Without this file the package would create a cluster and start a server, which are not needed here.
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
