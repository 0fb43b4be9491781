#!/usr/bin/env bash
# Fails when a crate depends on one that it must not know (docs/ARCHITECTURE.md):
#
#   kms  ->  kms-filters, kms-elements  ->  kms-core  ->  protocol
#
# Looks at all that ends up in a build, direct or not; dev-dependencies of tests are free.
set -euo pipefail
cd "$(dirname "$0")/.."

SOCKETS_AND_RUNTIMES="tokio mio socket2 quinn-udp axum hyper jsonrpsee tungstenite str0m openssl gstreamer glib"
EDGE="axum hyper jsonrpsee"
# Recordings are sent to servers over HTTP, and images come from them, so hyper is there; it is the serving of it that elements and filters
# know nothing of.
SERVERS="axum jsonrpsee tungstenite"
failed=0

# dependencies FOLDER: names of the packages a crate is built with.
dependencies() {
    cargo tree --locked --manifest-path "$1/Cargo.toml" --edges normal,build --prefix none --format '{p}' |
        cut -d ' ' -f 1 | tail -n +2 | sort -u
}

# must_not_know FOLDER NAME...: a name stands for its family too, gstreamer for gstreamer-app.
must_not_know() {
    local folder=$1 known name found
    shift
    known=$(dependencies "$folder")
    for name in "$@"; do
        # kms is the daemon's own name and the beginning of others.
        if [ "$name" = kms ]; then found=$(grep -x kms <<<"$known"); else found=$(grep -E "^$name(-|$)" <<<"$known"); fi || continue
        echo "$folder must not depend on $name, but is built with: ${found//$'\n'/ }" >&2
        failed=1
    done
}

# shellcheck disable=SC2086  # the lists are meant to be split
{
    must_not_know protocol kms kms-core kms-elements kms-filters kms-client $SOCKETS_AND_RUNTIMES
    must_not_know kms-core kms kms-elements kms-filters kms-client str0m $EDGE
    must_not_know kms-elements kms kms-filters kms-client $SERVERS
    must_not_know kms-filters kms kms-elements kms-client str0m $SERVERS
    must_not_know client kms kms-core kms-elements kms-filters str0m gstreamer
    must_not_know . kms-client kms-bench
}
exit $failed
