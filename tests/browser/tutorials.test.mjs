// The tutorials, used as a person would use them; those that change pictures are in tutorial-filters.test.mjs.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect, until } from './party.mjs';
import { WEBM, makeFile, startCamera } from './sources.mjs';
import { startBrowser, startTutorial } from './start.mjs';
import { errorOf, fitsOnAPhone, kms, needsTheMediaServer, open, plays, reads, text } from './visitor.mjs';

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

    needsTheMediaServer(name, '#start');
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

describe('group-call', () => {
  let tutorial, client;
  before(async () => {
    tutorial = await startTutorial('group-call', kms.url);
    client = await connect(kms.url);
  });
  after(async () => {
    client?.close();
    await tutorial?.stop();
  });

  async function enter(page, room, name) {
    await page.fill('#room', room);
    await page.fill('#name', name);
    await page.click('#join');
  }

  async function person(room, name) {
    const page = await open(tutorial.url);
    await enter(page, room, name);
    await reads(page, 'state', 'connected');
    return page;
  }

  /** The captions of what the page shows beside its own camera. */
  const captions = (page) => page.$$eval('figcaption:not(#me)', (all) => all.map((e) => e.textContent).sort());
  const shows = (page, ...names) =>
    until(`the page shows ${names}`, async () => (await captions(page)).join() === names.join());

  /** The picture of this caption, 32 by 24 pixels, as red, green, blue and opacity of each; null if there is none yet. */
  const picture = (page, caption) =>
    page.evaluate((caption) => {
      const figure = [...document.querySelectorAll('figure')].find((f) => f.querySelector('figcaption').textContent === caption);
      const video = figure?.querySelector('video');
      if (!video?.videoWidth) return null;
      const canvas = new OffscreenCanvas(32, 24).getContext('2d');
      canvas.drawImage(video, 0, 0, 32, 24);
      return [...canvas.getImageData(0, 0, 32, 24).data];
    }, caption);

  /** Waits until the picture moves within a part of it, columns and rows of 32 by 24: until what is there is not what it was. */
  async function moves(page, caption, [left, right] = [0, 32], [upper, lower] = [0, 24]) {
    let first;
    const within = (at) => {
      const [column, row] = [Math.floor(at / 4) % 32, Math.floor(at / 128)];
      return column >= left && column < right && row >= upper && row < lower;
    };
    await until(`${caption} moves in columns ${left} to ${right}, rows ${upper} to ${lower}`, async () => {
      const seen = await picture(page, caption);
      first ??= seen;
      return seen?.some((value, at) => within(at) && Math.abs(value - first[at]) > 60);
    }, 30);
  }

  /** Waits until three people are in the mixed picture: two above, one below in the middle, and black beside it. */
  async function mixes(page) {
    await moves(page, 'Everybody', [0, 15], [0, 11]);
    await moves(page, 'Everybody', [17, 32], [0, 11]);
    await moves(page, 'Everybody', [9, 23], [13, 24]);
    const seen = await picture(page, 'Everybody');
    for (const column of [3, 28]) {
      const colour = seen.slice((18 * 32 + column) * 4).slice(0, 3);
      assert.ok(colour.every((value) => value < 40), `${colour} is not black`);
    }
  }

  /** What the media server has: pipelines, or the mixers in them. */
  async function pipelines() {
    const manager = await client.getServerManager();
    for (;;) {
      // kurento-client describes each id that is answered; it gives nothing at all if one of them is released meanwhile.
      const all = await manager.getPipelines();
      if (all) return all;
    }
  }
  async function mixers() {
    const children = await Promise.all((await pipelines()).map((pipeline) => pipeline.getChildren()));
    return children.flat().filter(({ id }) => id.includes('Composite')).length;
  }

  it('shows everybody to everybody, each or mixed, until they leave', async () => {
    const anna = await person('tea', 'Anna');
    const ben = await person('tea', 'Ben');
    const cleo = await person('tea', 'Cleo'); // sees those who were there before
    const others = [[anna, 'Ben', 'Cleo'], [ben, 'Anna', 'Cleo'], [cleo, 'Anna', 'Ben']];
    for (const [page, ...names] of others) {
      await shows(page, ...names);
      await reads(page, 'count', '3');
      for (const name of names) await moves(page, name);
    }
    await fitsOnAPhone(anna);
    assert.equal(await mixers(), 0, 'nobody wants a mixed picture');

    await ben.selectOption('#view', 'mixed');
    await shows(ben, 'Everybody');
    await mixes(ben);
    await moves(anna, 'Ben'); // who still sends
    assert.equal(await mixers(), 1);
    await ben.selectOption('#view', 'each');
    await shows(ben, 'Anna', 'Cleo');
    await moves(ben, 'Anna');
    await until('the mixer is gone', async () => (await mixers()) === 0);

    await ben.selectOption('#view', 'mixed');
    await moves(ben, 'Everybody');
    await cleo.click('#leave');
    await shows(anna, 'Ben');
    await reads(cleo, 'state', 'not started');
    assert.deepEqual(await captions(cleo), []);
    await ben.context().close(); // without a word
    await shows(anna);
    await until('the mixer is gone', async () => (await mixers()) === 0);
    assert.equal((await pipelines()).length, 1, 'Anna is still there');
    await anna.click('#leave');
    await until('nothing is left', async () => (await pipelines()).length === 0);
    await Promise.all([anna, cleo].map((page) => page.context().close()));
  });

  it('gives a name to one person in a room, and shows it as it is', async () => {
    const odd = '<img src=x onerror=alert(1)>';
    const first = await person('tea', odd);
    const second = await open(tutorial.url);
    await enter(second, ' tea ', odd);
    assert.match(await errorOf(second), /is in this room already/);
    await second.waitForSelector('#join:enabled');
    await enter(second, 'tea', 'ë'.repeat(33));
    await second.waitForFunction(() => /too long/.test(document.getElementById('error').textContent));
    await second.waitForSelector('#join:enabled');
    await enter(second, 'coffee', odd); // it is free in another room
    await reads(second, 'state', 'connected');
    await second.click('#leave');
    await enter(second, 'tea', 'Zoë');
    await shows(second, odd);
    await shows(first, 'Zoë');
    await Promise.all([first, second].map((page) => page.context().close()));
    await until('nothing is left', async () => (await pipelines()).length === 0);
  });

  it('is full with twelve', async () => {
    const page = await open(tutorial.url);
    const answers = await page.evaluate(async () => {
      const offer = new RTCPeerConnection();
      offer.addTransceiver('audio', { direction: 'sendonly' });
      await offer.setLocalDescription();
      const join = (name) =>
        new Promise((answered) => {
          const socket = new WebSocket(new URL('ws', location.href).href.replace('http', 'ws'));
          const message = { id: 'join', connection: 1, room: 'bus', name, sdpOffer: offer.localDescription.sdp };
          socket.onopen = () => socket.send(JSON.stringify(message));
          socket.onmessage = ({ data }) => data.includes('joinResponse') && answered(JSON.parse(data));
        });
      const all = [];
      for (let n = 1; n <= 13; n++) all.push(await join(`Passenger ${n}`));
      return all;
    });
    assert.deepEqual(answers.map(({ response }) => response), [...Array(12).fill('accepted'), 'rejected']);
    assert.match(answers[12].message, /room is full/);
    await page.context().close();
    await until('nothing is left', async () => (await pipelines()).length === 0);
  });

  needsTheMediaServer('group-call', '#join', {
    async prepare(page) {
      await page.fill('#room', 'tea');
      await page.fill('#name', 'Anna');
    },
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

  needsTheMediaServer('recorder', '#record');
});
