// Tutorial: the hello-world page with the official kurento-client, as an application written for Kurento has it.
//
//   node server.js [--listen ADDR:PORT] [--kms URL]

'use strict';

const { EventEmitter } = require('events');
const { createServer } = require('http');
const { readFile } = require('fs/promises');
const { join } = require('path');
const { parseArgs } = require('util');
const kurento = require('kurento-client');
const { WebSocketServer } = require('ws');

const { values: settings } = parseArgs({
  options: {
    listen: { type: 'string', default: '127.0.0.1:8080' },
    kms: { type: 'string', default: 'ws://127.0.0.1:8888/kurento' },
  },
});

// --- The media -----------------------------------------------------------------------------------------------------

let connected = null;
const restarts = new EventEmitter().setMaxListeners(0); // 'restart': the media server has forgotten everything

/** The connection to the media server: one for all browsers, opened when it is first needed. */
function mediaServer() {
  connected ??= new Promise((resolve, reject) => {
    const client = kurento(settings.kms, { failAfter: 1 });
    const forget = () => {
      connected = null; // the next browser tries again
      restarts.emit('restart');
    };
    client.on('disconnect', forget);
    client.on('reconnected', (sameSession) => {
      if (sameSession) return;
      client.close();
      forget();
    });
    client.then(resolve, () => reject(new Error(`can't reach the media server at ${settings.kms}`)));
  }).catch((error) => {
    connected = null;
    throw error;
  });
  return connected;
}

/** Builds the graph: one endpoint, what comes in goes out again. */
async function start(sdpOffer, send) {
  const client = await mediaServer();
  const pipeline = await client.create('MediaPipeline');
  try {
    const endpoint = await pipeline.create('WebRtcEndpoint');
    endpoint.on('IceCandidateFound', ({ candidate }) => {
      send({ id: 'iceCandidate', candidate: kurento.getComplexType('IceCandidate')(candidate) });
    });
    await endpoint.connect(endpoint);
    send({ id: 'startResponse', sdpAnswer: await endpoint.processOffer(sdpOffer) });
    await endpoint.gatherCandidates();
    return { pipeline, endpoint };
  } catch (error) {
    await pipeline.release(); // half a graph is of no use
    throw error;
  }
}

/** Serves one browser until it leaves. */
function session(socket) {
  let call = null;
  let queue = Promise.resolve(); // one message after the other
  const send = (message) => socket.send(JSON.stringify(message));

  const handlers = {
    async start({ sdpOffer }) {
      await handlers.stop();
      call = await start(sdpOffer, send);
    },
    async onIceCandidate({ candidate }) {
      await call?.endpoint.addIceCandidate(kurento.getComplexType('IceCandidate')(candidate));
    },
    async stop() {
      const ended = call;
      call = null;
      await ended?.pipeline.release();
    },
  };

  const handle = async (data) => {
    try {
      const message = JSON.parse(data);
      if (!Object.hasOwn(handlers, message?.id)) throw new Error('message not understood');
      await handlers[message.id](message);
    } catch (error) {
      send({ id: 'error', message: error.message });
    }
  };
  const onRestart = () => {
    if (!call) return;
    call = null;
    send({ id: 'error', message: 'the media server was restarted; start again' });
  };
  restarts.on('restart', onRestart);
  socket.on('message', (data) => (queue = queue.then(() => handle(data))));
  socket.on('close', () => {
    restarts.off('restart', onRestart);
    queue = queue.then(handlers.stop).catch(() => {});
  });
}

// --- The page, the same as hello-world's -----------------------------------------------------------------------------

const PAGE = join(__dirname, '../hello-world/page');
const COMMON = join(__dirname, '../common/page');
const FILES = {
  '/': [PAGE, 'index.html', 'text/html'],
  '/main.js': [PAGE, 'main.js', 'text/javascript'],
  '/common/style.css': [COMMON, 'style.css', 'text/css'],
  '/common/peer.js': [COMMON, 'peer.js', 'text/javascript'],
  '/common/signalling.js': [COMMON, 'signalling.js', 'text/javascript'],
  '/common/ui.js': [COMMON, 'ui.js', 'text/javascript'],
};

const http = createServer(async ({ url }, response) => {
  if (!Object.hasOwn(FILES, url)) return response.writeHead(404).end();
  const [folder, name, type] = FILES[url];
  const body = await readFile(join(folder, name));
  response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-cache' }).end(body);
});
new WebSocketServer({ server: http, path: '/ws', maxPayload: 128 * 1024 }).on('connection', session);

const [, host, port] = settings.listen.match(/^(.*):(\d+)$/) ?? [];
http.listen(port, host, () => console.log(`open http://${host}:${http.address().port}`));
