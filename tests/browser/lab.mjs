// Networks of the test's own: hosts in network namespaces, joined by cables. Needs root, as in CI.

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const run = (command, ...args) => execFileSync(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
const ip = (...args) => run('ip', ...args);

export class Lab {
  #hosts = [];
  static #cables = 0; // the names of the last lab may still be in use for a moment
  #folder = mkdtempSync(join(tmpdir(), 'kms-lab-'));

  /** A host of its own: a network namespace. This machine itself is the host `undefined`. */
  host(name) {
    const full = `kms-${process.pid}-${name}`;
    ip('netns', 'add', full);
    this.#hosts.push(full);
    this.on(full, 'ip', 'link', 'set', 'lo', 'up');
    return full;
  }

  /** Runs a program on a host. */
  on(host, ...command) {
    return host ? ip('netns', 'exec', host, ...command) : run(command[0], ...command.slice(1));
  }

  /** Joins two hosts; answers the names of the cable's ends. */
  cable([a, addressOfA], [b, addressOfB]) {
    const name = `k${process.pid % 100_000}x${Lab.#cables++}`;
    const ends = [`${name}a`, `${name}b`];
    ip('link', 'add', ends[0], 'type', 'veth', 'peer', 'name', ends[1]);
    for (const [host, address, end] of [[a, addressOfA, ends[0]], [b, addressOfB, ends[1]]]) {
      if (host) ip('link', 'set', end, 'netns', host);
      this.on(host, 'ip', 'addr', 'add', `${address}/24`, 'dev', end);
      this.on(host, 'ip', 'link', 'set', end, 'up');
    }
    return ends;
  }

  /** Loses this share of the UDP packets that arrive on a host's end of a cable. */
  lose(host, end, percent) {
    this.#rules(host, `table inet lab { chain in { type filter hook input priority 0;
      iifname "${end}" meta l4proto udp numgen random mod 1000 < ${percent * 10} drop; } }`);
  }

  /** Lets no more than this through of the UDP that arrives on a host's end of a cable. */
  limit(host, end, kilobytesPerSecond) {
    this.#rules(host, `table inet lab { chain in { type filter hook input priority 0;
      iifname "${end}" meta l4proto udp limit rate over ${kilobytesPerSecond} kbytes/second burst 30 kbytes drop; } }`);
  }

  /** Makes a host a router whose end towards the world hides what is behind it. */
  translate(host, end) {
    this.on(host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    this.#rules(host, `table ip lab { chain out { type nat hook postrouting priority 100;
      oifname "${end}" masquerade; } }`);
  }

  #rules(host, text) {
    const file = join(this.#folder, 'rules');
    writeFileSync(file, `${text.replaceAll('; }', ';\n}').replaceAll('} }', '}\n}')}\n`);
    this.on(host, 'nft', '-f', file);
  }

  /** A program that starts a browser on a host. */
  browserOn(host) {
    const file = join(this.#folder, `browser-${host}`);
    writeFileSync(file, `#!/bin/sh\nexec ip netns exec ${host} ${process.env.CHROMIUM ?? '/usr/bin/chromium'} "$@"\n`);
    chmodSync(file, 0o755);
    return file;
  }

  /** Takes all of it down again. */
  close() {
    // The cables go with the namespaces.
    for (const host of this.#hosts) ip('netns', 'del', host);
    rmSync(this.#folder, { recursive: true });
  }
}
