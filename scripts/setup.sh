#!/usr/bin/env bash
# Installs what is missing to build kms on Debian or Ubuntu, and says what. Silent when nothing is missing.
#
#   scripts/setup.sh          compiler, libraries and GStreamer: enough for `make run`
#   scripts/setup.sh --camera and an RTSP server: for `make camera`
#   scripts/setup.sh --test   and Chromium, coturn, ffmpeg, Node packages, cargo-deny, cargo-deb: for `make test` and `make lint`
#   scripts/setup.sh --bench  and Janus, the server that the benchmark compares with: for `make bench`
set -euo pipefail
cd "$(dirname "$0")/.."

# Tools that are ours alone stand here, outside of the system and of git.
TOOLS=target/tools
CARGO_DENY_VERSION=0.20.2
CARGO_DEB_VERSION=3.8.0
WEBSOCKETS_VERSION=15.0.1
# An S3 of software, for tests of recordings.
MOTO_VERSION=5.2.5
NPM_VERSION=10.9.4

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

main() {
    case "${1-}" in
        "" | --camera | --test | --bench) ;;
        *) fail "unknown argument $1; usage: scripts/setup.sh [--camera|--test|--bench]" ;;
    esac
    install_packages "${1-}"
    check_rust
    if [ "${1-}" = --test ]; then
        install_rust_components
        install_tool cargo-deny $CARGO_DENY_VERSION
        install_tool cargo-deb $CARGO_DEB_VERSION
        install_python_packages
        install_node_packages
    fi
}

# need PACKAGE CHECK...: the Debian package is missing when the check fails.
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

# Headers to build with, and the plugins that media is read, converted and written with.
need_gstreamer() {
    need libgstreamer1.0-dev pkg-config --exists 'gstreamer-1.0 >= 1.22'
    need libgstreamer-plugins-base1.0-dev pkg-config --exists gstreamer-app-1.0 gstreamer-video-1.0
    local plugins
    plugins=$(pkg-config --variable=pluginsdir gstreamer-1.0 2>/dev/null || true)
    need gstreamer1.0-plugins-base test -e "$plugins/libgstapp.so"
    need gstreamer1.0-plugins-good test -e "$plugins/libgstvpx.so"
    need gstreamer1.0-plugins-bad test -e "$plugins/libgstvideoparsersbad.so"
    need gstreamer1.0-plugins-ugly test -e "$plugins/libgstx264.so"
    # Text in pictures: names under those of a Composite.
    need gstreamer1.0-x test -e "$plugins/libgstpango.so"
    need gstreamer1.0-libav test -e "$plugins/libgstlibav.so"
    # TLS of cameras and of web servers.
    need glib-networking test -e "$(pkg-config --variable=giomoduledir gio-2.0 2>/dev/null)/libgiognutls.so"
}

# Headers, cascades that find faces, and what the bindings are generated with.
need_opencv() {
    need libopencv-dev pkg-config --exists 'opencv4 >= 4.5'
    need opencv-data test -e /usr/share/opencv4/haarcascades/haarcascade_frontalface_alt2.xml
    need clang command -v clang
    need libclang-dev sh -c 'ls /usr/lib/llvm-*/lib/libclang.so'
}

