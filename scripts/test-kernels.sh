#!/usr/bin/env bash
# Boots Debian's kernels, runs in each what there is of tests for probes and faults, and writes
# docs/kernels.md of what came of it. Fails when anything has failed anywhere.
#   test-kernels.sh [SUITE…]     none: all of them
# TEST_PROGRAMS picks some of the test programs, and with the word "fault" every fault is put in
# place, too: "probes/tcp faults/netem fault". What comes of them takes
# the place of what came of them in the runs before.
set -euo pipefail
cd "$(dirname "$0")/.."

all=(bullseye bookworm trixie)
suites=("${@:-${all[@]}}")
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
out=$target/kernels
mkdir -p "$out"

say() { printf 'test-kernels: %s\n' "$*"; }

say 'building'
# Of the whole workspace, as `make test` has it: parts of it alone would be built anew, with fewer
# features.
"$cargo" build --workspace --bins --examples
kernels=$target/debug/examples/kernels
# shellcheck disable=SC2046 # one word each
"$cargo" test --workspace --no-run $("$kernels" targets) \
  --message-format=json-render-diagnostics >"$out/cargo.json"
# shellcheck disable=SC2086 # one word each
"$kernels" programs ${TEST_PROGRAMS:-} <"$out/cargo.json" >"$out/programs.json"

results=()
for suite in "${suites[@]}"; do
  kernel=$(scripts/kernel/fetch.sh "$suite")
  result=$out/$suite.ndjson
  results+=("$result")
  case " ${TEST_PROGRAMS:-every fault} " in
    *' fault '*) part=guest ;;
    *) part=guest-tests ;;
  esac
  if [ -z "${TEST_PROGRAMS:-}" ]; then : >"$result"; fi
  say "$(ls "$kernel/lib/modules")"
  # Linux 6.12 patches its own code a lot, and an emulator with a thread a processor lets one run
  # what another has just replaced: guests have died of breakpoints that were there no more.
  threads=multi
  if [ "$suite" = trixie ]; then threads=single; fi
  # Whatever becomes of the guest, what it has told by then is in the results.
  GUEST_THREADS=$threads scripts/kernel/boot.sh "$kernel" "$result" \
    "$(realpath "$kernels")" "$part" "$(realpath "$out/programs.json")" /dev/ttyS1 \
    | tee "$out/$suite.log" || say "the guest of $suite ended with $?"
done

pages=("${all[@]/#/$out/}")
pages=("${pages[@]/%/.ndjson}")
# A page of some of the kernels would be taken for one of all.
if ls "${pages[@]}" >"$out/pages" 2>&1; then
  "$kernels" page "${pages[@]}" >docs/kernels.md
  say 'docs/kernels.md is written'
fi
say "what every guest told is in $out/*.ndjson, and what it said in $out/*.log"
"$kernels" summary "${results[@]}"
