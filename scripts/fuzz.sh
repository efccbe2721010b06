#!/usr/bin/env bash
# Lets libFuzzer try every target of the crate `fuzz`, and says which inputs made one panic, take too
# much memory or take too long.
#   fuzz.sh [TARGET…]     none: all of them
# FUZZ_SECONDS (20) is how long each is tried. What was learnt stays in target/fuzz/corpus, and the
# next time goes on from there.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
seconds=${FUZZ_SECONDS:-20}
corpus=$target/fuzz/corpus
failures=$target/fuzz/failures
mkdir -p "$corpus" "$failures"

say() { printf 'fuzz: %s\n' "$*"; }

if ! command -v c++ >/dev/null; then
  say 'libFuzzer is C++: install a compiler for it (Debian, Ubuntu: apt-get install g++)'
  exit 6
fi

# Counters at every edge, which libFuzzer reads; checks as in a test; both only in what is ours and
# what it links, not in what runs while it is built.
host=$(rustc -vV | sed -n 's/^host: //p')
say 'building'
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Ccodegen-units=1 --cfg fuzzing" \
  CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
  "$cargo" build --quiet --release --target "$host" -p temblor-fuzz --features libfuzzer --bin fuzz
program=$target/$host/release/fuzz

# Without a target it writes the seeds of all of them.
env -u FUZZ_TARGET FUZZ_CORPUS="$corpus" "$program" -runs=0 2>"$target/fuzz/seeds.log" ||
  { cat "$target/fuzz/seeds.log" >&2; exit 1; }

targets=("$@")
if [ ${#targets[@]} = 0 ]; then
  for folder in "$corpus"/*/; do targets+=("$(basename "$folder")"); done
fi
failed=0
for name in "${targets[@]}"; do
  log=$target/fuzz/$name.log
  rm -f "$failures/$name"-*
  if FUZZ_TARGET=$name "$program" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 \
    -print_final_stats=1 -artifact_prefix="$failures/$name-" "$corpus/$name" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    say "$name: nothing in $runs runs"
  else
    failed=1
    grep -m1 -A1 -e 'panicked at' -e 'ERROR: libFuzzer' "$log" || tail -n 5 "$log"
    for input in "$failures/$name"-*; do
      if [ -e "$input" ]; then say "$name fails: FUZZ_TARGET=$name $program $input"; fi
    done
  fi
done
exit $failed
