import { Peer } from './common/peer.js';
import { Signalling } from './common/signalling.js';
import { $, clearError, clearFacts, showError, showFacts, showState, time } from './common/ui.js';

const PLAYER = { START: 'plays', PAUSE: 'paused', ENDED: 'at its end', LOST: 'camera is lost, trying again' };

let peer = null;
let paused = false; // or at the end: what the middle button does
let held = false; // a finger or the mouse is on the seek bar

const server = new Signalling({
  startResponse: ({ sdpAnswer }) => peer?.answer(sdpAnswer),
  iceCandidate: ({ candidate }) => peer?.addCandidate(candidate),
  player({ state }) {
    if (!peer || !PLAYER[state]) return;
    paused = state === 'PAUSE' || state === 'ENDED';
    $('player').textContent = PLAYER[state];
    $('pause').textContent = { PAUSE: 'Resume', ENDED: 'Again' }[state] ?? 'Pause';
    $('pause').disabled = state === 'LOST';
  },
  position({ position, duration, seekable }) {
    if (!peer) return;
    $('seeking').hidden = !seekable;
    $('caption').textContent = seekable ? '' : 'Live';
    $('length').textContent = seekable ? time(duration) : 'live';
    if (!seekable || held) return;
    $('seek').max = duration;
    $('seek').value = position;
    $('duration').textContent = time(duration);
    $('position').textContent = time(position);
  },
  error: ({ message }) => showError(message),
  stopped: end,
  closed: end,
});

async function start() {
  clearError();
  $('start').disabled = $('uri').disabled = true;
  $('stop').disabled = false;
  $('caption').textContent = 'Opening…';
  try {
    peer = new Peer({
      oncandidate: (candidate) => server.send({ id: 'onIceCandidate', candidate }),
      onstate: showState,
      video: $('remote'),
    });
    server.send({ id: 'start', uri: $('uri').value.trim(), sdpOffer: await peer.offer({ receive: true }) });
    showState('connecting');
  } catch (error) {
    end();
    showError(error);
  }
}

function end() {
  peer?.close();
  peer = $('remote').srcObject = null;
  paused = held = false;
  $('start').disabled = $('uri').disabled = false;
  $('stop').disabled = $('pause').disabled = true;
  $('pause').textContent = 'Pause';
  $('player').textContent = $('length').textContent = '–';
  $('seeking').hidden = true;
  $('caption').textContent = 'Nothing is played';
  clearFacts();
  showState('not started');
}

$('form').onsubmit = (event) => {
  event.preventDefault();
  start();
};
$('pause').onclick = () => server.send({ id: paused ? 'resume' : 'pause' });
$('stop').onclick = () => {
  server.send({ id: 'stop' });
  end();
};
// While it is moved the bar is the person's; the player jumps when it is let go.
$('seek').oninput = () => {
  held = true;
  $('position').textContent = time($('seek').value);
};
$('seek').onchange = () => {
  held = false;
  clearError();
  server.send({ id: 'seek', position: Number($('seek').value) });
};
showFacts(() => peer);
