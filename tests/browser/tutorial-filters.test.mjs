// The tutorials that change or look at pictures, used as a person would use them, with something to see before the camera.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TOP, program, startBrowser, startTutorial } from './start.mjs';
import { errorOf, fitsOnAPhone, kms, needsTheMediaServer, open, plays, reads, text } from './visitor.mjs';

let folder;
before(() => (folder = mkdtempSync(join(tmpdir(), 'kms-test-'))));
after(() => rmSync(folder, { recursive: true }));

/** A browser whose camera shows a picture: what ffmpeg makes of `input`. */
async function seeing(name, input, filter) {
  const camera = join(folder, `${name}.mjpeg`);
  execFileSync('ffmpeg', ['-v', 'error', ...input, '-t', '2', '-vf', `${filter},format=yuvj420p`, '-q:v', '3', camera]);
  return startBrowser(['--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${camera}`]);
}

/** A page that has started. */
async function look(browser, tutorial) {
  const page = await open(tutorial.url, browser);
  await fitsOnAPhone(page);
  await page.click('#start');
  await plays(page);
  return page;
}

async function leave(page) {
  await page.click('#stop');
  assert.equal(await text(page, 'state'), 'not started');
  await page.context().close();
}

async function shot(page, name) {
  if (process.env.KMS_SHOTS) await page.screenshot({ path: join(process.env.KMS_SHOTS, `${name}.png`), fullPage: true });
}

/** Red, green, blue and opacity at a place, parts of the width and height of a video or a canvas. */
const colour = (page, x, y, of = 'remote') =>
  page.$eval(`#${of}`, (shown, [x, y]) => {
    const [width, height] = [shown.videoWidth ?? shown.width, shown.videoHeight ?? shown.height];
    const canvas = new OffscreenCanvas(width, height).getContext('2d');
    canvas.drawImage(shown, 0, 0);
    return [...canvas.getImageData(x * width, y * height, 1, 1).data];
  }, [x, y]);

/** Waits until what is measured is as it should be. */
async function until(page, what, holds, measure) {
  let last;
  for (let tries = 0; tries < 75; tries++) {
    if (holds((last = await measure(page)))) return;
    await page.waitForTimeout(200);
  }
  assert.fail(`${what}: ${last}`);
}

describe('with a face before the camera', () => {
  let mirror;
  const tutorials = {};
  before(async () => {
    const face = join(TOP, 'tests/media/faces/astronaut.jpg');
    mirror = await seeing('face', ['-loop', '1', '-r', '15', '-i', face], 'crop=240:180:30:30,scale=640:480');
    for (const name of ['magic-mirror', 'selective-mosaic']) tutorials[name] = await startTutorial(name, kms.url);
  });
  after(async () => {
    for (const tutorial of Object.values(tutorials)) await tutorial.stop();
    await mirror?.close();
  });

  const nose = (page) => colour(page, 0.5, 0.51);

  it('magic-mirror puts on it what is chosen', async () => {
    const page = await look(mirror, tutorials['magic-mirror']);
    const isRed = ([red, green, blue]) => red > 150 && green < 90 && blue < 100;
    await page.selectOption('#costume', 'nose');
    await until(page, 'the nose is red', isRed, nose);
    await page.selectOption('#costume', 'nothing');
    await until(page, 'the nose is as it was', (colour) => !isRed(colour), nose);
    await page.selectOption('#costume', 'hat');
    const isDark = ([red, green, blue]) => red < 70 && green < 70 && blue < 80;
    await until(page, 'there is a hat', isDark, (page) => colour(page, 0.5, 0.06));
    await shot(page, 'mirror');
    await leave(page);
  });

  /** How much of the face's details can be seen: how far pixels are from those beside them, on average, where its eyes and nose are. */
  const detail = (page) =>
    page.$eval('#remote', (video) => {
      const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext('2d');
      canvas.drawImage(video, 0, 0);
      const [left, top, width, height] = [0.42, 0.33, 0.16, 0.16].map((part, n) => Math.round(part * (n % 2 ? video.videoHeight : video.videoWidth)));
      const { data } = canvas.getImageData(left, top, width, height);
      let sum = 0;
      for (let at = 4; at < data.length; at += 4) sum += Math.abs(data[at + 1] - data[at - 3]);
      return sum / (data.length / 4);
    });

  it('selective-mosaic hides it from all who watch until it is enrolled, and again when it is forgotten', async () => {
    const { url } = tutorials['selective-mosaic'];
    const viewer = await open(url); // before anybody is live
    await reads(viewer, 'invitation', 'Nobody is live');
    const host = await open(url, mirror);
    await fitsOnAPhone(host);
    await host.click('#present');
    await plays(host);
    await host.selectOption('#style', 'SOLID');
    await fitsOnAPhone(host);

    // A picture of it comes to who does not watch yet; then it is watched.
    await reads(viewer, 'invitation', 'Live now: press Watch');
    await viewer.waitForSelector('#thumbnail:not([hidden])');
    await until(viewer, 'the thumbnail is of the broadcast', (size) => size === '640x480',
      (page) => page.$eval('#thumbnail', (image) => `${image.naturalWidth}x${image.naturalHeight}`));
    await shot(viewer, 'mosaic-invited');
    await viewer.click('#watch');
    await plays(viewer);
    await reads(host, 'viewers', '1');
    for (const page of [host, viewer]) await until(page, 'the face is black', (seen) => seen < 1, detail);
    await host.waitForFunction(() => document.getElementById('faces').textContent.includes('a stranger'));

    await host.fill('#name', 'Eileen');
    await host.click('#enroll');
    await reads(host, 'enrolled', 'Eileen ✕');
    for (const page of [host, viewer]) await until(page, 'the face can be seen', (seen) => seen > 3, detail);
    await shot(host, 'mosaic');
    await host.click('#enrolled button');
    await reads(host, 'enrolled', 'nobody');
    await until(viewer, 'the face is black again', (seen) => seen < 1, detail);

    // A photo does as well, and one without a face is refused.
    await host.setInputFiles('#photo', join(TOP, 'tests/media/faces/astronaut.jpg'));
    await reads(host, 'enrolled', 'Eileen ✕');
    await until(viewer, 'the face can be seen again', (seen) => seen > 3, detail);
    const wall = join(folder, 'wall.jpg');
    execFileSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'color=c=gray:size=320x240', '-frames:v', '1', wall]);
    await host.fill('#name', 'Nobody');
    await host.setInputFiles('#photo', wall);
    assert.match(await errorOf(host), /face/);
    await host.setInputFiles('#photo', { name: 'notes.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('no picture') });
    await host.waitForFunction(() => /is no picture/.test(document.getElementById('error').textContent));
    await plays(viewer); // all that changes nothing for those who watch

    const second = await open(url);
    await second.waitForSelector('#watch:enabled');
    assert.ok(await second.isDisabled('#present'));
    await host.click('#stop');
    assert.match(await errorOf(viewer), /is over/);
    await reads(second, 'invitation', 'Nobody is live');
    assert.ok(await second.isHidden('#thumbnail'));
    await Promise.all([host, viewer, second].map((page) => page.context().close()));
  });

  needsTheMediaServer('selective-mosaic', '#present');
});

describe('object-detection', () => {
  const models = join(TOP, 'tests/media/models');
  const options = ['--model', join(models, 'yolo.onnx'), '--description', join(models, 'yolo.json')];
  // The toy looks at cells of an eighth of the picture's width and height. A white square fills one of them, and a little of those around.
  const [LEFT, UPPER, SIZE] = [3 / 8, 2 / 6, 1 / 8];
  const HIGH = 1 / 6;
  let tutorial, camera;
  before(async () => {
    const square = 'drawbox=x=232:y=152:w=96:h=96:color=white:t=fill';
    camera = await seeing('square', ['-f', 'lavfi', '-i', 'color=c=0x606060:size=640x480:rate=15'], square);
    tutorial = await startTutorial('object-detection', kms.url, ...options);
  });
  after(async () => {
    await tutorial?.stop();
    await camera?.close();
  });

  it('lists what is found, and draws a box around it', async () => {
    const page = await look(camera, tutorial);
    await reads(page, 'count', '1');
    const found = await page.$$eval('#found li', (all) => all.map((e) => e.textContent));
    assert.equal(found.length, 1);
    assert.match(found[0], /^bright \d+ %$/);

    const places = await page.$$eval('#remote, #boxes', (all) => all.map((e) => ({ ...e.getBoundingClientRect().toJSON() })));
    assert.deepEqual(places[0], places[1], 'the canvas lies over the video');
    const sizes = await page.$$eval('#remote, #boxes', ([video, canvas]) => [video.videoWidth, video.videoHeight, canvas.width, canvas.height]);
    assert.deepEqual(sizes.slice(0, 2), sizes.slice(2));
    const drawn = (x, y) => async (page) => (await colour(page, x, y, 'boxes'))[3] > 0;
    const [middle, center] = [LEFT + SIZE / 2, UPPER + HIGH / 2];
    for (const [what, x, y, line] of [
      ['the left edge', LEFT, center, true],
      ['the right edge', LEFT + SIZE, center, true],
      ['the lower edge', middle, UPPER + HIGH, true],
      ['within', middle, center, false],
      ['left of it', LEFT - 0.03, center, false],
      ['right of it', LEFT + SIZE + 0.03, center, false],
      ['below it', middle, UPPER + HIGH + 0.04, false],
    ]) {
      await until(page, what, (seen) => seen === line, drawn(x, y));
    }
    assert.ok((await colour(page, middle, center))[0] > 180, 'the square is white in the picture, which the server leaves as it is');
    await shot(page, 'detection');

    await page.click('#stop');
    assert.equal(await text(page, 'count'), '–');
    assert.deepEqual(await page.$$('#found li'), []);
    await page.context().close();
  });

  it('says which model there is not', async () => {
    const wrong = await startTutorial('object-detection', kms.url, '--model', '/nowhere/model.onnx');
    const page = await open(wrong.url);
    await page.click('#start');
    assert.match(await errorOf(page), /nowhere/);
    await page.waitForSelector('#start:enabled');
    await page.context().close();
    await wrong.stop();
    const without = spawnSync(program('tutorial-object-detection'), [], { encoding: 'utf8' });
    assert.equal(without.status, 2);
    assert.match(without.stderr, /--model PATH/);
  });

  needsTheMediaServer('object-detection', '#start', { options });
});

describe('chroma', () => {
  let tutorial, camera;
  before(async () => {
    // A red box before a wall that is green on the left, and blue on the right.
    const wall = 'drawbox=x=320:w=320:h=480:color=0x2030C0:t=fill,drawbox=x=220:y=260:w=200:h=220:color=red:t=fill,noise=alls=6:allf=t';
    camera = await seeing('wall', ['-f', 'lavfi', '-i', 'color=c=0x20C030:size=640x480:rate=15'], wall);
    tutorial = await startTutorial('chroma', kms.url);
  });
  after(async () => {
    await tutorial?.stop();
    await camera?.close();
  });

  const close = (wanted) => (seen) => wanted.every((value, n) => Math.abs(value - seen[n]) < 45);
  const [GREEN, BLUE, RED, BLACK] = [[0x20, 0xc0, 0x30], [0x20, 0x30, 0xc0], [254, 0, 0], [0, 0, 0]];
  const SKY = { beach: [0xf3, 0xaf, 0x6b], mountains: [0xbc, 0xd7, 0xf0] }; // their upper edge
  const left = (page) => colour(page, 0.15, 0.1);
  const right = (page) => colour(page, 0.85, 0.1);
  const box = (page) => colour(page, 0.5, 0.8);

  /** How much of the picture is green, 0 to 1. */
  const green = (page) =>
    page.$eval('#remote', (video) => {
      const canvas = new OffscreenCanvas(160, 120).getContext('2d');
      canvas.drawImage(video, 0, 0, 160, 120);
      const { data } = canvas.getImageData(0, 0, 160, 120);
      let count = 0;
      for (let at = 0; at < data.length; at += 4) if (data[at + 1] > data[at] + 60 && data[at + 1] > data[at + 2] + 60) count++;
      return count / (160 * 120);
    });

  it('replaces the wall by what is chosen, and learns another colour', async () => {
    const page = await look(camera, tutorial);
    await until(page, 'the beach is on the left', close(SKY.beach), left);
    await until(page, 'nothing is green', (part) => part < 0.01, green);
    await until(page, 'the right stays blue', close(BLUE), right);
    await until(page, 'the box stays red', close(RED), box);
    await shot(page, 'chroma');
    await page.selectOption('#background', 'mountains');
    await until(page, 'the mountains are on the left', close(SKY.mountains), left);
    await page.selectOption('#background', 'none');
    await until(page, 'it is black on the left', close(BLACK), left);
    await until(page, 'the box stays red', close(RED), box);

    await page.selectOption('#place', 'right');
    await until(page, 'it is black on the right', close(BLACK), right);
    await until(page, 'the left is green again', close(GREEN), left);
    await page.selectOption('#background', 'beach');
    await until(page, 'the beach is on the right', close(SKY.beach), right);
    await leave(page);
  });

  needsTheMediaServer('chroma', '#start');
});
