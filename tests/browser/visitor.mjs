// A person before a tutorial's page: what the tests of tutorials share. Each file of tests has a media server and a browser of its own.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { startBrowser, startMediaServer, startTutorial } from './start.mjs';

const PHONE = { width: 390, height: 844 };

export let kms, browser;
before(async () => {
  [kms, browser] = await Promise.all([startMediaServer(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await kms?.stop();
});

/** Opens a page; errors in its scripts fail the test. */
export async function open(url, by = browser) {
  const page = await (await by.newContext({ viewport: PHONE })).newPage();
  page.on('pageerror', (error) => assert.fail(error));
  await page.goto(url);
  return page;
}

export const text = (page, id) => page.textContent(`#${id}`);
export const errorOf = (page) => page.waitForSelector('#error:not([hidden])').then((e) => e.textContent());

/** Waits until the page says that frames are decoded, and looks whether the picture really moves. */
export async function plays(page, video = 'remote') {
  await page.waitForFunction(() => Number(document.getElementById('fps').textContent) > 0).catch(async (cause) => {
    const said = await page.$$eval('#error:not([hidden]), .facts div', (all) => all.map((e) => e.innerText.replace('\n', ': ')));
    throw new Error(`there is no picture; the page says ${said.join(', ')}`, { cause });
  });
  const time = () => page.$eval(`#${video}`, (v) => v.currentTime);
  const then = await time();
  await page.waitForTimeout(500);
  assert.ok((await time()) > then, 'the picture stands still');
  assert.equal(await text(page, 'state'), 'connected');
  assert.match(await text(page, 'resolution'), /^\d+ × \d+$/);
}

/** Waits until an element's text is this. */
export const reads = (page, id, wanted) =>
  page.waitForFunction(([id, wanted]) => document.getElementById(id).textContent === wanted, [id, wanted]);

export async function fitsOnAPhone(page) {
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
}

/** A test: without a media server the page says so, and the button can be pressed again. */
export function needsTheMediaServer(name, button, { prepare, options = [] } = {}) {
  it('says that the media server can’t be reached', async () => {
    const alone = await startTutorial(name, 'ws://127.0.0.1:1/kurento', ...options);
    const page = await open(alone.url);
    await prepare?.(page);
    await page.click(button);
    assert.match(await errorOf(page), /can't reach the media server/);
    assert.ok(await page.isEnabled(button));
    await alone.stop();
    await page.context().close();
  });
}
