import { Peer, camera, stop as switchOff } from './common/peer.js';
import { Signalling } from './common/signalling.js';
import { $, clearError, clearFacts, showError, showFacts, showState } from './common/ui.js';

let peer = null;
let stream = null;
let presenter = false; // whether somebody presents

const server = new Signalling({
  room(message) {
    presenter = message.presenter;
    if (!peer) showRoom();
  },
  presenterResponse: accept,
  viewerResponse: accept,
  iceCandidate: ({ candidate }) => peer?.addCandidate(candidate),
  viewers: ({ count }) => ($('viewers').textContent = count),
  stopCommunication() {
    end();
    showError('The presenter has left.');
  },
  error({ message }) {
    end();
    showError(message);
  },
  closed: end,
});

async function present() {
  begin();
  showState('asking for the camera');
  try {
    stream = await camera();
    $('video').muted = true; // one's own voice
    $('video').srcObject = stream;
    peer = newPeer();
    server.send({ id: 'presenter', sdpOffer: await peer.offer({ stream, receive: false }) });
    $('caption').textContent = 'You present';
    $('viewers').textContent = 0;
  } catch (error) {
    end();
    showError(error);
  }
}

async function watch() {
  begin();
  $('video').muted = false;
  peer = newPeer();
  server.send({ id: 'viewer', sdpOffer: await peer.offer({ receive: true }) });
  $('caption').textContent = 'You watch';
}

function newPeer() {
  showState('connecting');
  return new Peer({
    oncandidate: (candidate) => server.send({ id: 'onIceCandidate', candidate }),
    onstate: showState,
    video: $('video'),
  });
}

async function accept({ response, sdpAnswer, message }) {
  if (response === 'accepted') return peer?.answer(sdpAnswer);
  end();
  showError(message);
}

function begin() {
  clearError();
  $('present').disabled = $('watch').disabled = true;
  $('stop').disabled = false;
}

function end() {
  peer?.close();
  switchOff(stream);
  peer = stream = $('video').srcObject = null;
  $('stop').disabled = true;
  $('viewers').textContent = '–';
  clearFacts();
  showState('not started');
  showRoom();
}

function showRoom() {
  $('present').disabled = presenter;
  $('watch').disabled = !presenter;
  $('caption').textContent = presenter ? 'Somebody presents: press Watch' : 'Nobody presents yet';
}

$('present').onclick = present;
$('watch').onclick = watch;
$('stop').onclick = () => {
  server.send({ id: 'stop' });
  end();
};
showRoom();
showFacts(() => peer);
