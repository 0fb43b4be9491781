// Every tutorial, used as a person would use it.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startBrowser, startMediaServer, startTutorial } from './start.mjs';

const PHONE = { width: 390, height: 844 };

let kms, browser;
before(async () => {
  [kms, browser] = await Promise.all([startMediaServer(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await kms?.stop();
});

/** Opens a page; errors in its scripts fail the test. */
async function open(url, viewport = PHONE) {
  const page = await (await browser.newContext({ viewport })).newPage();
  page.on('pageerror', (error) => assert.fail(error));
  await page.goto(url);
  return page;
}

const text = (page, id) => page.textContent(`#${id}`);
const errorOf = (page) => page.waitForSelector('#error:not([hidden])').then((e) => e.textContent());

/** Waits until the page says that frames are decoded, and looks whether the picture really moves. */
async function plays(page, video = 'remote') {
  await page.waitForFunction(() => Number(document.getElementById('fps').textContent) > 0);
  const time = () => page.$eval(`#${video}`, (v) => v.currentTime);
  const then = await time();
  await page.waitForTimeout(500);
  assert.ok((await time()) > then, 'the picture stands still');
  assert.equal(await text(page, 'state'), 'connected');
  assert.match(await text(page, 'resolution'), /^\d+ × \d+$/);
}

for (const name of ['hello-world', 'hello-world-node']) {
  describe(name, () => {
    let tutorial;
    before(async () => (tutorial = await startTutorial(name, kms.url)));
    after(() => tutorial?.stop());

    it('brings the camera back, and again after Stop', async () => {
      const page = await open(tutorial.url);
      for (let round = 0; round < 2; round++) {
        await page.click('#start');
        await plays(page);
        await page.click('#stop');
        assert.equal(await text(page, 'state'), 'not started');
        assert.equal(await text(page, 'fps'), '–');
      }
      await page.context().close();
    });

    it('fits on a phone', async () => {
      const page = await open(tutorial.url);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
      await page.context().close();
    });

    it('says that the media server can’t be reached', async () => {
      const alone = await startTutorial(name, 'ws://127.0.0.1:1/kurento');
      const page = await open(alone.url);
      await page.click('#start');
      assert.match(await errorOf(page), /can't reach the media server/);
      await alone.stop();
      await page.context().close();
    });
  });
}

it('hello-world says that the camera was refused', async () => {
  const strict = await startBrowser(['--deny-permission-prompts']);
  const tutorial = await startTutorial('hello-world', kms.url);
  const page = await strict.newPage();
  await page.goto(tutorial.url);
  await page.click('#start');
  assert.match(await errorOf(page), /may not use the camera/);
  await strict.close();
  await tutorial.stop();
});

describe('one2many-call', () => {
  let tutorial;
  before(async () => (tutorial = await startTutorial('one2many-call', kms.url)));
  after(() => tutorial?.stop());

  it('shows the presenter to early and late viewers, until the presenter leaves', async () => {
    const early = await open(tutorial.url);
    assert.ok(await early.isDisabled('#watch'), 'there is nothing to watch yet');
    const presenter = await open(tutorial.url);
    await presenter.click('#present');
    await plays(presenter, 'video');
    await early.click('#watch');
    await plays(early, 'video');

    const late = await open(tutorial.url);
    assert.ok(await late.isDisabled('#present'), 'the stage is taken');
    await late.click('#watch');
    await plays(late, 'video');
    assert.equal(await text(presenter, 'viewers'), '2');

    await late.click('#stop');
    await presenter.waitForFunction(() => document.getElementById('viewers').textContent === '1');
    await plays(early, 'video');
    await presenter.context().close();
    assert.match(await errorOf(early), /presenter has left/);
    await early.waitForSelector('#present:enabled');
    await Promise.all([early, late].map((page) => page.context().close()));
  });
});

describe('one2one-call', () => {
  let tutorial;
  before(async () => (tutorial = await startTutorial('one2one-call', kms.url)));
  after(() => tutorial?.stop());

  async function person(name) {
    const page = await open(tutorial.url);
    await register(page, name);
    await page.waitForSelector('#calling:not([hidden])');
    return page;
  }

  async function register(page, name) {
    await page.fill('#name', name);
    await page.click('#registration button');
  }

  async function call(page, name) {
    await page.fill('#to', name);
    await page.click('#call');
  }

  it('rings, rejects, talks, hangs up', async () => {
    const [anna, zoe] = [await person('Anna'), await person('Zoë')];
    await call(anna, 'Nobody');
    assert.match(await errorOf(anna), /not here/);

    await call(anna, 'Zoë');
    await zoe.waitForSelector('#ringing[open]');
    assert.equal(await text(zoe, 'caller'), 'Anna');
    await zoe.click('#reject');
    assert.match(await errorOf(anna), /not accepted/);

    await call(anna, 'Zoë');
    await zoe.waitForSelector('#ringing[open]');
    await anna.click('#stop');
    await zoe.waitForSelector('#ringing[open]', { state: 'hidden' });

    await call(anna, 'Zoë');
    await zoe.click('#accept');
    await Promise.all([plays(anna), plays(zoe)]);

    const carl = await person('Carl');
    await call(carl, 'Anna');
    assert.match(await errorOf(carl), /busy/);
    await plays(anna); // undisturbed

    await zoe.click('#stop');
    await anna.waitForFunction(() => document.getElementById('state').textContent === 'not started');
    await Promise.all([anna, zoe, carl].map((page) => page.context().close()));
  });

  it('gives a name to one person only, and frees it when that one leaves', async () => {
    const first = await person('Eve');
    const second = await open(tutorial.url);
    await register(second, 'Eve');
    assert.match(await errorOf(second), /is here already/);
    await first.context().close();
    await second.waitForTimeout(200);
    await register(second, 'Eve');
    await second.waitForSelector('#calling:not([hidden])');
    await second.context().close();
  });
});
