// ffmpeg as the judge of what was recorded or received, and descriptions of RTP.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';

/** What ffprobe says of a file that must decode without an error. */
export function judge(file) {
  // Frames keep their own times: rounded to a frame rate two may fall together, which is no fault of the file.
  const decoded = spawnSync('ffmpeg', ['-v', 'error', '-i', file, '-fps_mode', 'passthrough', '-enc_time_base', '-1',
    '-f', 'null', '-']);
  assert.equal(decoded.stderr.toString(), '');
  assert.equal(decoded.status, 0);
  return probe(file);
}

/** What ffprobe says of a file: codecs by name, seconds, and packets of all streams. */
export function probe(file) {
  const said = JSON.parse(execFileSync('ffprobe', ['-v', 'error', '-count_packets', '-show_streams', '-show_format',
    '-of', 'json', file]));
  const codecs = said.streams.map((s) => s.codec_name).sort();
  const packets = said.streams.reduce((sum, s) => sum + Number(s.nb_read_packets), 0);
  return { codecs, packets, duration: Number(said.format.duration) };
}

/** A description of these lines. */
export const sdp = (...lines) =>
  ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0', ...lines, ''].join('\r\n');

/** The port of a kind of media in a description. */
export const portOf = (text, kind) => text.match(new RegExp(`m=${kind} (\\d+)`))[1];
