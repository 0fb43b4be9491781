// Media between browsers through the server: what a person sees and hears.

import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { Party, sleep, until } from './party.mjs';
import { browser, kms, pipeline } from './stage.mjs';

const BOTH = ['audio', 'video'];

async function party() {
  return Party.open(browser, await pipeline.create('WebRtcEndpoint'));
}

async function leave(...parties) {
  for (const one of parties) {
    await one.close();
    await one.endpoint.release();
  }
}

// A test that failed has left its pages open: what they decode would make the next one fail, too.
afterEach(() => Promise.all(browser.contexts().map((context) => context.close())));

/** A party whose camera is on and arrives. */
async function presenter(options) {
  const one = await party();
  await one.join({ send: BOTH, ...options });
  await one.event('MediaStateChanged', (e) => e.newState === 'CONNECTED');
  return one;
}

describe('loopback', () => {
  for (const codec of ['VP8', 'H264', 'VP9']) {
    it(`brings ${codec} and audio back, at once and without a break`, async () => {
      const self = await party();
      await self.endpoint.connect(self.endpoint);
      await self.join({ send: BOTH, receive: BOTH, codec });
      const offeredAt = await self.get('offeredAt');
      await until('a frame is shown', async () => (await self.run('framesSince', 0)).count > 0);
      const { first } = await self.run('framesSince', offeredAt);
      assert.ok(first < 1000, `the first frame came ${first} ms after the offer`);

      await sleep(1000); // the encoder finds its bitrate
      const before = await self.numbers();
      await sleep(20_000);
      const after = await self.numbers();
      const fps = (after.video.framesDecoded - before.video.framesDecoded) / 20;
      assert.ok(fps >= 24, `${fps} frames a second`);
      assert.equal(after.video.codec, `video/${codec}`);
      assert.equal(after.video.packetsLost, 0);
      const packets = after.audio.packetsReceived - before.audio.packetsReceived;
      assert.ok(packets > 900, `${packets} audio packets in 20 s`);
      assert.ok(after.audio.totalAudioEnergy > before.audio.totalAudioEnergy, 'the beeps are heard');
      await leave(self);
    });
  }
});

describe('one to many', () => {
  it('a viewer who joins late has a picture within 500 ms', async () => {
    const one = await presenter();
    const early = await party();
    await one.endpoint.connect(early.endpoint);
    await early.join({ receive: BOTH });
    await until('the early viewer sees it', async () => (await early.run('framesSince', 0)).count > 30);

    const late = await party();
    await one.endpoint.connect(late.endpoint);
    await late.join({ receive: BOTH });
    await until('the late viewer sees it', async () => (await late.run('framesSince', 0)).count > 0);
    const { first } = await late.run('framesSince', await late.get('connectedAt'));
    assert.ok(first < 500, `the first frame came ${first} ms after the transport was up`);

    // Negotiated long ago, connected now.
    const waiting = await party();
    await waiting.join({ receive: BOTH });
    await waiting.event('ConnectionStateChanged', (e) => e.newState === 'CONNECTED');
    const connectedAt = await waiting.run('now');
    await one.endpoint.connect(waiting.endpoint);
    await until('it sees it', async () => (await waiting.run('framesSince', 0)).count > 0);
    const afterConnect = await waiting.run('framesSince', connectedAt);
    assert.ok(afterConnect.first < 500, `the first frame came ${afterConnect.first} ms after connect`);
    const longest = (await early.run('framesSince', connectedAt)).longestGap;
    assert.ok(longest < 500, `the early viewer waited ${longest} ms for a frame meanwhile`);
    await leave(one, early, late, waiting);
  });

  it('a viewer is switched from one source to another and back, and never freezes', async () => {
    const wide = await presenter({ width: 640 });
    const narrow = await presenter({ width: 320 });
    const viewer = await party();
    await wide.endpoint.connect(viewer.endpoint);
    await viewer.join({ receive: BOTH });
    const width = async () => (await viewer.run('framesSince', 0)).lastWidth;
    await until('the first source is seen', async () => (await width()) === 640);
    await sleep(1000);
    const begin = await viewer.run('now');
    for (const [source, expected] of [[narrow, 320], [wide, 640], [narrow, 320]]) {
      await source.endpoint.connect(viewer.endpoint);
      await until(`${expected} pixels are seen`, async () => (await width()) === expected, 2);
      await sleep(1500);
    }
    const shown = await viewer.run('framesSince', begin);
    assert.ok(shown.longestGap < 700, `${shown.longestGap} ms without a frame`);
    const { video, audio } = await viewer.numbers();
    assert.equal(video.freezeCount, 0);
    assert.ok(audio.packetsReceived > 150);
    await leave(viewer, wide, narrow);
  });
});

