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
# need classes that are not there yet (other modules of Kurento). A new class lowers its number.
allowed_to_differ() {
    case $1 in
        webrtc) echo 13 ;;
        basics) echo 4 ;;
        js_client) echo 2 ;;
        *) echo 0 ;;
    esac
}

daemon=
work=$(mktemp -d)
log=$work/log
cleanup() {
    [ -z "$daemon" ] || stop "$daemon"
    rm -rf "$work"
}
trap cleanup EXIT

# The film that was played when the recording of players was made: VP8 and Opus, 4.266 s.
make_film() {
    ffmpeg -v error -f lavfi -i testsrc=size=320x240:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 4.266 \
        -c:v libvpx -deadline realtime -g 30 -c:a libopus "$1"
}

# What plays and records says file:///media, where not everybody may write.
prepare() {
    sed "s|file:///media/|file://$work/|g" "$1" >"$work/$(basename "$1")"
    echo "$work/$(basename "$1")"
}

# replay RECORDING: a daemon each, since what a recording lists depends on what the server holds already.
replay() {
    local name port output good total
    name=$(basename "$1" .jsonl)
    port=$("$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$kms" --listen "127.0.0.1:$port" </dev/null >"$log" 2>&1 &
    daemon=$!
    wait_until_open 127.0.0.1 "$port" $daemon 10 || { cat "$log"; echo "$kms did not start" >&2; return 1; }
    output=$("$python" tests/wire/replay.py -v --url "ws://127.0.0.1:$port/kurento" "$(prepare "$1")" 2>&1) || true
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

make_film "$work/in.webm"
failed=0 passed=0
for recording in tests/wire/*.jsonl; do
    if replay "$recording"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "wire: $passed passed; $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
