// Media to play: files made by ffmpeg, and a camera made of software.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { TOP, end } from './start.mjs';

/** A file with a moving picture of 25 frames a second and a tone, 20 s long; gives its URI. */
export function makeFile(folder, name, ...encoding) {
  const file = join(folder, name);
  execFileSync('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc=size=640x360:rate=25',
    '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000', '-t', '20', '-g', '50', ...encoding, file]);
  return `file://${file}`;
}

/** VP8 and Opus: what browsers take as it is. */
export const WEBM = ['-c:v', 'libvpx', '-deadline', 'realtime', '-b:v', '1M', '-c:a', 'libopus'];

/** A camera (RTSP): its URI, how to stop it, and what it says from then on. */
export async function startCamera(...args) {
  const script = join(TOP, 'scripts/camera.py');
  // Debian's own Python: no other finds Debian's modules.
  const child = spawn('/usr/bin/python3', [script, '--port', '0', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said = createInterface(child.stdout);
  const [line] = await once(said, 'line');
  const uri = line.match(/^camera: (\S+)/)?.[1];
  if (!uri) throw new Error(`the camera says: ${line}`);
  return { uri, said, stop: () => end(child) };
}
