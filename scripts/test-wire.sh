#!/usr/bin/env bash
# Replays each recording of tests/wire against a daemon of its own and compares the answers.
#
#   scripts/test-wire.sh KMS     the daemon's program, such as target/debug/kms
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
kms=${1:?usage: scripts/test-wire.sh KMS}
python=target/tools/python/bin/python

# Answers that need not match: those of webrtc.jsonl that need the live browser behind its offer; of the others, those that
# need classes that are not there yet (HttpPostEndpoint, filters, hubs) or the file that the recording of players was made with. A new class lowers its number.
allowed_to_differ() {
    case $1 in
        webrtc) echo 13 ;;
        basics) echo 34 ;;
        js_client) echo 2 ;;
        player_recorder_rtp) echo 11 ;;
        *) echo 0 ;;
    esac
}

daemon=
log=$(mktemp)
cleanup() {
    [ -z "$daemon" ] || stop "$daemon"
    rm -f "$log"
}
trap cleanup EXIT

# replay RECORDING: a daemon each, since what a recording lists depends on what the server holds already.
replay() {
    local name port output good total
    name=$(basename "$1" .jsonl)
    port=$("$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$kms" --listen "127.0.0.1:$port" </dev/null >"$log" 2>&1 &
    daemon=$!
    wait_until_open 127.0.0.1 "$port" $daemon 10 || { cat "$log"; echo "$kms did not start" >&2; return 1; }
    output=$("$python" tests/wire/replay.py -v --url "ws://127.0.0.1:$port/kurento" "$1" 2>&1) || true
    stop "$daemon"
    daemon=
    read -r good total < <(sed -n 's|^\([0-9]*\)/\([0-9]*\) answers match in all$|\1 \2|p' <<<"$output") || true
    if [ -n "${total-}" ] && [ "$total" -gt 0 ] && [ $((total - good)) -le "$(allowed_to_differ "$name")" ]; then
        echo "ok   $name: $good of $total answers match"
    else
        echo "FAIL $name: ${good:-no} of ${total:-the} answers match, $(allowed_to_differ "$name") may differ"
        echo "$output"
        return 1
    fi
}

failed=0 passed=0
for recording in tests/wire/*.jsonl; do
    if replay "$recording"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "wire: $passed passed; $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
