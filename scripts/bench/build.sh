# shellcheck shell=bash
# Sourced by the measurements: sees to what they need and builds them, with TokenService, for release.

# prepare ARGUMENTS...: sets $program, and $arguments without --no-install. A FILE among them stays relative to where we were called.
prepare() {
  local called_from=$PWD said
  cd "$(dirname "${BASH_SOURCE[0]}")/../.."
  . scripts/prerequisites.sh
  if [ "${1-}" = --no-install ]; then may_install=no && shift; fi
  arguments=("$@")

  need_dotnet
  need_sodium
  need postgresql has_local_postgres # a throwaway is made of the machine's own binaries
  [ "${needs_wrk-no}" = no ] || need wrk has wrk

  # Says where the program is, or what is wrong.
  said=$(dotnet build scripts/bench -c Release --nologo -v quiet --disable-build-servers \
    -target:Build -getProperty:TargetPath 2>&1) || die "$said"
  program=${said##*$'\n'}
  cd "$called_from"
}

has_local_postgres() { scripts/postgres --engine local --which >/dev/null 2>&1; }
