import { Peer, camera, stop as switchOff } from './common/peer.js';
import { Signalling } from './common/signalling.js';
import { $, clearError, clearFacts, showError, showFacts, showState } from './common/ui.js';

const ME = 'me';

let peer = null;
let stream = null;
const faces = new Map(); // who is in the picture, by the numbers of faces

const server = new Signalling({
  async startResponse({ sdpAnswer }) {
    await peer?.answer(sdpAnswer);
    $('enroll').disabled = false;
    hide();
  },
  iceCandidate: ({ candidate }) => peer?.addCandidate(candidate),
  enrolled({ names }) {
    $('enrolled').textContent = names.join(', ') || 'nobody';
    $('forget').disabled = names.length === 0;
  },
  entered: ({ face, name }) => meet(() => faces.set(face, name || 'a stranger')),
  left: ({ face }) => meet(() => faces.delete(face)),
  error({ message }) {
    if (!$('remote').srcObject) end();
    showError(message);
  },
  closed: end,
});

function meet(change) {
  change();
  $('faces').textContent = [...faces.values()].join(', ') || 'nobody';
}

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

/** The camera's picture, as what the media server knows the face by. */
function enroll() {
  clearError();
  const video = $('local');
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  server.send({ id: 'enroll', name: ME, image: canvas.toDataURL('image/jpeg', 0.8) });
}

function hide() {
  if (peer) server.send({ id: 'hide', style: $('style').value });
}

function end() {
  peer?.close();
  switchOff(stream);
  peer = stream = $('local').srcObject = $('remote').srcObject = null;
  $('start').disabled = false;
  $('stop').disabled = $('enroll').disabled = $('forget').disabled = true;
  $('enrolled').textContent = 'nobody';
  meet(() => faces.clear());
  clearFacts();
  showState('not started');
}

$('start').onclick = start;
$('stop').onclick = () => {
  server.send({ id: 'stop' });
  end();
};
$('enroll').onclick = enroll;
$('forget').onclick = () => server.send({ id: 'forget', name: ME });
$('style').onchange = hide;
showFacts(() => peer);
