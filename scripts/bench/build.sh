# shellcheck shell=bash
# Sourced by the measurements: installs what they need and builds them, with TokenService, for release.

# prepare ARGUMENTS...: sets $program, $native where needs_native=yes, and $arguments without --no-install. A FILE stays
# relative to the caller's folder.
prepare() {
  local called_from=$PWD output
  cd "$(dirname "${BASH_SOURCE[0]}")/../.."
  . scripts/prerequisites.sh
  if [ "${1-}" = --no-install ]; then may_install=no && shift; fi
  arguments=("$@")

  need_dotnet
  need postgresql has_local_postgres # --throwaway needs the machine's own binaries
  [ "${needs_wrk-no}" = no ] || need wrk has wrk

  # The last line of the output is the path of the program, or the output says what failed.
  output=$(dotnet build scripts/bench -c Release --nologo -v quiet --disable-build-servers \
    -target:Build -getProperty:TargetPath 2>&1) || die "$output"
  program=${output##*$'\n'}
  native=''
  if [ "${needs_native-no}" = yes ]; then
    local options=()
    [ "$may_install" = yes ] || options=(--no-install)
    native=$PWD/$(scripts/publish "${options[@]}" .data/bench) || exit 1
  fi
  cd "$called_from"
}

has_local_postgres() { scripts/postgres --engine local --which >/dev/null 2>&1; }
