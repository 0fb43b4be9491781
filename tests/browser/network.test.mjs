// Media over networks that lose packets, translate addresses, or let nothing but a relay through.

import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { Lab } from './lab.mjs';
import { Party, connect, sleep, until } from './party.mjs';
import { freePort, startBrowser, startMediaServer, startProgram } from './start.mjs';

const BOTH = ['audio', 'video'];
const FAKE_DEVICES = ['--use-fake-ui-for-media-stream'];
// The origin of the test's page is this host's; candidates are to be addresses.
const BROWSER_ARGS = [...FAKE_DEVICES, '--disable-features=WebRtcHideLocalIpsWithMdns'];

const stack = [];
const later = (undo) => stack.push(undo);
async function unwind() {
  for (const undo of stack.splice(0).reverse()) await undo();
}

afterEach(unwind);

/** A server, a browser, and a party that is looped back, each where the test wants it. */
async function loopback({ server, browser, filter }) {
  const kms = await startMediaServer(server);
  later(() => kms.stop());
  const client = await connect(kms.url);
  later(() => client.close());
  const chromium = await startBrowser(BROWSER_ARGS, browser);
  later(() => chromium.close());
  const endpoint = await (await client.create('MediaPipeline')).create('WebRtcEndpoint');
  await endpoint.connect(endpoint);
  return Party.open(chromium, endpoint, filter);
}

async function plays(party, frames = 60, seconds = 20) {
  await until(`${frames} frames are shown`, async () => (await party.run('framesSince', 0)).count >= frames, seconds);
}

/** A STUN and TURN server: Debian's coturn. */
async function coturn(address, relayAddress) {
  const port = await freePort();
  const args = ['-n', '--no-cli', '--no-tls', '--no-dtls', '--lt-cred-mech', '--user=kms:secret', '--realm=kms.test',
    `--listening-ip=${address}`, `--listening-port=${port}`, `--relay-ip=${relayAddress}`, '--log-file=/dev/null',
    '--simple-log', '--pidfile=/dev/null', '--allow-loopback-peers'];
  const server = await startProgram('turnserver', args, port, address);
  later(() => server.stop());
  return `${address}:${port}`;
}

const kindOf = (candidate) => /typ (\w+)/.exec(candidate)[1];

describe('a network that loses every twentieth packet', () => {
  it('never stops the picture for a second', async () => {
    const lab = new Lab();
    later(() => lab.close());
    const [server, viewer] = [lab.host('server'), lab.host('viewer')];
    lab.cable([undefined, '10.77.1.1'], [server, '10.77.1.2']);
    const ends = lab.cable([server, '10.77.2.1'], [viewer, '10.77.2.2']);
    lab.lose(server, ends[0], 5);
    lab.lose(viewer, ends[1], 5);
    const party = await loopback({
      server: { namespace: server, address: '10.77.1.2', env: { KMS_NETWORK_INTERFACES: ends[0] } },
      browser: lab.browserOn(viewer),
    });
    await party.join({ send: BOTH, receive: BOTH });
    await plays(party);
    const begin = await party.run('now');
    await sleep(20_000);
    const shown = await party.run('framesSince', begin);
    const { video } = await party.numbers();
    assert.ok(video.nackCount > 10, `packets were lost and asked for again (${video.nackCount} NACKs)`);
    assert.ok(shown.longestGap < 1000, `${shown.longestGap} ms without a frame`);
    assert.ok(shown.count > 20 * 15, `${shown.count} frames in 20 s`);
  });
});

describe('a viewer on a thin line', () => {
  it('gets a layer that fits through it', async () => {
    const lab = new Lab();
    later(() => lab.close());
    const viewerHost = lab.host('viewer');
    const ends = lab.cable([undefined, '10.77.2.1'], [viewerHost, '10.77.2.2']);
    lab.limit(viewerHost, ends[1], 60); // 480 kbit/s: the middle layer and not the best
    const presenter = await loopback({ server: { env: { KMS_NETWORK_INTERFACES: `lo,${ends[0]}` } } });
    await presenter.endpoint.disconnect(presenter.endpoint);
    await presenter.join({ send: ['video'], simulcast: true, codec: 'VP8', width: 960 });
    await until('the browser sends its best layer', async () => (await presenter.numbers()).sent.f?.framesEncoded > 30, 60);

    const chromium = await startBrowser(BROWSER_ARGS, lab.browserOn(viewerHost));
    later(() => chromium.close());
    const pipeline = await presenter.endpoint.getMediaPipeline();
    const viewer = await Party.open(chromium, await pipeline.create('WebRtcEndpoint'));
    await presenter.endpoint.connect(viewer.endpoint);
    await viewer.join({ receive: ['video'] });
    await plays(viewer, 20, 30);
    await sleep(10_000); // the estimate settles
    const begin = await viewer.run('now');
    await sleep(10_000);
    const shown = await viewer.run('framesSince', begin);
    assert.ok(!shown.widths.includes(960), `saw ${shown.widths}`);
    assert.ok(shown.count > 100, `${shown.count} frames in 10 s`);
    assert.ok(shown.longestGap < 1500, `${shown.longestGap} ms without a frame`);
  });
});

