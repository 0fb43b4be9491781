# shellcheck shell=bash
# Helpers for scripts that start servers; to be sourced.

# is_open HOST PORT: whether something accepts TCP connections there.
is_open() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# wait_until_open HOST PORT PID SECONDS: until the process accepts connections; fails when it ends before, or takes longer.
wait_until_open() {
    local tries=$(($4 * 10))
    until is_open "$1" "$2"; do
        kill -0 "$3" 2>/dev/null || return 1
        [ $((tries -= 1)) -gt 0 ] || return 1
        sleep 0.1
    done
}

# stop PID: asks a child to end, waits 10 s, and then ends it.
stop() {
    kill -TERM "$1" 2>/dev/null || { wait "$1" 2>/dev/null || true; return 0; }
    local tries=100
    while kill -0 "$1" 2>/dev/null && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
    kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
