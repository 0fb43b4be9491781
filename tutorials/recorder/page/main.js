import { Peer, camera, stop as switchOff } from './common/peer.js';
import { Signalling } from './common/signalling.js';
import { $, clearError, clearFacts, showError, showFacts, showState, time } from './common/ui.js';

let peer = null;
let stream = null;
let began = null; // when the recording began, milliseconds
let recorded = false; // there is something to watch

const server = new Signalling({
  startResponse: ({ sdpAnswer }) => peer?.answer(sdpAnswer),
  iceCandidate: ({ candidate }) => peer?.addCandidate(candidate),
  recording() {
    began = performance.now();
    recorded = true;
    $('recorder').textContent = 'records';
  },
  error: ({ message }) => showError(message),
  stopped: end,
  closed() {
    recorded = false; // the file is gone with the connection
    $('length').textContent = '–';
    end();
  },
});

async function record() {
  begin('asking for the camera');
  try {
    stream = await camera();
    $('local').srcObject = stream;
    await connect('record', { stream });
    $('recorder').textContent = 'starts';
    $('caption').textContent = 'To be watched when you press Stop';
  } catch (error) {
    end();
    showError(error);
  }
}

async function watch() {
  begin('connecting');
  try {
    await connect('watch', { receive: true });
    $('caption').textContent = 'Your recording';
  } catch (error) {
    end();
    showError(error);
  }
}

function begin(state) {
  clearError();
  $('record').disabled = $('watch').disabled = true;
  $('stop').disabled = false;
  showState(state);
}

async function connect(id, media) {
  peer = new Peer({
    oncandidate: (candidate) => server.send({ id: 'onIceCandidate', candidate }),
    onstate: showState,
    video: $('remote'),
  });
  server.send({ id, sdpOffer: await peer.offer(media) });
  showState('connecting');
}

function end() {
  peer?.close();
  switchOff(stream);
  peer = stream = began = $('local').srcObject = $('remote').srcObject = null;
  $('record').disabled = false;
  $('watch').disabled = !recorded;
  $('stop').disabled = true;
  $('recorder').textContent = '–';
  $('caption').textContent = recorded ? 'Press Watch to see it' : 'Nothing is recorded yet';
  clearFacts();
  showState('not started');
}

$('record').onclick = record;
$('watch').onclick = watch;
$('stop').onclick = () => {
  // The page ends with it when the file is complete.
  $('stop').disabled = true;
  server.send({ id: 'stop' });
};
setInterval(() => {
  if (began !== null) $('length').textContent = time(performance.now() - began);
}, 250);
showFacts(() => peer);
