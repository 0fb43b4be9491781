// The page to look at live pipelines, beside a live pipeline.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, it } from 'node:test';
import { connect, Party, until } from './party.mjs';
import { WEBM, makeFile } from './sources.mjs';
import { browser, client, kms, pipeline } from './stage.mjs';
import { startBrowser, startMediaServer } from './start.mjs';

const CONSOLE = () => kms.url.replace('ws:', 'http:').replace('/kurento', '/console');

afterEach(() => Promise.all(browser.contexts().map((context) => context.close())));

/** The page, opened; what it complains of is kept. */
async function open(url = CONSOLE(), options = {}, into = browser) {
  const context = await into.newContext(options);
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.goto(url);
  return Object.assign(page, { errors });
}

const texts = (page, selector) => page.$$eval(selector, (all) => all.map((one) => one.textContent));

it('shows pipelines as they come and go, and their elements, codecs, bitrates and conversions', async () => {
  await pipeline.setName('a call <b>&');
  const presenter = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
  await presenter.endpoint.setName('presenter');
  await presenter.join({ send: ['audio', 'video'], codec: 'VP8' });
  const viewer = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
  await presenter.endpoint.connect(viewer.endpoint);
  await viewer.join({ receive: ['audio', 'video'], codec: 'H264' });
  await until('it is seen', async () => (await viewer.run('framesSince', 0)).count > 10, 20);

  const page = await open();
  await until('the pipeline is listed', async () => (await texts(page, '#pipelines button')).some((t) => t.startsWith('a call <b>&2 elements')));
  await page.click('#pipelines button');
  await until('both are drawn', async () => (await texts(page, '.node .name')).length === 2);
  assert.deepEqual(await texts(page, '.node .name'), ['WebRtcEndpoint', 'WebRtcEndpoint']);
  assert.ok((await texts(page, '.node .state')).includes('presenter'));
  await until('what flows is told', async () => {
    const labels = await texts(page, '.edge-label');
    return labels.some((text) => /^VP8 → H264, [\d.]+ [kM]bit\/s, \d+ fps$/.test(text)) && labels.some((text) => /^opus, /i.test(text));
  });
  assert.equal(await page.locator('path.VIDEO.converted').count(), 1);
  assert.equal(await page.locator('path.AUDIO.converted').count(), 0);
  assert.deepEqual(await texts(page, '.node .converts'), ['converts video']);
  await page.locator('.node', { hasText: 'presenter' }).click();
  await until('its statistics are told', async () => (await texts(page, '#facts td')).includes('packetsReceived'));
  const received = async () => {
    const cells = await texts(page, '#facts td');
    return Number(cells[cells.lastIndexOf('packetsReceived') + 1]);
  };
  const before = await received();
  await until('and go on', async () => (await received()) > before);
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });

  const third = await pipeline.create('PassThrough');
  await until('a new element is drawn', async () => (await texts(page, '.node .name')).length === 3);
  await third.release();
  await until('and goes', async () => (await texts(page, '.node .name')).length === 2);
  await viewer.endpoint.release();
  await until('the conversion ends', async () => (await texts(page, '.node .converts')).length === 0);
  const second = await client.create('MediaPipeline');
  await until('a new pipeline is listed', async () => (await texts(page, '#pipelines button')).length === 2);
  await second.release();
  await until('and goes', async () => (await texts(page, '#pipelines button')).length === 1);
  assert.deepEqual(page.errors, []);
  await presenter.endpoint.release();
});

it('tells what flows of a file into a recording and a browser, and what it is made into', async () => {
  await pipeline.setName('files');
  const folder = mkdtempSync(join(tmpdir(), 'kms-console-'));
  const film = makeFile(folder, 'film.webm', ...WEBM);
  const player = await pipeline.create('PlayerEndpoint', { uri: film });
  const recorder = await pipeline.create('RecorderEndpoint', { uri: `file://${folder}/out.mp4`, mediaProfile: 'MP4_VIDEO_ONLY' });
  const viewer = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
  await player.connect(recorder);
  await player.connect(viewer.endpoint);
  await viewer.join({ receive: ['audio', 'video'] });
  await recorder.record();
  await player.play();
  const page = await open();
  await page.locator('#pipelines button', { hasText: 'files' }).click();
  await until('what the file gives is told', async () => {
    const labels = await texts(page, '.edge-label');
    // 25 frames a second, by looks that are a second apart, more or less.
    return ['VP8', 'VP8 → H264'].every((codec) => labels.some((text) => new RegExp(`^${codec}, [\\d.]+ [kM]bit/s, 2\\d fps$`).test(text)));
  });
  await page.locator('.node', { hasText: 'PlayerEndpoint' }).click();
  await until('what it is made into is told', async () => {
    const cells = await texts(page, '#facts td');
    const made = cells.filter((_, place) => cells[place - 1] === 'video converted');
    return ['raw', 'H264'].every((codec) => made.some((text) => new RegExp(`^${codec}, .*, 2\\d fps$`).test(text)));
  });
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT.replace('.png', '-files.png') });
  assert.deepEqual(page.errors, []);
  await Promise.all([player, recorder, viewer.endpoint].map((element) => element.release()));
  rmSync(folder, { recursive: true });
});

it('holds nothing that its owner has left', async () => {
  const forgetful = await startMediaServer({ env: { KMS_SESSION_GARBAGE_COLLECTOR_PERIOD_S: '3' } });
  try {
    const owner = await connect(forgetful.url);
    const theirs = await owner.create('MediaPipeline');
    await theirs.setName('theirs');
    await theirs.create('PassThrough');
    const page = await open(forgetful.url.replace('ws:', 'http:').replace('/kurento', '/console'));
    const entry = page.locator('#pipelines button', { hasText: 'theirs' });
    await entry.click();
    await until('it is drawn', async () => (await texts(page, '.node .name')).length === 1);
    owner.close();
    await until('it goes with its owner', async () => (await entry.count()) === 0, 15);
    assert.equal(await page.locator('#none').isVisible(), true);
    assert.deepEqual(page.errors, []);
  } finally {
    await forgetful.stop();
  }
});

it('fits a phone', async () => {
  await pipeline.setName('small');
  const element = await pipeline.create('PassThrough');
  const page = await open(CONSOLE(), { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true });
  await page.locator('#pipelines button').tap();
  await page.locator('.node').tap();
  await page.locator('#facts td', { hasText: /^PassThrough$/ }).waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${wide} pixels stick out`);
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT.replace('.png', '-phone.png'), fullPage: true });
  await element.release();
});

it('asks for a token where one is needed, and keeps it out of the address', async () => {
  const token = 'a-token-of-this-test';
  const guarded = await startMediaServer({ env: { KMS_ACCESS_TOKENS: token } });
  const own = await startBrowser();
  try {
    const page = await open(guarded.url.replace('ws:', 'http:').replace('/kurento', '/console'), {}, own);
    await page.fill('input[name=access_token]', token);
    await page.click('button');
    await page.locator('#server', { hasText: 'version' }).waitFor();
    assert.ok(!page.url().includes(token), page.url());
    await page.reload();
    await page.locator('input[name=access_token]').waitFor();
  } finally {
    await own.close();
    await guarded.stop();
  }
});
