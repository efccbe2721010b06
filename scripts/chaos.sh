#!/usr/bin/env bash
# Runs experiments one after the other on one lab, and sums them up. The exit code is that of the
# weightiest verdict. Wants TEMBLOR (the program) and SUDO (empty for root) in the environment.
set -uo pipefail

: "${TEMBLOR:?the path of the temblor program}"
SUDO=${SUDO:-}

down() { $SUDO "$TEMBLOR" lab down; }
# A lab that is up already is somebody's: it is used, and left up.
if [ "$($SUDO "$TEMBLOR" lab status --json)" != null ]; then down() { :; }; fi
# Whatever happens, the lab goes down; the runs' exit code is what counts.
trap 'code=$?; trap - EXIT; down || exit $?; exit $code' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

$SUDO "$TEMBLOR" lab up || exit $?
began=$(date -u +%Y%m%dT%H%M%SZ)
out=runs/chaos-$began
runs=()
for name in "$@"; do
  echo
  $SUDO "$TEMBLOR" run "$name" --out "$out/$name"
  code=$?
  # 2 and 6 never began: there is no run to sum up, and the next would fare no better.
  case $code in 2 | 6) exit $code ;; esac
  runs+=("$out/$name")
  # Asked to end: whatever was running has been healed and reported.
  if [ $code = 4 ]; then break; fi
done
[ ${#runs[@]} -gt 1 ] || exit "$code"
echo
$SUDO "$TEMBLOR" report --summary "${runs[@]}"
