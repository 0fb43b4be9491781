#!/usr/bin/env bash
# Runs all tests in Rust. What fails is run once more, by itself: some measure real time, and a machine that somebody else is
# busy on stands still for a second now and then. What failed and then passed is listed; what fails twice has failed.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log" && exit 0

# "error: 2 targets failed:" is followed by a line for each: `-p kms --test media`. One alone: "error: test failed, to rerun pass `...`".
mapfile -t targets < <(grep -oP '^(error: test failed, to rerun pass |    )`\K-p [^`]+' "$log" | sort -u)
mapfile -t names < <(grep -oP '^test \K\S+(?= \.\.\. FAILED$)' "$log" | sort -u)
if [ ${#targets[@]} = 0 ] || [ ${#names[@]} = 0 ]; then
    echo "test-cargo: what failed was no test" >&2
    exit 1
fi
outcome=0
for target in "${targets[@]}"; do
    echo "test-cargo: once more, $target: ${names[*]}"
    # shellcheck disable=SC2086 # the target is several words
    cargo test --locked $target -- --exact "${names[@]}" || outcome=1
done
if [ $outcome = 0 ]; then
    echo "test-cargo: failed, and passed the second time: ${names[*]}"
fi
exit $outcome