describe('where only a relay gets through', () => {
  for (const transport of ['udp', 'tcp']) {
    it(`media goes over TURN by ${transport}`, async () => {
      const lab = new Lab();
      later(() => lab.close());
      // Both reach this machine, which forwards nothing from one to the other.
      const [server, viewer] = [lab.host('server'), lab.host('viewer')];
      lab.cable([undefined, '10.77.1.1'], [server, '10.77.1.2']);
      lab.cable([undefined, '10.77.2.1'], [viewer, '10.77.2.2']);
      const turn = await coturn('10.77.1.1', '10.77.2.1');
      const party = await loopback({
        server: {
          namespace: server,
          address: '10.77.1.2',
          env: { KMS_TURN_URL: `kms:secret@${turn}?transport=${transport}` },
        },
        browser: lab.browserOn(viewer),
      });
      await party.join({ send: BOTH, receive: BOTH });
      await plays(party);
      const { candidatePair } = await party.event('NewCandidatePairSelected');
      assert.equal(kindOf(candidatePair.localCandidate), 'relay');
      assert.ok(party.serverCandidates.some((c) => c.includes(' 10.77.2.1 ') && kindOf(c) === 'relay'));
    });
  }
});

describe('behind a router that translates addresses', () => {
  it('the address a STUN server sees is offered, and works', async () => {
    const lab = new Lab();
    later(() => lab.close());
    const [server, router] = [lab.host('server'), lab.host('router')];
    const world = lab.cable([undefined, '10.77.1.1'], [router, '10.77.1.2']);
    lab.cable([router, '10.77.2.1'], [server, '10.77.2.2']);
    lab.on(server, 'ip', 'route', 'add', 'default', 'via', '10.77.2.1');
    lab.on(undefined, 'ip', 'route', 'add', '10.77.2.2/32', 'via', '10.77.1.2');
    lab.translate(router, world[1]);
    const [address, port] = (await coturn('10.77.1.1', '10.77.1.1')).split(':');
    const party = await loopback({
      server: { namespace: server, address: '10.77.2.2', env: { KMS_STUN_IP: address, KMS_STUN_PORT: port } },
      filter: (candidate, ofServer) => !ofServer || kindOf(candidate) === 'srflx',
    });
    await party.join({ send: BOTH, receive: BOTH });
    await party.event('IceGatheringDone');
    const reflexive = party.serverCandidates.find((c) => kindOf(c) === 'srflx');
    assert.match(reflexive, / 10\.77\.1\.2 \d+ typ srflx raddr 10\.77\.2\.2 /);
    await plays(party);
  });
});

describe('where only TCP gets through', () => {
  it('media goes over ICE-TCP', async () => {
    const party = await loopback({
      // The browser is told of TCP alone, and the server of nothing: it can only be called.
      filter: (candidate, ofServer) => ofServer && / TCP /.test(candidate),
    });
    await party.join({ send: BOTH, receive: BOTH });
    await plays(party);
    const { candidatePair } = await party.event('NewCandidatePairSelected');
    assert.match(candidatePair.localCandidate, / TCP .* tcptype passive/);
  });
});

describe('one UDP port for all', () => {
  it('two parties have media over the same port', async () => {
    const port = await freePort();
    const one = await loopback({ server: { env: { KMS_WEBRTC_SHARED_PORT: `${port}`, KMS_WEBRTC_WORKERS: '1' } } });
    const pipeline = await one.endpoint.getMediaPipeline();
    const endpoint = await pipeline.create('WebRtcEndpoint');
    await endpoint.connect(endpoint);
    const other = await Party.open(one.page.context().browser(), endpoint);
    for (const party of [one, other]) {
      await party.join({ send: BOTH, receive: BOTH });
      await plays(party);
      const { candidatePair } = await party.event('NewCandidatePairSelected');
      assert.match(candidatePair.localCandidate, new RegExp(` ${port} typ host`));
    }
  });
});