describe('offers of old clients', () => {
  it('without BUNDLE, audio and video have a transport each', async () => {
    const self = await party();
    await self.endpoint.connect(self.endpoint);
    const offer = await self.run('start', { send: BOTH, receive: BOTH, configuration: { bundlePolicy: 'max-compat' } });
    const unbundled = offer.replace(/a=group:BUNDLE[^\n]*\n/, '').replaceAll('UDP/TLS/RTP/SAVPF', 'RTP/SAVPF');
    const answer = await self.endpoint.processOffer(unbundled);
    assert.doesNotMatch(answer, /BUNDLE/);
    await self.run('accept', 'answer', answer.replaceAll('RTP/SAVPF', 'UDP/TLS/RTP/SAVPF'));
    await self.endpoint.gatherCandidates();
    await until('video comes back', async () => (await self.run('framesSince', 0)).count > 30);
    await until('audio comes back', async () => (await self.numbers()).audio.packetsReceived > 50);
    const pairs = await self.endpoint.getICECandidatePairs();
    assert.deepEqual(pairs.map((p) => p.streamID ?? p.streamId), ['1', '2']);
    await self.event('ConnectionStateChanged', (e) => e.newState === 'CONNECTED');
    await leave(self);
  });
});

describe('negotiating again', () => {
  it('a browser adds video to a call, and the server offers again', async () => {
    const self = await party();
    await self.endpoint.connect(self.endpoint);
    await self.join({ send: ['audio'], receive: ['audio'] });
    await until('audio flows', async () => (await self.numbers()).audio.packetsReceived > 20);

    await self.offerAgain('offer', { send: ['video'], receive: ['video'] });
    await until('video flows', async () => (await self.run('framesSince', 0)).count > 30);
    const audio = (await self.numbers()).audio.packetsReceived;

    const answer = await self.run('answer', await self.endpoint.generateOffer());
    await self.endpoint.processAnswer(answer);
    const then = await self.run('now');
    await until('video goes on', async () => (await self.run('framesSince', then)).count > 30);
    assert.ok((await self.numbers()).audio.packetsReceived > audio, 'audio goes on');
    await leave(self);
  });

  it('ICE is restarted', async () => {
    const self = await party();
    await self.endpoint.connect(self.endpoint);
    await self.join({ send: BOTH, receive: BOTH });
    await until('video flows', async () => (await self.run('framesSince', 0)).count > 30);
    const pairs = self.events.filter(([type]) => type === 'NewCandidatePairSelected').length;
    const then = await self.run('now');
    await self.offerAgain('restartIce');
    await self.endpoint.gatherCandidates();
    await sleep(3000);
    const shown = await self.run('framesSince', then);
    assert.ok(shown.count > 60, `${shown.count} frames in 3 s`);
    assert.ok(pairs > 0);
    assert.equal((await self.numbers()).state, 'connected');
    await leave(self);
  });
});

describe('simulcast', () => {
  it('a viewer gets the layer that its bandwidth carries', async () => {
    const one = await presenter({ send: ['video'], simulcast: true, codec: 'VP8', width: 960 });
    const viewer = await party();
    await one.endpoint.connect(viewer.endpoint);
    await viewer.join({ receive: ['video'] });
    const width = async () => (await viewer.run('framesSince', 0)).lastWidth;
    // The browser sends its best layer once its own estimate has grown to it.
    await until('the best layer is seen', async () => (await width()) === 960, 60);
    await viewer.endpoint.setMaxVideoSendBandwidth(150);
    await until('the lowest layer is seen', async () => (await width()) === 240, 10);
    await viewer.endpoint.setMaxVideoSendBandwidth(5000);
    await until('the best layer is seen again', async () => (await width()) === 960, 20);
    const { video } = await viewer.numbers();
    assert.equal(video.packetsLost, 0);
    await leave(viewer, one);
  });
});

describe('codecs', () => {
  const shows = (one, codec) => until(`${codec} is shown`, async () => {
    const { video } = await one.numbers();
    return video?.codec === `video/${codec}` && video.framesDecoded > 60;
  }, 20);

  for (const [sent, taken] of [['VP8', 'H264'], ['H264', 'VP8']]) {
    it(`${sent} is converted for those who take ${taken}, once for all, and for nobody else`, async () => {
      const one = await presenter({ codec: sent });
      const transcoding = [];
      one.endpoint.on('MediaTranscodingStateChanged', (e) => transcoding.push(`${e.mediaType} ${e.state}`));
      const asItIs = await party();
      await one.endpoint.connect(asItIs.endpoint);
      await asItIs.join({ receive: BOTH, codec: sent });
      await shows(asItIs, sent);
      assert.equal(await one.endpoint.isMediaTranscoding('VIDEO'), false);

      const early = await party(); // connected before it has negotiated
      await one.endpoint.connect(early.endpoint);
      await early.join({ receive: BOTH, codec: taken });
      const late = await party(); // connected when both have
      await late.join({ receive: BOTH, codec: taken });
      await one.endpoint.connect(late.endpoint);
      await shows(early, taken);
      await shows(late, taken);
      assert.equal(await one.endpoint.isMediaTranscoding('VIDEO'), true);
      assert.equal(await one.endpoint.isMediaTranscoding('AUDIO'), false, 'Opus goes as it is');
      const { audio } = await late.numbers();
      assert.ok(audio.totalAudioEnergy > 0, 'and is heard');
      for (const viewer of [early, late]) {
        assert.deepEqual(viewer.events.filter(([type]) => type === 'Error'), []);
      }
      await leave(early, late);
      await until('the conversion ends with the last viewer',
        async () => !(await one.endpoint.isMediaTranscoding('VIDEO')));
      assert.deepEqual(transcoding.filter((t) => t.startsWith('VIDEO')).slice(-2),
        ['VIDEO TRANSCODING', 'VIDEO NOT_TRANSCODING']);
      await shows(asItIs, sent);
      await leave(asItIs, one);
    });
  }
});