install_packages() {
    missing=()
    need build-essential cc --version
    need pkg-config pkg-config --version
    need libssl-dev pkg-config --exists 'openssl >= 3'
    need_gstreamer
    need_opencv
    if [ "$1" = --camera ] || [ "$1" = --test ]; then
        # Debian's own Python: no other finds Debian's modules.
        need python3-gi /usr/bin/python3 -c 'import gi'
        need gir1.2-gst-rtsp-server-1.0 /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")'
    fi
    if [ "$1" = --test ]; then
        # For the package's test.
        need adduser command -v adduser
        need systemd command -v systemd-analyze
        need chromium command -v chromium
        need coturn command -v turnserver
        need curl command -v curl
        need default-jdk-headless command -v javac
        need gstreamer1.0-tools command -v gst-launch-1.0
        need maven command -v mvn
        need ffmpeg command -v ffprobe
        need iproute2 command -v ip
        need libfaketime sh -c 'ls /usr/lib/*/faketime/libfaketime.so.1'
        need nftables command -v nft
        need openssl command -v openssl
        need nodejs command -v node
        need npm command -v npm
        need python3 python3 --version
        need python3-venv python3 -c 'import ensurepip'
    elif [ "$1" = --bench ]; then
        need gstreamer1.0-tools command -v gst-launch-1.0
        need janus command -v janus
    fi
    [ ${#missing[@]} -eq 0 ] && return

    command -v apt-get >/dev/null || fail "missing: ${missing[*]}. Only Debian and Ubuntu are known here: install them by hand, by the names your system has for them."
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "missing: ${missing[*]}. Run this as root, or install sudo."
        sudo=(sudo)
    fi
    say "installing with apt: ${missing[*]}"
    quietly "${sudo[@]}" apt-get update
    quietly "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
    stop_services "${sudo[@]}"
}

# Debian starts a server as soon as its package is installed; the tests and the benchmark start their own.
stop_services() {
    [ -d /run/systemd/system ] || return 0
    local package
    for package in "${missing[@]}"; do
        case $package in
            coturn | janus)
                say "the service $package was started by its package: stopping and disabling it"
                quietly "$@" systemctl disable --now "$package"
                ;;
        esac
    done
}

# Runs a command and shows what it printed only if it fails.
quietly() {
    local output
    output=$("$@" 2>&1 </dev/null) || fail "$* failed:"$'\n'"$output"
}

check_rust() {
    command -v cargo >/dev/null || fail "Rust is missing. Install it with
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
(see https://rustup.rs), open a new shell, and try again."
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d ' ' -f 2)
    [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
        fail "Rust $found is too old, $wanted or newer is needed: run \"rustup update stable\""
}

install_rust_components() {
    local component
    for component in rustfmt clippy; do
        "cargo-${component/rustfmt/fmt}" --version >/dev/null 2>&1 && continue
        say "installing the Rust component $component"
        quietly rustup component add "$component"
    done
}

# Built without optimisation: that takes a minute, and it runs in a second either way.
# install_tool NAME VERSION: a command of cargo's.
install_tool() {
    command -v "$1" >/dev/null || [ -x "$TOOLS/bin/$1" ] && return
    say "building $1 $2"
    quietly cargo install "$1" --version "$2" --locked --debug --root $TOOLS --target-dir $TOOLS/build
    rm -rf $TOOLS/build
}

# Debian lets pip install only into an environment of one's own.
install_python_packages() {
    $TOOLS/python/bin/python -c 'import websockets, moto.server' 2>/dev/null && return
    say "installing the Python packages websockets and moto"
    quietly python3 -m venv --clear $TOOLS/python
    quietly $TOOLS/python/bin/python -m pip install --quiet --disable-pip-version-check websockets==$WEBSOCKETS_VERSION "moto[server]==$MOTO_VERSION"
}

# Wherever a package-lock.json stands; again when it changed. Without install scripts: nothing here needs one, and that of
# kurento-client 7.3.0 calls a file which isn't in its package.
install_node_packages() {
    local lock folder
    while read -r lock; do
        folder=$(dirname "$lock")
        cmp --silent "$lock" "$folder/node_modules/.installed-from" && continue
        install_npm
        say "installing the Node packages of $folder"
        quietly env --chdir="$folder" "$npm" ci --ignore-scripts --no-audit --no-fund
        cp "$lock" "$folder/node_modules/.installed-from"
    done < <(find . \( -name node_modules -o -name target -o -name .git \) -prune -o -name package-lock.json -print)
}

# Debian 12 has npm 9.2, which fails on a package.json with "overrides" for a dependency that comes from git, as one of
# kurento-client does. Sets `npm`.
install_npm() {
    npm=npm
    [ "$(npm --version | cut -d . -f 1)" -ge 10 ] && return
    npm=$PWD/$TOOLS/npm/node_modules/.bin/npm
    [ -x "$npm" ] && return
    say "installing npm $NPM_VERSION for our own use"
    mkdir -p $TOOLS/npm
    quietly env --chdir=$TOOLS/npm npm install --prefix . --no-audit --no-fund "npm@$NPM_VERSION"
}

main "$@"
