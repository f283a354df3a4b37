# Shared by the scripts: where things are, messages, time, and how many jobs fit into this machine's memory.
# To be sourced; expects bash with `set -euo pipefail`.

MILLRACE_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
MILLRACE_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/millrace"
PYTHON=/usr/bin/python3  # Debian's own: only it sees the modules that apt installs

say() { printf '==> %s\n' "$*"; }
warn() { printf '%s: warning: %s\n' "${0##*/}" "$*" >&2; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
usage_error() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }

# Jobs that cores allow and memory allows (about 1.5 GB each, of what is available now or in our control group).
build_jobs() {
  local cores memory_mb group_mb jobs
  cores=$(nproc)
  memory_mb=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)
  if [[ -r /sys/fs/cgroup/memory.max ]]; then
    group_mb=$(awk '$1 != "max" {print int($1 / 1048576)}' /sys/fs/cgroup/memory.max)
    if [[ -n "$group_mb" && "$group_mb" -lt "$memory_mb" ]]; then memory_mb=$group_mb; fi
  fi
  jobs=$((memory_mb / 1500))
  if ((jobs > cores)); then jobs=$cores; fi
  if ((jobs < 1)); then jobs=1; fi
  echo "$jobs"
}

# retry TIMES PAUSE_SECONDS COMMAND...: for commands that use the network.
retry() {
  local times=$1 pause=$2 try
  shift 2
  for ((try = 1; try <= times; ++try)); do
    if "$@"; then return 0; fi
    if ((try < times)); then
      warn "attempt $try of $times failed: $*; next one in $pause s"
      sleep "$pause"
    fi
  done
  return 1
}

# A TCP port that is free now on 127.0.0.1.
free_port() {
  "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
