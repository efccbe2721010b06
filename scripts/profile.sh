#!/usr/bin/env bash
# Where the exchange's processor time goes: of each of the lab's services for itself, while its
# simulators send orders. Starts the lab where it is down, and then takes it down again.
#   profile.sh SECONDS
# Wants TEMBLOR (the program) and SUDO (empty for root) in the environment; PROFILE_SERVICES names
# other services than all.
set -euo pipefail

: "${TEMBLOR:?the path of the temblor program}"
SUDO=${SUDO:-}
seconds=${1:?how long}
read -ra services <<<"${PROFILE_SERVICES:-trading-api order-flow-simulator market-simulator postgres redis nginx}"

temblor() { $SUDO "$TEMBLOR" "$@"; }

if [ "$(temblor lab status --json)" = null ]; then
  trap 'code=$?; trap - EXIT; temblor lab down || exit $?; exit $code' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  temblor lab up
fi

dir=profiles/$(date -u +%Y-%m-%dT%H-%M-%SZ)-cpu
mkdir -p "$dir"
empty=()
for service in "${services[@]}"; do
  echo "profiling $service for $seconds s"
  code=0
  temblor profile cpu --service "$service" --for "${seconds}s" -o "$dir/$service.pb.gz" || code=$?
  # Nothing of it ran: an idle service is no failure of the others' profiles.
  if [ "$code" = 3 ]; then empty+=("$service"); continue; fi
  [ "$code" = 0 ] || exit "$code"
  temblor profile svg "$dir/$service.pb.gz" --title "$service" -o "$dir/$service.svg"
  temblor profile top "$dir/$service.pb.gz" --all >"$dir/$service.txt"
  temblor profile top "$dir/$service.pb.gz" -n 5 | tail -n 6
done
if [ -n "$SUDO" ]; then $SUDO chown -R "$(id -u):$(id -g)" "$dir"; fi
for service in "${empty[@]}"; do echo "idle, and without a profile: $service"; done
echo "profiles, flamegraphs and tables: $dir"
