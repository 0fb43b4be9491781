#!/usr/bin/env bash
# Runs Kurento's own Java client, from Maven Central, against a daemon.
#
#   scripts/test-java.sh KMS     the daemon's program, such as target/debug/kms
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
kms=$(realpath "${1:?usage: scripts/test-java.sh KMS}")

daemon=
work=$(mktemp -d)
cleanup() {
    [ -z "$daemon" ] || stop "$daemon"
    rm -rf "$work"
}
trap cleanup EXIT

ffmpeg -v error -f lavfi -i testsrc=size=320x180:rate=25 -f lavfi -i sine -t 4 \
    -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac "$work/film.mp4"
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$kms" --listen "127.0.0.1:$port" </dev/null >"$work/log" 2>&1 &
daemon=$!
wait_until_open 127.0.0.1 "$port" $daemon 10 || { cat "$work/log"; echo "$kms did not start" >&2; exit 1; }
# Built outside of the tree, for git knows nothing of Maven.
cp -r tests/java "$work/java"
timeout 300 mvn --quiet --batch-mode -Dstyle.color=never --file "$work/java/pom.xml" compile exec:java \
    -Dexec.args="ws://127.0.0.1:$port/kurento $work $work/film.mp4" | sed 's/\x1b\[[0-9;]*m//g' || { cat "$work/log"; exit 1; }
