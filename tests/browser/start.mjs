// Starts what the tests need: the media server, tutorials, Chromium with its fake camera.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { createServer, connect } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const TOP = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** Chromium; `args` are added to those every test wants. `wrapper` is a program that starts it elsewhere. */
export function startBrowser(args = ['--use-fake-ui-for-media-stream'], wrapper = undefined) {
  return chromium.launch({
    executablePath: wrapper ?? process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream=fps=30',
      '--autoplay-policy=no-user-gesture-required', ...args,
    ],
  });
}

/**
 * The media server's URL and how to stop it. KMS_URL names one that runs already, unless the test wants it special: with
 * environment variables of its own, or in a network namespace.
 */
export async function startMediaServer({ env = {}, namespace, address = '127.0.0.1' } = {}) {
  const special = namespace || Object.keys(env).length > 0;
  if (process.env.KMS_URL && !special) return { url: process.env.KMS_URL, stop() {} };
  const port = await freePort();
  const enter = namespace ? ['ip', 'netns', 'exec', namespace] : [];
  const [command, ...args] = [...enter, program('kms'), '--listen', `${address}:${port}`];
  const child = spawn(command, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    // Other addresses are of networks that the tests made.
    env: { KMS_LOG_LEVEL: 'warn', KMS_ACCESS_ALLOW_ANONYMOUS: `${address !== '127.0.0.1'}`, ...process.env, ...env },
  });
  await accepting(port, child, address);
  return { url: `ws://${address}:${port}/kurento`, pid: child.pid, stop: () => end(child) };
}

/** A program that runs until it is stopped; answers once it accepts connections. */
export async function startProgram(command, args, port, address) {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  await accepting(port, child, address);
  return { stop: () => end(child) };
}

/** A tutorial's URL and how to stop it. `options` are those it has of its own. */
export async function startTutorial(name, kms, ...options) {
  const port = await freePort();
  const args = ['--listen', `127.0.0.1:${port}`, '--kms', kms, ...options];
  const folder = join(TOP, 'tutorials', name);
  const [command, first] =
    name === 'hello-world-node' ? [process.execPath, [join(folder, 'server.js')]] : [program(`tutorial-${name}`), []];
  const child = spawn(command, [...first, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  await accepting(port, child);
  return { url: `http://127.0.0.1:${port}`, stop: () => end(child) };
}

/** A built program: from where KMS_BIN names one of them, or from target/debug. */
export function program(name) {
  const folder = process.env.KMS_BIN ? dirname(process.env.KMS_BIN) : join(TOP, 'target/debug');
  const path = join(folder, name);
  if (!existsSync(path)) throw new Error(`${path} is missing: cargo build --workspace`);
  return path;
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Free for RTP, as the next port is for RTCP. */
export async function freeMediaPort() {
  for (;;) {
    const pair = [createSocket('udp4'), createSocket('udp4')];
    const bound = async (socket, port) => {
      socket.bind(port, '127.0.0.1');
      return once(socket, 'listening').then(() => socket.address().port, () => undefined);
    };
    const port = await bound(pair[0], 0);
    const free = port % 2 === 0 && (await bound(pair[1], port + 1)) !== undefined;
    await Promise.all(pair.map((socket) => new Promise((closed) => socket.close(closed))));
    if (free) return port;
  }
}

async function accepting(port, child, address = '127.0.0.1') {
  for (let i = 0; i < 100; i++) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode}`);
    const socket = connect(port, address);
    const open = await once(socket, 'connect').then(() => true, () => false);
    socket.destroy();
    if (open) return;
    await sleep(100);
  }
  child.kill('SIGKILL');
  throw new Error(`${child.spawnfile} does not listen`);
}

/** Ends a program that was started. */
export async function end(child) {
  if (child.exitCode !== null) return;
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 5000);
  await once(child, 'exit');
  clearTimeout(late);
}
