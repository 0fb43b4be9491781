// Kurento's module `chroma`, as its official package knows it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { it } from 'node:test';
import kurento from 'kurento-client';
import chroma from 'kurento-module-chroma';
import { sleep, until } from './party.mjs';
import { folder, pipeline } from './stage.mjs';

const [WIDTH, HEIGHT] = [320, 240];

/** Pictures of a file, and the colour at a place of one of them: red, green, blue. */
function pictures(file) {
  const raw = execFileSync('ffmpeg', ['-v', 'error', '-i', file, '-an', '-fps_mode', 'passthrough', '-pix_fmt', 'rgb24',
    '-f', 'rawvideo', '-'], { maxBuffer: 1 << 30 });
  const size = WIDTH * HEIGHT * 3;
  return {
    count: raw.length / size,
    at: (n, x, y) => [...raw.subarray(n * size + (y * WIDTH + x) * 3).subarray(0, 3)],
  };
}

const is = (found, wanted) => found.every((value, n) => Math.abs(value - wanted[n]) < 40);

it('a green wall gives way to an image, and to black without one', async () => {
  kurento.register(chroma);
  // A red box before a green wall.
  const film = join(folder, 'wall.webm');
  execFileSync('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', '-i',
    `color=c=0x20C030:size=${WIDTH}x${HEIGHT}:rate=25,drawbox=x=120:y=80:w=80:h=80:color=red:t=fill,noise=alls=6:allf=t`,
    '-t', '30', '-c:v', 'libvpx', '-deadline', 'realtime', '-b:v', '1M', film]);
  const image = join(folder, 'blue.png');
  execFileSync('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', '-i', 'color=c=blue:size=64x64', '-frames:v', '1', image]);

  const player = await pipeline.create('PlayerEndpoint', { uri: `file://${film}` });
  const window = kurento.getComplexType('chroma.WindowParam')({ topRightCornerX: 10, topRightCornerY: 10, width: 40, height: 40 });
  const filter = await pipeline.create('chroma.ChromaFilter', { window, backgroundImage: `file://${image}` });
  const file = join(folder, 'keyed.mp4');
  const recorder = await pipeline.create('RecorderEndpoint', { uri: `file://${file}`, mediaProfile: 'MP4_VIDEO_ONLY' });
  let begun = false;
  recorder.on('Recording', () => (begun = true));
  await player.connect(filter);
  await filter.connect(recorder);
  await recorder.record();
  await player.play();
  await until('the recording begins', () => begun, 15);
  await sleep(2000);
  await filter.unsetBackground();
  await sleep(1500);
  await recorder.stopAndWait();

  const { count, at } = pictures(file);
  const early = 30;
  assert.ok(count > 50, `${count} pictures`);
  assert.ok(is(at(0, 20, 120), [0x20, 0xc0, 0x30]), `${at(0, 20, 120)}: the colour is learnt first`);
  assert.ok(is(at(early, 20, 120), [0, 0, 254]) && is(at(early, 300, 20), [0, 0, 254]), `${at(early, 20, 120)}`);
  assert.ok(is(at(early, 160, 120), [254, 0, 0]), `${at(early, 160, 120)}: the box stays`);
  assert.ok(is(at(count - 1, 20, 120), [0, 0, 0]) && is(at(count - 1, 160, 120), [254, 0, 0]), `${at(count - 1, 20, 120)}`);
  await new Promise((done) => filter.setBackground('file:///nowhere.png', (error) => {
    assert.match(error?.message ?? '', /No such file/);
    done();
  }));
});
