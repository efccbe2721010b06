#!/usr/bin/env bash
# The demonstration: the lab up, the network partition, the report, the lab down.
# Wants TEMBLOR (the program) and SUDO (empty for root) in the environment.
set -euo pipefail

: "${TEMBLOR:?the path of the temblor program}"
SUDO=${SUDO:-}

down() { $SUDO "$TEMBLOR" lab down; }
# A lab that is up already is somebody's: it is used, and left up.
if [ "$($SUDO "$TEMBLOR" lab status --json)" != null ]; then down() { :; }; fi
# Whatever happens, the lab goes down; the run's exit code is what counts.
trap 'code=$?; trap - EXIT; down || exit $?; exit $code' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What a build has just written would be written to the disk during the baseline.
sync
$SUDO "$TEMBLOR" lab up
$SUDO "$TEMBLOR" run network-partition
