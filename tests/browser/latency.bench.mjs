// From a camera's glass to the browser's: a camera made of software flashes each second and tells when, and a page tells when it shows
// the flash. Both clocks are this machine's. Each figure includes encoding, in software, and a browser's decoding and buffering.

import { test } from 'node:test';
import { Party, sleep, until } from './party.mjs';
import { startCamera } from './sources.mjs';
import { browser, pipeline } from './stage.mjs';

const SECONDS = 40;
/** A picture whose mean is this much brighter than the one before begins a flash. */
const BRIGHTER = 60;

/** In the page: notes when a flash is shown. */
function watch(brighter) {
  const video = document.querySelector('video');
  const canvas = new OffscreenCanvas(16, 16).getContext('2d', { willReadFrequently: true });
  window.flashes = [];
  let before;
  const shown = (_, { expectedDisplayTime }) => {
    canvas.drawImage(video, 0, 0, 16, 16);
    const { data } = canvas.getImageData(0, 0, 16, 16);
    const mean = data.reduce((sum, value, index) => (index % 4 === 1 ? sum + value : sum), 0) / 256;
    if (mean > before + brighter) window.flashes.push(performance.timeOrigin + expectedDisplayTime);
    before = mean;
    video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const among = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))].toFixed(0);
  return `median ${at(0.5)} ms, least ${at(0)}, 90% below ${at(0.9)}, most ${at(1)}, of ${sorted.length} flashes`;
};

for (const scheme of ['rtsp', 'rtspu']) {
  test(`a camera of 640x360, 25 pictures a second, over ${scheme}://`, async (context) => {
    const camera = await startCamera('--width', '640', '--height', '360', '--bitrate', '1000', '--tell-flashes');
    const made = [];
    camera.said.on('line', (line) => made.push(Number(line.split('flash: ')[1])));
    const player = await pipeline.create('PlayerEndpoint', {
      uri: camera.uri.replace('rtsp', scheme), networkCache: 100,
    });
    const viewer = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
    await pipeline.setLatencyStats(true);
    await player.connect(viewer.endpoint, 'VIDEO');
    await viewer.join({ receive: ['video'], codec: 'H264' });
    await player.play();
    await until('the picture is there', async () => (await viewer.run('framesSince', 0)).count > 50);
    await viewer.page.evaluate(watch, BRIGHTER);
    await sleep(SECONDS * 1000);
    const seen = await viewer.page.evaluate(() => window.flashes);
    const ways = seen.map((at) => Math.min(...made.filter((when) => when <= at).map((when) => at - when)));
    const inside = Object.values(await viewer.endpoint.getStats('VIDEO'))
      .flatMap((stats) => stats.E2ELatency ?? []).map(({ avg }) => avg / 1e6);
    context.diagnostic(`glass to glass: ${among(ways)}`);
    if (inside.length > 0) context.diagnostic(`of that from camera to network in the server: ${median(inside).toFixed(1)} ms`);
    await viewer.close();
    await viewer.endpoint.release();
    await player.release();
    await camera.stop();
  });
}