describe('statistics', () => {
  it('are there for all of the server, as metrics', async () => {
    const read = async () => {
      const page = await (await fetch(kms.url.replace('ws:', 'http:').replace('/kurento', '/metrics'))).text();
      return (name) => Number(page.match(new RegExp(`^${name.replace(/[{}]/g, '\\$&')} (.*)$`, 'm'))?.[1]);
    };
    const before = await read();
    const self = await party();
    await self.endpoint.connect(self.endpoint);
    await self.join({ send: BOTH, receive: BOTH });
    await until('it is seen', async () => (await self.run('framesSince', 0)).count > 60);
    const after = await read();
    const more = (name) => after(name) - before(name);
    for (const direction of ['received', 'sent']) {
      assert.ok(more(`kms_webrtc_packets_total{direction="${direction}"}`) > 100, direction);
      assert.ok(more(`kms_webrtc_bytes_total{direction="${direction}"}`) > 20_000, direction);
    }
    assert.ok(more('kms_webrtc_keyframe_requests_total{direction="sent"}') >= 1);
    assert.equal(more('kms_webrtc_packets_lost_total{direction="received"}'), 0);
    assert.ok(after('kms_webrtc_peers') >= 1);
    assert.ok(more('kms_webrtc_worker_busy_seconds_total{worker="0"}') < 10, 'seconds');
    await leave(self);
  });

  it('tell what arrives and what is sent, in the shapes of Kurento', async () => {
    const self = await party();
    await self.endpoint.connect(self.endpoint);
    await self.join({ send: BOTH, receive: BOTH, codec: 'VP8' });
    await until('video flows', async () => (await self.run('framesSince', 0)).count > 60);
    const all = Object.values(await self.endpoint.getStats());
    const of = (type, codec) => all.find((s) => s.type === type && s.codecId === codec);
    for (const codec of ['VP8', 'OPUS']) {
      const [inbound, outbound] = [of('inboundrtp', codec), of('outboundrtp', codec)];
      assert.ok(inbound.packetsReceived > 50 && inbound.bytesReceived > 1000, JSON.stringify(inbound));
      assert.ok(outbound.packetsSent > 50 && outbound.bytesSent > 1000, JSON.stringify(outbound));
      assert.equal(inbound.packetsLost, 0);
      assert.notEqual(inbound.ssrc, outbound.ssrc);
    }
    assert.ok(all.some((s) => s.type === 'session'));
    const video = Object.values(await self.endpoint.getStats('VIDEO'));
    assert.ok(video.length > 0 && video.every((s) => s.codecId === 'VP8'));
    await leave(self);
  });
});

describe('data channels', () => {
  it('messages go from one party to another', async () => {
    const [a, b] = await Promise.all([0, 1].map(async () =>
      Party.open(browser, await pipeline.create('WebRtcEndpoint', { useDataChannels: true }))));
    await a.endpoint.connect(b.endpoint, 'DATA');
    for (const one of [a, b]) {
      await one.join({ data: 'chat' });
      await one.event('DataChannelOpened');
    }
    await a.page.evaluate(() => window.peer.channel.send('from a'));
    await until('it arrives', async () => (await b.get('messages')).length === 1);
    assert.deepEqual(await b.get('messages'), ['from a']);
    assert.deepEqual(await a.get('messages'), [], 'nothing goes back');
    await leave(a, b);
  });

  it('a message comes back, and channels are told', async () => {
    const endpoint = await pipeline.create('WebRtcEndpoint', { useDataChannels: true });
    const self = await Party.open(browser, endpoint);
    await endpoint.connect(endpoint);
    await self.join({ data: 'chat' });
    await self.event('DataChannelOpened');
    await self.page.evaluate(() => window.peer.channel.send('hello'));
    await self.page.evaluate(() => window.peer.channel.send(new Uint8Array(1000)));
    await until('both come back', async () => (await self.get('messages')).length === 2);
    assert.deepEqual(await self.get('messages'), ['hello', 1000]);

    await endpoint.createDataChannel('ours', true);
    await until('the server opens one', async () => self.events.filter(([t]) => t === 'DataChannelOpened').length === 2);
    assert.equal(await self.page.evaluate(() => window.peer.channel.label), 'ours');
    await self.page.evaluate(() => window.peer.channel.close());
    await self.event('DataChannelClosed');
    await leave(self);
  });
});
