// Every tutorial, used as a person would use it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { WEBM, makeFile, startCamera } from './sources.mjs';
import { TOP, startBrowser, startMediaServer, startTutorial } from './start.mjs';

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
const reads = (page, id, wanted) =>
  page.waitForFunction(([id, wanted]) => document.getElementById(id).textContent === wanted, [id, wanted]);

async function fitsOnAPhone(page) {
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
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
      await fitsOnAPhone(page);
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

describe('with a face before the camera', () => {
  let folder, mirror;
  const tutorials = {};
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kms-test-'));
    const camera = join(folder, 'camera.mjpeg');
    const face = join(TOP, 'tests/media/faces/astronaut.jpg');
    const filter = 'crop=240:180:30:30,scale=640:480,format=yuvj420p';
    execFileSync('ffmpeg', ['-v', 'error', '-loop', '1', '-r', '15', '-i', face, '-t', '2', '-vf', filter, '-q:v', '3', camera]);
    mirror = await startBrowser(['--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${camera}`]);
    for (const name of ['magic-mirror', 'selective-mosaic']) tutorials[name] = await startTutorial(name, kms.url);
  });
  after(async () => {
    for (const tutorial of Object.values(tutorials)) await tutorial.stop();
    await mirror?.close();
    rmSync(folder, { recursive: true });
  });

  async function look(name) {
    const page = await (await mirror.newContext({ viewport: PHONE })).newPage();
    page.on('pageerror', (error) => assert.fail(error));
    await page.goto(tutorials[name].url);
    await fitsOnAPhone(page);
    await page.click('#start');
    await plays(page);
    return page;
  }

  /** Red, green and blue at a place, parts of the picture's width and height. */
  const colour = (page, x, y) =>
    page.$eval('#remote', (video, [x, y]) => {
      const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext('2d');
      canvas.drawImage(video, 0, 0);
      return [...canvas.getImageData(x * video.videoWidth, y * video.videoHeight, 1, 1).data];
    }, [x, y]);
  const nose = (page) => colour(page, 0.5, 0.51);

  const until = async (page, what, holds, measure = nose) => {
    let last;
    for (let tries = 0; tries < 75; tries++) {
      if (holds((last = await measure(page)))) return;
      await page.waitForTimeout(200);
    }
    assert.fail(`${what}: ${last}`);
  };

  it('magic-mirror puts on it what is chosen', async () => {
    const page = await look('magic-mirror');
    const isRed = ([red, green, blue]) => red > 150 && green < 90 && blue < 100;
    await page.selectOption('#costume', 'nose');
    await until(page, 'the nose is red', isRed);
    await page.selectOption('#costume', 'nothing');
    await until(page, 'the nose is as it was', (colour) => !isRed(colour));
    await page.selectOption('#costume', 'hat');
    const isDark = ([red, green, blue]) => red < 70 && green < 70 && blue < 80;
    for (let tries = 0; !isDark(await colour(page, 0.5, 0.06)); tries++) {
      assert.ok(tries < 75, 'there is no hat');
      await page.waitForTimeout(200);
    }
    if (process.env.KMS_SHOTS) {
      await page.screenshot({ path: join(process.env.KMS_SHOTS, 'mirror.png') });
    }
    await page.click('#stop');
    assert.equal(await text(page, 'state'), 'not started');
    await page.context().close();
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

  it('selective-mosaic hides it until it is enrolled, and again when it is forgotten', async () => {
    const page = await look('selective-mosaic');
    await page.selectOption('#style', 'SOLID');
    await until(page, 'the face is black', (seen) => seen < 1, detail);
    await page.waitForFunction(() => document.getElementById('faces').textContent.includes('a stranger'));
    await page.click('#enroll');
    await reads(page, 'enrolled', 'me');
    await until(page, 'the face can be seen', (seen) => seen > 3, detail);
    if (process.env.KMS_SHOTS) await page.screenshot({ path: join(process.env.KMS_SHOTS, 'mosaic.png') });
    await page.click('#forget');
    await reads(page, 'enrolled', 'nobody');
    await until(page, 'the face is black again', (seen) => seen < 1, detail);
    await page.click('#stop');
    assert.equal(await text(page, 'state'), 'not started');
    await page.context().close();
  });
});

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
    await late.waitForSelector('#present:disabled'); // the stage is taken, as the page is told once it is open
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

describe('player', () => {
  let tutorial, folder, file;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kms-tutorial-player-'));
    file = makeFile(folder, 'film.webm', ...WEBM);
    tutorial = await startTutorial('player', kms.url);
  });
  after(async () => {
    await tutorial?.stop();
    rmSync(folder, { recursive: true });
  });

  async function play(page, uri) {
    await page.fill('#uri', uri);
    await page.click('#start');
  }
  const position = (page) => page.$eval('#seek', (bar) => Number(bar.value));
  /** Lets the seek bar go at a position, as a finger would. */
  const seek = (page, millis) =>
    page.$eval('#seek', (bar, millis) => {
      bar.value = millis;
      bar.dispatchEvent(new Event('input'));
      bar.dispatchEvent(new Event('change'));
    }, millis);

  it('plays a file, pauses, jumps, and plays it again after its end', async () => {
    const page = await open(tutorial.url);
    await play(page, file);
    await plays(page);
    await reads(page, 'player', 'plays');
    assert.equal(await text(page, 'length'), '0:20');
    await fitsOnAPhone(page);

    await page.click('#pause');
    await reads(page, 'player', 'paused');
    assert.equal(await text(page, 'pause'), 'Resume');
    await page.waitForTimeout(1000);
    const stood = await position(page);
    await page.waitForTimeout(1500);
    assert.ok((await position(page)) - stood < 250, 'it stands');
    await page.click('#pause');
    await reads(page, 'player', 'plays');

    await seek(page, 17_000);
    await page.waitForFunction(() => Number(document.getElementById('seek').value) > 16_000);
    await reads(page, 'player', 'at its end');
    assert.equal(await text(page, 'pause'), 'Again');
    await page.click('#pause');
    await reads(page, 'player', 'plays');
    await plays(page);
    await page.click('#stop');
    assert.equal(await text(page, 'state'), 'not started');
    assert.ok(await page.isHidden('#seeking'));
    await page.context().close();
  });

  it('plays a camera, without a seek bar, and says when it is lost', async () => {
    const camera = await startCamera();
    const page = await open(tutorial.url);
    await play(page, camera.uri);
    await plays(page);
    await reads(page, 'length', 'live');
    assert.ok(await page.isHidden('#seeking'));
    await camera.stop();
    await reads(page, 'player', 'camera is lost, trying again');
    await page.click('#stop');
    await page.context().close();
  });

  it('says what can’t be played, and why', async () => {
    const page = await open(tutorial.url);
    for (const [uri, why] of [
      ['rtsp://127.0.0.1:1/camera', /127\.0\.0\.1 can't be reached/],
      [`file://${folder}/missing.webm`, /missing\.webm can't be played/],
      ['ftp://camera', /'ftp' can't be played/],
    ]) {
      await play(page, uri);
      assert.match(await errorOf(page), why);
      await page.waitForSelector('#start:enabled');
      assert.equal(await text(page, 'state'), 'not started');
    }
    await page.context().close();
  });
});

describe('recorder', () => {
  let tutorial;
  before(async () => (tutorial = await startTutorial('recorder', kms.url)));
  after(() => tutorial?.stop());
  const files = () => readdirSync(tmpdir()).filter((name) => name.startsWith('kms-tutorial-recorder-'));

  it('records the camera, and plays it to its end', async () => {
    const before = files();
    const page = await open(tutorial.url);
    assert.ok(await page.isDisabled('#watch'), 'there is nothing to watch yet');
    await page.click('#record');
    await reads(page, 'recorder', 'records');
    await page.waitForTimeout(4000);
    assert.match(await text(page, 'length'), /^0:0[3-9]$/);
    await fitsOnAPhone(page);
    await page.click('#stop');
    await page.waitForSelector('#watch:enabled');
    const [file] = files().filter((name) => !before.includes(name));
    assert.ok(file, 'there is a file');

    await page.click('#watch');
    await plays(page);
    await reads(page, 'state', 'not started'); // its end
    await page.context().close();
    for (let i = 0; i < 50 && existsSync(join(tmpdir(), file)); i++) await new Promise((r) => setTimeout(r, 100));
    assert.ok(!existsSync(join(tmpdir(), file)), 'the file goes with the page');
  });

  it('says that the media server can’t be reached', async () => {
    const alone = await startTutorial('recorder', 'ws://127.0.0.1:1/kurento');
    const page = await open(alone.url);
    await page.click('#record');
    assert.match(await errorOf(page), /can't reach the media server/);
    assert.ok(await page.isEnabled('#record'));
    await alone.stop();
    await page.context().close();
  });
});
