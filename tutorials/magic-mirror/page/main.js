import { Peer, camera, stop as switchOff } from './common/peer.js';
import { Signalling } from './common/signalling.js';
import { $, clearError, clearFacts, showError, showFacts, showState } from './common/ui.js';

let peer = null;
let stream = null;

const server = new Signalling({
  async startResponse({ sdpAnswer }) {
    await peer?.answer(sdpAnswer);
    wear();
  },
  iceCandidate: ({ candidate }) => peer?.addCandidate(candidate),
  error({ message }) {
    end();
    showError(message);
  },
  closed: end,
});

async function start() {
  clearError();
  $('start').disabled = true;
  $('stop').disabled = false;
  showState('asking for the camera');
  try {
    stream = await camera();
    $('local').srcObject = stream;
    peer = new Peer({
      oncandidate: (candidate) => server.send({ id: 'onIceCandidate', candidate }),
      onstate: showState,
      video: $('remote'),
    });
    server.send({ id: 'start', sdpOffer: await peer.offer({ stream, receive: true }) });
    showState('connecting');
  } catch (error) {
    end();
    showError(error);
  }
}

function wear() {
  if (peer) server.send({ id: 'wear', costume: $('costume').value });
}

function end() {
  peer?.close();
  switchOff(stream);
  peer = stream = $('local').srcObject = $('remote').srcObject = null;
  $('start').disabled = false;
  $('stop').disabled = true;
  clearFacts();
  showState('not started');
}

$('start').onclick = start;
$('costume').onchange = wear;
$('stop').onclick = () => {
  server.send({ id: 'stop' });
  end();
};
showFacts(() => peer);
