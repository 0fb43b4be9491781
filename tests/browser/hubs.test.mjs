// Hubs between browsers.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Party, sleep, until } from './party.mjs';
import { browser, pipeline } from './stage.mjs';

const BOTH = ['audio', 'video'];

/** A page that sends pictures of this width, and one that only receives. */
async function presenter(width, receive = []) {
  const party = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
  await party.join({ send: BOTH, receive, width });
  return party;
}

async function viewer() {
  const party = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
  await party.join({ receive: BOTH });
  return party;
}

/** Waits until the newest pictures are of this width. */
const sees = (party, width) =>
  until(`pictures of ${width}`, async () => (await party.run('framesSince', 0)).lastWidth === width, 15);

describe('hubs that route', () => {
  let wide, narrow, parties;

  before(async () => {
    [wide, narrow] = await Promise.all([presenter(320), presenter(160)]);
    parties = [wide, narrow];
  });

  after(async () => {
    for (const party of parties) {
      await party.endpoint.release();
      await party.close();
    }
  });

  /** A hub's port, with what is connected to it. */
  async function port(hub, source, sink) {
    const made = await hub.createHubPort();
    if (source) await source.endpoint.connect(made);
    if (sink) await made.connect(sink.endpoint);
    return made;
  }

  /**
   * Calls a method of a hub. With a callback, for without one the client prints an error and goes on; and with ids, for it knows awaited
   * ports only as `sink`.
   */
  const call = (hub, method, ...ports) =>
    new Promise((done, failed) => hub[method](...ports.map(({ id }) => id), (error) => (error ? failed(error) : done())));

  it('a Dispatcher passes on what it is told, without converting it', async () => {
    const hub = await pipeline.create('Dispatcher');
    const [one, other] = [await viewer(), await viewer()];
    parties.push(one, other);
    const [from, next, to, too] = [await port(hub, wide), await port(hub, narrow), await port(hub, null, one), await port(hub, null, other)];
    await call(hub, 'connect', from, to);
    await call(hub, 'connect', from, too);
    await Promise.all([sees(one, 320), sees(other, 320)]);
    const changed = await one.run('now');
    await call(hub, 'connect', next, to);
    await sees(one, 160);
    const { longestGap } = await one.run('framesSince', changed - 200);
    assert.ok(longestGap < 1000, `the picture stood still for ${longestGap} ms`);
    await until('the other one is heard', async () => (await one.numbers()).audio.totalAudioEnergy > 0);
    assert.equal((await other.run('framesSince', 0)).lastWidth, 320, 'the other goes on');
    for (const party of [wide, narrow]) {
      for (const kind of ['AUDIO', 'VIDEO']) assert.equal(await party.endpoint.isMediaTranscoding(kind), false);
    }
    const stranger = await (await pipeline.create('Dispatcher')).createHubPort();
    await assert.rejects(call(hub, 'connect', stranger, to), /port of another hub/);
    await hub.release();
  });

  it('a DispatcherOneToMany gives one to all, also to those who come later', async () => {
    const hub = await pipeline.create('DispatcherOneToMany');
    const one = await viewer();
    parties.push(one);
    const [from, next] = [await port(hub, wide), await port(hub, narrow)];
    await port(hub, null, one);
    await call(hub, 'setSource', from);
    await sees(one, 320);
    const late = await viewer();
    parties.push(late);
    await port(hub, null, late);
    await sees(late, 320);
    await call(hub, 'setSource', next);
    await Promise.all([sees(one, 160), sees(late, 160)]);
    await call(hub, 'removeSource');
    await until('nothing comes', async () => (await one.run('framesSince', (await one.run('now')) - 500)).count === 0);
    // A source that goes leaves nothing behind, and another takes its place.
    await call(hub, 'setSource', from);
    await sees(one, 320);
    await from.release();
    await call(hub, 'setSource', next);
    await sees(one, 160);
    await hub.release();
  });
});

describe('a conference in one picture', () => {
  const guests = [];
  let hub;

  /** A page becomes part of the conference: it sends, and gets what the hub has for it. */
  async function enters(party) {
    const port = await hub.createHubPort();
    await party.endpoint.connect(port);
    await port.connect(party.endpoint);
    await sees(party, 640);
    return port;
  }

  // The pages are there and send before anybody enters: browsers that start take all of a small machine for half a second, and
  // what is looked at is the hub.
  before(async () => {
    hub = await pipeline.create('Composite', { width: 640, height: 480, framerate: 15 });
    for (let i = 0; i < 3; i++) guests.push(await presenter(160, BOTH));
    for (const { endpoint } of guests) {
      await until('it sends', async () => (await endpoint.isMediaFlowingOut('VIDEO')) && (await endpoint.isMediaFlowingOut('AUDIO')), 15);
    }
  });

  after(async () => {
    for (const guest of guests) {
      await guest.endpoint.release();
      await guest.close();
    }
    await hub.release();
  });

  it('shows all of them to each, and who comes or goes freezes nobody', async () => {
    const [first, ...others] = guests;
    await enters(first);
    const begun = await first.run('now');
    const ports = [];
    for (const other of others) {
      ports.push(await enters(other));
      await sleep(500);
    }
    for (const guest of guests) {
      await until('something is heard', async () => (await guest.numbers()).audio.totalAudioEnergy > 0, 15);
    }
    if (process.env.KMS_SHOTS) await first.page.screenshot({ path: join(process.env.KMS_SHOTS, 'conference.png') });
    await ports.pop().release();
    await sleep(1000);
    const { count, longestGap } = await first.run('framesSince', begun);
    // On two cores that decode and encode for three browsers and run them, too.
    assert.ok(count > 25 && longestGap < 1000, `${count} pictures, the longest pause ${longestGap} ms`);
  });
});
