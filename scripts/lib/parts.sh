# The parts of scripts/test: each runs under a time budget, keeps its output, and becomes a line of the last table.
# To be sourced after common.sh.

# parts_begin TOTAL_SECONDS
parts_begin() {
  parts_budget=$1
  parts_log=$MILLRACE_ROOT/build/test
  parts_rows=$parts_log/rows
  parts_start=$SECONDS
  parts_failed=no
  part_pid=
  mkdir -p "$parts_log"
  : >"$parts_rows"
  trap parts_end EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# Ends what a part left behind, whatever way the script ends.
parts_end() {
  if [[ -n "$part_pid" ]]; then kill "$part_pid" 2>/dev/null || true; fi
  "$MILLRACE_ROOT/scripts/lib/step" end_kafka
}

wanted() { [[ " ${chosen[*]} " == *" $1 "* ]]; }

# part NAME BUDGET_SECONDS COMMAND...: returns the command's status. The command is the leader of a process group
# that ends as a whole, at the end of the budget or by Ctrl-C.
part() {
  local name=$1 budget=$2 status=0 start=$SECONDS log=$parts_log/$1.log out tee_pid left
  shift 2
  left=$((parts_budget - (SECONDS - parts_start)))
  if ((left < 1)); then left=1; fi
  if ((budget > left)); then budget=$left; fi
  say "$name (at most $budget s)"
  exec {out}> >(tee "$log")
  tee_pid=$!
  timeout --kill-after=10 "$budget" "$@" >&"$out" 2>&1 {out}>&- &
  part_pid=$!
  wait "$part_pid" || status=$?
  part_pid=
  exec {out}>&-
  wait "$tee_pid" 2>/dev/null || true
  if ((status == 124 || status == 137)); then warn "$name was ended: it needed more than its $budget s"; fi
  if ((status != 0)); then parts_failed=yes; fi
  printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$status" $((SECONDS - start)) "$budget" "$log" >>"$parts_rows"
  return "$status"
}

parts_report() {
  "$PYTHON" "$MILLRACE_ROOT/scripts/lib/parts_report.py" "$parts_rows" $((SECONDS - parts_start)) "$parts_budget"
  if [[ $parts_failed == yes ]]; then exit 1; fi
}
