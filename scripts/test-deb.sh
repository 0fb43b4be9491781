#!/usr/bin/env bash
# Makes the Debian package of a built daemon, installs it, uses it, and removes it, in a copy of this system that is thrown away: a
# file system laid over this one. Needs root, and Debian; elsewhere it says so and does nothing.
#
#   scripts/test-deb.sh PROFILE     dev or release: what `cargo build` has made
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:?usage: scripts/test-deb.sh dev|release}
if [ "$(id -u)" != 0 ] || ! command -v dpkg >/dev/null; then
    echo "deb: skipped: it needs root on Debian"
    exit 0
fi

work=$(mktemp -d)
trap 'umount "$work" 2>/dev/null || true; rmdir "$work" 2>/dev/null || true' EXIT
# Of its own: a file system can't lie over one that is laid over another, as in a container.
mount -t tmpfs -o size=2g tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"

echo "deb: packing"
target/tools/bin/cargo-deb deb --locked --no-build --fast --profile "$profile" --package kms --output "$work/kms.deb" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
systemd-analyze security --offline=yes --threshold=30 packaging/kms.service >/dev/null

unshare --mount --pid --fork --kill-child bash -euo pipefail -c '
    work=$1
    mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root"
    mount -t proc proc "$work/root/proc"
    mount --bind /dev "$work/root/dev"
    mkdir -p "$work/root/deb" && cp "$work/kms.deb" "$work/root/deb/"
    cp tests/deb/inside.sh tests/deb/use.py "$work/root/deb/"
    chroot "$work/root" /deb/inside.sh "$PWD/target/tools/python/bin/python"
' bash "$work"
