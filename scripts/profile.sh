#!/usr/bin/env bash
# Profiles of the exchange: of each of its services for itself, while its simulators send orders;
# Prometheus, which only watches them, is not among them unless it is named. Starts the lab where it
# is down, and then takes it down again.
#   profile.sh SECONDS KIND...     kinds: cpu, off-cpu, lock, threads, heap, allocs
# Wants TEMBLOR (the program) and SUDO (empty for root) in the environment; PROFILE_SERVICES names
# other services than these.
set -euo pipefail

: "${TEMBLOR:?the path of the temblor program}"
SUDO=${SUDO:-}
seconds=${1:?how long}
shift
kinds=("${@:?of what}")
read -ra services <<<"${PROFILE_SERVICES:-trading-api order-flow-simulator market-simulator postgres redis nginx}"

temblor() { $SUDO "$TEMBLOR" "$@"; }

if [ "$(temblor lab status --json)" = null ]; then
  trap 'code=$?; trap - EXIT; temblor lab down || exit $?; exit $code' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  temblor lab up
fi

began=$(date -u +%Y-%m-%dT%H-%M-%SZ)
written=()
empty=()
for kind in "${kinds[@]}"; do
  dir=profiles/$began-$kind
  mkdir -p "$dir"
  written+=("$dir")
  for service in "${services[@]}"; do
    # What threads are at is of one moment.
    if [ "$kind" = threads ]; then lasting=(); else lasting=(--for "${seconds}s"); fi
    echo "profiling $service: $kind ${lasting[*]:1}"
    code=0
    temblor profile "$kind" --service "$service" "${lasting[@]}" -o "$dir/$service.pb.gz" || code=$?
    if [ "$code" = 0 ]; then
      temblor profile svg "$dir/$service.pb.gz" --title "$service: $kind" -o "$dir/$service.svg" \
        || code=$?
    fi
    # Nothing of it was seen, or it keeps nothing of what it allocates: an idle service is no failure
    # of the others' profiles.
    if [ "$code" = 3 ]; then empty+=("$service ($kind)"); continue; fi
    [ "$code" = 0 ] || exit "$code"
    temblor profile top "$dir/$service.pb.gz" --all >"$dir/$service.txt"
    temblor profile top "$dir/$service.pb.gz" -n 5 | tail -n 6
  done
  if [ -n "$SUDO" ]; then $SUDO chown -R "$(id -u):$(id -g)" "$dir"; fi
done
for service in "${empty[@]}"; do echo "without a profile, as nothing was seen: $service"; done
echo "profiles, flamegraphs and tables:" "${written[@]}"
