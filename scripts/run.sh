#!/usr/bin/env bash
# Starts the daemon and a tutorial, prints the address to open, and stops both on Ctrl-C.
#
#   scripts/run.sh FOLDER [TUTORIAL [OPTION...]]     FOLDER holds the programs, such as target/release; hello-world unless told otherwise;
#                                                    options are the tutorial's
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
programs=${1:?usage: scripts/run.sh FOLDER [TUTORIAL [OPTION...]]}
tutorial=${2:-hello-world}
options=("${@:3}")

for port in 8888 8080; do
    if is_open 127.0.0.1 $port; then
        echo "Port $port of this machine is taken: is another kms or web server running? Stop it and try again." >&2
        exit 1
    fi
done

# Tutorial first: it says goodbye to the daemon.
children=()
stop_all() {
    trap '' INT TERM
    local child
    for child in "${children[@]}"; do stop "$child"; done
}
trap 'stop_all; exit 0' INT TERM

# start PORT PROGRAM OPTION...: in a session of its own, so that Ctrl-C reaches this script alone, which stops them in order.
start() {
    local port=$1
    shift
    setsid "$@" </dev/null &
    children=($! "${children[@]}")
    wait_until_open 127.0.0.1 "$port" $! 10 || {
        echo "$1 did not start; its last words stand above." >&2
        stop_all
        exit 1
    }
}

start 8888 "$programs/kms"
start 8080 "$programs/tutorial-$tutorial" "${options[@]}"
printf '\n  Open http://127.0.0.1:8080 and press the first button.   (Ctrl-C ends it.)\n\n'

status=0
wait -n || status=$?
echo "One of the programs ended (status $status); stopping the other." >&2
stop_all
exit 1
