// Files and cameras in the browser.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Party, sleep, until } from './party.mjs';
import { WEBM, makeFile } from './sources.mjs';
import { browser, folder, pipeline } from './stage.mjs';

const make = (name, ...encoding) => makeFile(folder, name, ...encoding);

/** A party that only watches. */
async function viewer(codec) {
  const one = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
  await one.join({ receive: ['audio', 'video'], codec });
  return one;
}

async function plays(viewer, codec) {
  await until('the picture is there', async () => (await viewer.run('framesSince', 0)).count > 25);
  const first = await viewer.numbers();
  await sleep(4000);
  const then = await viewer.numbers();
  const fps = (then.video.framesDecoded - first.video.framesDecoded) / 4;
  assert.ok(fps > 22, `${fps} frames a second of 25`);
  assert.equal(then.video.codec, `video/${codec}`);
  assert.equal(then.video.frameWidth, 640);
  assert.ok(then.audio.totalAudioEnergy > first.audio.totalAudioEnergy, 'the tone is heard');
}

async function leave(viewer) {
  await viewer.close();
  await viewer.endpoint.release();
}

describe('a file', () => {
  const files = [
    ['as it is', 'vp8.webm', ['-c:v', 'libvpx', '-deadline', 'realtime', '-b:v', '1M', '-c:a', 'libopus'], 'VP8'],
    ['converted from H.264 and AAC for one who takes VP8', 'h264.mp4',
      ['-c:v', 'libx264', '-preset', 'ultrafast', '-c:a', 'aac'], 'VP8'],
    ['encoded anew where its pictures are not in order, which browsers do not take', 'order.mp4',
      ['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '3', '-c:a', 'aac'], 'H264'],
    ['converted from VP8 for one who takes H.264', 'vp8b.webm',
      ['-c:v', 'libvpx', '-deadline', 'realtime', '-b:v', '1M', '-c:a', 'libvorbis'], 'H264'],
  ];
  for (const [how, name, encoding, codec] of files) {
    it(`is seen and heard ${how}`, async () => {
      const player = await pipeline.create('PlayerEndpoint', { uri: make(name, ...encoding) });
      const one = await viewer(codec);
      await player.connect(one.endpoint);
      await player.play();
      await plays(one, codec);
      assert.equal(await player.isMediaTranscoding('VIDEO'), how !== 'as it is');
      await leave(one);
      await player.release();
    });
  }

  it('is seen by one who joins late, and by one who was connected before all else', async () => {
    const uri = make('late.webm', '-c:v', 'libvpx', '-deadline', 'realtime', '-b:v', '1M', '-c:a', 'libopus');
    const player = await pipeline.create('PlayerEndpoint', { uri });
    const early = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
    await player.connect(early.endpoint);
    await player.play();
    await sleep(1000);
    await early.join({ receive: ['audio', 'video'], codec: 'VP8' });
    await plays(early, 'VP8');
    const late = await viewer('VP8');
    await player.connect(late.endpoint);
    await plays(late, 'VP8');
    await leave(early);
    await leave(late);
    await player.release();
  });
});

describe('an upload', () => {
  it('of a page of another site is seen while it is uploaded', async () => {
    const file = make('upload.webm', ...WEBM).replace('file://', '');
    const endpoint = await pipeline.create('HttpPostEndpoint');
    const one = await viewer('VP8');
    await endpoint.connect(one.endpoint);
    const page = await browser.newPage();
    const site = createServer((_, answer) => answer.end('<title>another site</title>')).listen(0, '127.0.0.1');
    await once(site, 'listening');
    await page.goto(`http://127.0.0.1:${site.address().port}`);
    const answer = page.evaluate(async ([url, bytes]) => {
      const body = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
      // This type is one that a browser asks for permission first (CORS).
      const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'video/webm' }, body });
      return `${answer.status} ${await answer.text()}`;
    }, [await endpoint.getUrl(), readFileSync(file).toString('base64')]);
    await plays(one, 'VP8');
    assert.match(await answer, /^200 .*played to its end/);
    await page.close();
    site.close();
    await leave(one);
    await endpoint.release();
  });
});
