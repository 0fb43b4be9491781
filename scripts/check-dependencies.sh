#!/usr/bin/env bash
# Holds the dependencies against deny.toml: licences, banned crates and sources; known vulnerabilities when the
# advisory database can be fetched (it is a git repository on GitHub).
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:$PWD/target/tools/bin

command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: run scripts/setup.sh --test" >&2; exit 1; }
deny() { cargo-deny --log-level error --locked "$@"; }

deny check --hide-inclusion-graph bans licenses sources
if deny fetch db >/dev/null 2>&1; then
    deny check advisories
else
    echo "note: the advisory database can't be reached, known vulnerabilities are not checked"
fi
