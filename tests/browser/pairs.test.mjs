// Everything that gives media to everything that takes it: each source feeds all sinks at once, while its media flows.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { judge, portOf, probe, sdp } from './judges.mjs';
import { Party, connect, sleep, until } from './party.mjs';
import { WEBM, makeFile, startCamera } from './sources.mjs';
import { end, freeMediaPort, startBrowser, startMediaServer } from './start.mjs';

const BOTH = ['audio', 'video'];
const SMALL = ['-s', '320x180']; // some of it is converted several times at once
const MP4 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '3', '-pix_fmt', 'yuv420p', '-c:a', 'aac'];
/** How much is recorded (s). */
const SECONDS = 4;

let kms, client, browser;
let folder; // of one source at a time

before(async () => {
  kms = await startMediaServer();
  client = await connect(kms.url);
  browser = await startBrowser();
});

after(async () => {
  client?.close();
  await browser?.close();
  await kms?.stop();
});

/**
 * What gives media. Each function makes the element in a pipeline, and answers it with what makes its media flow; that answers how
 * to end it.
 */
const SOURCES = {
  'a file of VP8 and Opus': (pipeline) => player(pipeline, makeFile(folder, 'in.webm', ...SMALL, ...WEBM)),
  'a file of H.264 with B-frames and AAC': (pipeline) => player(pipeline, makeFile(folder, 'in.mp4', ...SMALL, ...MP4)),
  'a camera': async (pipeline) => {
    const camera = await startCamera('--width', '320', '--height', '240', '--bitrate', '500');
    const [element, play] = await player(pipeline, camera.uri);
    return [element, async () => { await play(); return camera.stop; }];
  },
  'a browser with VP8': (pipeline) => presenter(pipeline, 'VP8'),
  'a browser with H.264': (pipeline) => presenter(pipeline, 'H264'),
  'RTP of H.264 and Opus': async (pipeline) => {
    const element = await pipeline.create('RtpEndpoint');
    const answer = await element.processOffer(sdp(
      'm=video 9 RTP/AVP 96', 'a=rtpmap:96 H264/90000', 'a=fmtp:96 packetization-mode=1', 'a=sendonly',
      'm=audio 9 RTP/AVP 97', 'a=rtpmap:97 opus/48000/2', 'a=sendonly'));
    const to = (kind) => ['-cname', 'ffmpeg', '-f', 'rtp', `rtp://127.0.0.1:${portOf(answer, kind)}`];
    return [element, () => program('ffmpeg', '-v', 'error',
      '-re', '-f', 'lavfi', '-i', 'testsrc=size=320x180:rate=25', '-re', '-f', 'lavfi', '-i', 'sine=frequency=440',
      '-map', '0', '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-g', '25', '-pix_fmt', 'yuv420p',
      '-payload_type', '96', ...to('video'), '-map', '1', '-c:a', 'libopus', '-payload_type', '97', ...to('audio'))];
  },
  'an upload': async (pipeline) => {
    const file = makeFile(folder, 'upload.webm', ...SMALL, ...WEBM).replace('file://', '');
    const element = await pipeline.create('HttpPostEndpoint');
    const url = await element.getUrl();
    return [element, () => program('curl', '-sS', '-o', '/dev/null', '--upload-file', file, url)];
  },
};

async function player(pipeline, uri) {
  const element = await pipeline.create('PlayerEndpoint', { uri, networkCache: 200 });
  return [element, async () => { await element.play(); return () => {}; }];
}

async function presenter(pipeline, codec) {
  const one = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
  return [one.endpoint, async () => {
    await one.join({ send: BOTH, codec, width: 320 });
    return () => one.close();
  }];
}

/** Starts a program; answers how to end it. */
function program(command, ...args) {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  return () => end(child);
}

/** What takes media. Each function makes the element, and answers it with what judges that media comes, once it is connected. */
const SINKS = {
  'a browser that takes VP8': (pipeline) => viewer(pipeline, 'VP8'),
  'a browser that takes H.264': (pipeline) => viewer(pipeline, 'H264'),
  'a browser behind a PassThrough': async (pipeline) => {
    const [endpoint, isSeen] = await viewer(pipeline, 'VP8');
    const element = await pipeline.create('PassThrough');
    await element.connect(endpoint);
    return [element, isSeen];
  },
  'a recording in WebM': (pipeline) => recording(pipeline, 'WEBM', 'out.webm', [['opus', 'vp8']]),
  'a recording in MP4': (pipeline) => recording(pipeline, 'MP4', 'out.mp4', [['aac', 'h264'], ['h264', 'opus']]),
  'video over RTP': (pipeline) => receiver(pipeline, 'video', 'vp8', 'VP8/90000'),
  'audio over RTP': (pipeline) => receiver(pipeline, 'audio', 'opus', 'opus/48000/2'),
};

