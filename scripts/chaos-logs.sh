#!/usr/bin/env bash
# Shows the last lines of each lab service's log, and the runs that there are.
# Wants TEMBLOR (the program) and SUDO (empty for root) in the environment.
set -euo pipefail

: "${TEMBLOR:?the path of the temblor program}"
SUDO=${SUDO:-}
LINES_SHOWN=${LINES_SHOWN:-10}

status=$($SUDO "$TEMBLOR" lab status --json)
if [ "$status" = null ]; then
  echo "the lab is down: \`$TEMBLOR lab up\` starts it"
else
  logs=$(printf '%s\n' "$status" | sed -n 's/^ *"log": "\(.*\)",\{0,1\}$/\1/p')
  while read -r log; do
    printf '\n== %s\n' "$log"
    $SUDO tail -n "$LINES_SHOWN" "$log"
  done <<<"$logs"
fi
printf '\nruns, the newest last:\n'
find runs -maxdepth 3 -name report.html 2>/dev/null | sort || true
