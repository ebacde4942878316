#!/usr/bin/env bash
# Puts in place the system programs that tests need: installs from the system's packages what is missing.
#
#   tests/provision.sh [PART…]     parts: chromium pgbouncer postgresql redis vsftpd; default: those that tests use today
#
# Standard output is only the list of parts that can't run here, one a line with the reason ("chromium: …"), for
# SYNCAPP_MISSING_PARTS; everything else goes to standard error. It never fails: a missing part is named, not fatal.
set -uo pipefail

DEFAULT_PARTS=(chromium postgresql pgbouncer)

say() { printf 'provision: %s\n' "$*" >&2; }
missing() { printf '%s\n' "$1: $2"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_install() {
  command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

lists_updated=no
install() { # install PACKAGE…: one apt-get run, the lists refreshed once
  can_install || return 1
  if [ "$lists_updated" = no ]; then
    as_root apt-get update -qq >&2 || say "the package lists could not be refreshed; trying with the old ones"
    lists_updated=yes
  fi
  say "installing $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 </dev/null
}

# install_unstarted PACKAGE…: install, without the services that Debian's packages start. Tests run servers of their own,
# on free ports in a temporary folder; one that was there before stays as it is.
POLICY=/usr/sbin/policy-rc.d
NO_CLUSTER=/etc/postgresql-common/createcluster.d/no-main-cluster-for-tests.conf
install_unstarted() {
  local ours=no status=0
  can_install || return 1
  if [ ! -e "$POLICY" ]; then
    ours=yes
    trap 'as_root rm -f "$POLICY" "$NO_CLUSTER"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null && as_root chmod +x "$POLICY"
  fi
  as_root mkdir -p "${NO_CLUSTER%/*}" && echo "create_main_cluster = false" | as_root tee "$NO_CLUSTER" >/dev/null
  install "$@" || status=$?
  as_root rm -f "$NO_CLUSTER"
  if [ "$ours" = yes ]; then as_root rm -f "$POLICY"; fi
  return $status
}

# provide PART TEST-COMMAND PACKAGE…: nothing when the test passes, else installs, else names the part as missing
provide() {
  local part=$1 present=$2
  shift 2
  $present && return
  if "${INSTALL:-install}" "$@" && $present; then return; fi
  if can_install; then
    missing "$part" "the system package $* could not be installed"
  else
    missing "$part" "not installed, and installing $* needs root or sudo without a password"
  fi
}

has_chromium() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; }
has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; }
has_pgbouncer() { command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; }
has_redis() { [ -x .venv/bin/valkey-server ] || command -v redis-server >/dev/null || command -v valkey-server >/dev/null; }
has_vsftpd() { command -v vsftpd >/dev/null || [ -x /usr/sbin/vsftpd ]; }

part_chromium() { provide chromium has_chromium chromium fonts-dejavu-core; }
part_postgresql() { INSTALL=install_unstarted provide postgresql has_postgresql postgresql; }
part_pgbouncer() {
  has_pgbouncer && return
  INSTALL=install_unstarted provide pgbouncer has_pgbouncer pgbouncer
  # Its package lets it start with the machine.
  if has_pgbouncer && command -v systemctl >/dev/null; then as_root systemctl disable --quiet pgbouncer >/dev/null 2>&1; fi
}
part_redis() { provide redis has_redis redis-server; }
part_vsftpd() { provide vsftpd has_vsftpd vsftpd; }

main() {
  cd "$(dirname "$0")/.." || exit
  local part
  for part in "$@"; do
    case $part in
      chromium | pgbouncer | postgresql | redis | vsftpd) "part_$part" ;;
      *) say "unknown part: $part"; exit 2 ;;
    esac
  done
}

if [ $# -eq 0 ]; then main "${DEFAULT_PARTS[@]}"; else main "$@"; fi
