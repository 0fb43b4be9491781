#!/usr/bin/env bash
# Installs /deb/kms.deb, uses it as a user would, and removes it: what scripts/test-deb.sh does in a system that is thrown away.
set -euo pipefail
python=${1:?a Python that has websockets}
passed=0
ok() {
    passed=$((passed + 1))
    echo "deb: ok: $*"
}
fail() {
    echo "deb: FAILED: $*" >&2
    [ ! -e /tmp/kms.log ] || cat /tmp/kms.log >&2
    exit 1
}

export DEBIAN_FRONTEND=noninteractive
# What systemd would do is done by hand below: it does not run here.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d

# Whatever it depends on is here already, or it would not build here.
dpkg --install /deb/kms.deb >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; fail "it can't be installed"; }
ok "installed, with all that it depends on"
[ "$(stat -c '%U:%G %a' /etc/kms/kms.toml)" = "root:kms 640" ] || fail "kms.toml is $(stat -c '%U:%G %a' /etc/kms/kms.toml)"
[ "$(stat -c '%U %a' /var/lib/kms)" = "kms 750" ] || fail "/var/lib/kms is $(stat -c '%U %a' /var/lib/kms)"
systemd-analyze verify /lib/systemd/system/kms.service || fail "the unit is not right"
[ -L /etc/systemd/system/multi-user.target.wants/kms.service ] || fail "the unit is not enabled"
ok "a user, a configuration that others don't read, a unit that is enabled"

unit() { sed -n "s/^$1=//p" /lib/systemd/system/kms.service; }
cat >>/etc/kms/kms.toml <<'TOML'

[files]
roots = "/var/lib/kms"
TOML
sed -i 's/^listen = .*/listen = "127.0.0.1:18888"/' /etc/kms/kms.toml
# shellcheck disable=SC2046 # the command of the unit is several words
setpriv --reuid=kms --regid=kms --init-groups --no-new-privs env -i PATH=/usr/bin $(unit ExecStart) >/tmp/kms.log 2>&1 &
daemon=$!
for _ in $(seq 100); do
    (exec 3<>/dev/tcp/127.0.0.1/18888) 2>/dev/null && break
    kill -0 $daemon || fail "it does not start"
    sleep 0.2
done
exec 3<>/dev/tcp/127.0.0.1/18888
printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
grep -q '^ready' <&3 || fail "it is not ready"
ok "starts with the command of its unit, as its user, and is ready"

# A film is played and recorded, as an application server would ask for it.
ffmpeg -v error -f lavfi -i testsrc=size=320x240:rate=25 -t 3 -c:v libvpx -deadline realtime /var/lib/kms/film.webm
chown kms /var/lib/kms/film.webm
"$python" /deb/use.py ws://127.0.0.1:18888/kurento || fail "it can't be used"
frames=$(ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames -of csv=p=0 /var/lib/kms/recorded.webm)
[ "$frames" -ge 40 ] || fail "$frames frames were recorded"
ok "plays and records: $frames frames"

kill -TERM $daemon
wait $daemon || fail "it does not end well"
grep -q 'kms::serve: ended' /tmp/kms.log || fail "it does not say that it ended"
ok "ends on SIGTERM"

dpkg --remove kms >>/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; fail "it can't be removed"; }
[ ! -e /usr/bin/kms ] && [ -e /etc/kms/kms.toml ] && [ -e /var/lib/kms/recorded.webm ] || fail "removing takes the wrong things"
ok "removed: configuration and recordings stay"
dpkg --purge kms >>/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; fail "it can't be purged"; }
[ ! -e /etc/kms/kms.toml ] && [ -e /var/lib/kms/recorded.webm ] || fail "purging takes the wrong things"
! getent passwd kms >/dev/null || fail "its user is left"
ok "purged: recordings stay, nothing else does"
echo "deb: $passed passed, 0 failed"