async function viewer(pipeline, codec) {
  const one = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
  await one.join({ receive: BOTH, codec });
  return [one.endpoint, async () => {
    await until('25 frames are seen', async () => (await one.run('framesSince', 0)).count > 25, 20);
    await until('something is heard', async () => (await one.numbers()).audio.totalAudioEnergy > 0, 20);
    assert.equal((await one.numbers()).video.codec, `video/${codec}`);
    await one.close();
  }];
}

async function recording(pipeline, mediaProfile, name, codecs) {
  const file = join(folder, name);
  const element = await pipeline.create('RecorderEndpoint', { uri: `file://${file}`, mediaProfile });
  let isBegun = false;
  element.on('Recording', () => (isBegun = true));
  await element.record();
  return [element, async () => {
    await until('the recording begins', () => isBegun, 20);
    const begun = Date.now();
    await sleep(SECONDS * 1000);
    await element.stopAndWait();
    const real = (Date.now() - begun) / 1000;
    const { codecs: found, duration } = judge(file);
    assert.ok(codecs.some((wanted) => wanted.join() === found.join()), `${found}`);
    // It begins with a keyframe, and ends with what had been converted by then.
    assert.ok(duration > SECONDS - 2 && duration < real + 2.5, `${duration} s in ${real} s`);
  }];
}

async function receiver(pipeline, kind, codec, encoding) {
  const element = await pipeline.create('RtpEndpoint');
  const port = await freeMediaPort();
  const wanted = sdp(`m=${kind} ${port} RTP/AVP 96`, `a=rtpmap:96 ${encoding}`, 'a=recvonly');
  await element.processOffer(wanted);
  const [description, file] = [join(folder, `${kind}.sdp`), join(folder, `${kind}.mkv`)];
  writeFileSync(description, wanted);
  const ffmpeg = spawn('ffmpeg', ['-v', 'error', '-y', '-protocol_whitelist', 'file,udp,rtp', '-i', description,
    '-t', '3', '-c', 'copy', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(ffmpeg, 'close');
  let said = '';
  ffmpeg.stderr.on('data', (text) => (said += text));
  return [element, async () => {
    const late = setTimeout(() => ffmpeg.kill('SIGKILL'), 30_000);
    const [status] = await ended;
    clearTimeout(late);
    assert.equal(status, 0, `ffmpeg receives 3 s: ${said}`);
    const { codecs, packets } = probe(file);
    assert.deepEqual(codecs, [codec]);
    assert.ok(packets > 25, `${packets} packets`);
  }];
}

/** Waits until an element gives audio and video, once it is made to. */
async function flowing(element, start) {
  const flows = new Set();
  element.on('MediaFlowOutStateChanged', ({ mediaType, state }) => {
    if (state === 'FLOWING') flows.add(mediaType);
  });
  await element.getName(); // behind the subscription
  const stop = await start();
  await until('audio and video flow', () => flows.has('AUDIO') && flows.has('VIDEO'), 20);
  return stop;
}

for (const [source, make] of Object.entries(SOURCES)) {
  describe(`from ${source} to`, () => {
    const judged = {};
    let pipeline, stop;

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'kms-pairs-'));
      pipeline = await client.create('MediaPipeline');
      const [element, start] = await make(pipeline);
      const sinks = await Promise.all(Object.entries(SINKS).map(async ([name, open]) => [name, ...(await open(pipeline))]));
      stop = await flowing(element, start);
      await Promise.all(sinks.map(([, sink]) => element.connect(sink)));
      for (const [name, , isGood] of sinks) {
        judged[name] = isGood();
        judged[name].catch(() => {}); // told by the test of this name
      }
      await Promise.allSettled(Object.values(judged));
    });

    after(async () => {
      await stop?.();
      await pipeline?.release();
      rmSync(folder, { recursive: true });
    });

    for (const sink of Object.keys(SINKS)) it(sink, () => judged[sink]);
  });
}
