# install_packages LIST...: installs what is missing of scripts/lib/LIST, and says so. To be sourced after common.sh.
#
# Nothing that runs already is stopped or restarted: while apt works, a policy file forbids its packages to start
# services (Debian's redis-server would otherwise start one on port 6379). The file goes away again.

# True if something of what the package is for is here already, though not from apt.
provided_elsewhere() {
  case $1 in
    default-jre-headless) command -v java >/dev/null && java -version >/dev/null 2>&1 ;;
    default-jdk-headless) command -v javac >/dev/null ;;
    maven) command -v mvn >/dev/null ;;
    fortunes) compgen -G '/usr/share/games/fortunes/*.dat' >/dev/null ;;
    *) return 1 ;;
  esac
}

missing_packages() {
  local list package installed
  local -a wanted
  mapfile -t wanted < <(cd "$MILLRACE_ROOT/scripts/lib" && grep -h -v -e '^#' -e '^$' "$@")
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "${wanted[@]}" 2>/dev/null | awk '/^.i/ {print $NF}') || true
  for package in "${wanted[@]}"; do
    if grep -qxF "$package" <<<"$installed" || provided_elsewhere "$package"; then continue; fi
    echo "$package"
  done
}

as_root() {
  if [[ "$(id -u)" == 0 ]]; then "$@"; else sudo "$@"; fi
}

# Runs a command in a subshell whose end, by Ctrl-C too, takes the policy file away again. One that is there already
# stays.
without_service_starts() (
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  "$@"
)

install_packages() {
  local missing log status=0
  command -v dpkg-query >/dev/null ||
    fail "this is no Debian system: install the counterparts of scripts/lib/packages yourself"
  mapfile -t missing < <(missing_packages "$@")
  if ((${#missing[@]} == 0)); then return 0; fi
  if [[ "$(id -u)" != 0 ]] && ! command -v sudo >/dev/null; then
    fail "packages are missing and there is neither root nor sudo; as root: apt-get install -y ${missing[*]}"
  fi
  say "installing ${#missing[@]} packages with apt (1 to 3 minutes for all of them): ${missing[*]}"
  log=$(mktemp)
  without_service_starts run_apt "$log" "${missing[@]}" || status=$?
  if ((status != 0)); then
    tail -n 20 "$log" >&2
    fail "apt could not install: ${missing[*]} (its whole output: $log)"
  fi
  rm -f "$log"
}

# The index is fetched only if a package is unknown to it or can no longer be downloaded.
run_apt() {
  local log=$1
  shift
  local apt=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
  if "${apt[@]}" install --no-install-recommends "$@" >>"$log" 2>&1; then return 0; fi
  retry 3 5 "${apt[@]}" update >>"$log" 2>&1 || return 1
  retry 2 5 "${apt[@]}" install --no-install-recommends "$@" >>"$log" 2>&1
}
