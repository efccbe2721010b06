#!/usr/bin/env bash
# What watching the exchange costs it, beside nobody watching and beside bpftrace.
# Wants TEMBLOR (the program) and SUDO (empty for root) in the environment; BENCH_ROUNDS,
# BENCH_SECONDS, BENCH_RATE and BENCH_PROBES change what is measured.
set -euo pipefail

: "${TEMBLOR:?the path of the temblor program}"
SUDO=${SUDO:-}

down() { $SUDO "$TEMBLOR" lab down; }
# A lab that is up already is somebody's, and its load would be measured with ours.
if [ "$($SUDO "$TEMBLOR" lab status --json)" != null ]; then
  echo 'a lab is up already: take it down first (temblor lab down)' >&2
  exit 1
fi
trap 'code=$?; trap - EXIT; down || exit $?; exit $code' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

$SUDO "$TEMBLOR" lab up
if [ -n "$SUDO" ]; then SUDO="$SUDO -E"; fi
$SUDO "$(dirname "$TEMBLOR")/examples/bench_probes"
