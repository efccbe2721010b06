#!/usr/bin/env bash
# Runs experiments one after the other on one lab, and sums them up. The exit code is the weightiest
# of all: that something was left behind (5), else the greatest. Wants TEMBLOR (the program) and
# SUDO (empty for root) in the environment.
set -uo pipefail

: "${TEMBLOR:?the path of the temblor program}"
SUDO=${SUDO:-}

down() { $SUDO "$TEMBLOR" lab down; }
# A lab that is up already is somebody's: it is used, and left up.
status=$($SUDO "$TEMBLOR" lab status --json) || exit $?
if [ "$status" != null ]; then down() { :; }; fi
# Whatever happens, the lab goes down; the runs' exit code is what counts.
trap 'code=$?; trap - EXIT; down || exit $?; exit $code' EXIT
# The run hears Ctrl-C as well, heals and reports; then there is still something to sum up.
asked_to_end=
trap 'asked_to_end=1' INT TERM

weightier() {
  for code in 5 6 4 3 2 1; do
    if [ "$1" = $code ] || [ "$2" = $code ]; then echo $code; return; fi
  done
  echo 0
}

# What a build has just written would be written to the disk during the baseline.
sync
$SUDO "$TEMBLOR" lab up || exit $?
began=$(date -u +%Y%m%dT%H%M%SZ)
out=runs/chaos-$began
runs=()
not_begun=()
worst=0
for name in "$@"; do
  echo
  $SUDO "$TEMBLOR" run "$name" --out "$out/$name"
  code=$?
  # A code of no table is a program that was killed.
  [ $code -le 6 ] || code=4
  worst=$(weightier $worst $code)
  # One that never began says nothing of those after it: each needs something else.
  if [ -e "$out/$name/result.json" ]; then runs+=("$out/$name"); else not_begun+=("$name"); fi
  # Over something that was left behind nothing more is started.
  if [ -n "$asked_to_end" ]; then worst=$(weightier $worst 4); break; fi
  if [ $code = 5 ]; then break; fi
done
if [ $# -gt 1 ] && [ ${#runs[@]} -gt 0 ]; then
  echo
  $SUDO "$TEMBLOR" report --summary "${runs[@]}"
fi
if [ ${#not_begun[@]} -gt 0 ]; then echo "without a run: ${not_begun[*]}" >&2; fi
exit "$worst"
