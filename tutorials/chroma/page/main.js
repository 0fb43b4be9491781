import { Peer, camera, stop as switchOff } from './common/peer.js';
import { Signalling } from './common/signalling.js';
import { $, clearError, clearFacts, showError, showFacts, showState } from './common/ui.js';

// Where the wall may be seen: left and upper edge, width and height, in parts of the picture's.
const PLACES = {
  left: [0.02, 0.02, 0.2, 0.2],
  right: [0.78, 0.02, 0.2, 0.2],
  top: [0.02, 0.02, 0.96, 0.1],
};

let peer = null;
let stream = null;

const server = new Signalling({
  async startResponse({ sdpAnswer }) {
    await peer?.answer(sdpAnswer);
    $('learn').disabled = !peer;
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
    const sdpOffer = await peer.offer({ stream, receive: true });
    server.send({ id: 'start', sdpOffer, window: windowIn(size()), background: $('background').value });
    showState('connecting');
  } catch (error) {
    end();
    showError(error);
  }
}

/** The size of the picture that the media server has: the browser may send less than the camera gives. */
function size() {
  const { videoWidth: width, videoHeight: height } = $('remote');
  return width ? { width, height } : stream.getVideoTracks()[0].getSettings();
}

/** The place that is chosen, in pixels of a picture. */
function windowIn({ width, height }) {
  const [x, y, wide, high] = PLACES[$('place').value];
  const [left, top] = [Math.round(x * width), Math.round(y * height)];
  return { x: left, y: top, width: Math.round(wide * width), height: Math.round(high * height) };
}

function learn() {
  clearError();
  drawFrame();
  if (!$('learn').disabled) server.send({ id: 'learn', window: windowIn(size()), background: $('background').value });
}

/** Draws the frame; the canvas has as many pixels as the picture, and the style sheet lays one over the other. */
function drawFrame() {
  const { videoWidth: width, videoHeight: height } = $('local');
  Object.assign($('frame'), { width, height });
  if (!width) return;
  const context = $('frame').getContext('2d');
  const frame = windowIn({ width, height });
  for (const [colour, part] of [['black', 100], ['white', 200]]) {
    context.strokeStyle = colour;
    context.lineWidth = width / part;
    context.strokeRect(frame.x, frame.y, frame.width, frame.height);
  }
}

function end() {
  peer?.close();
  switchOff(stream);
  peer = stream = $('local').srcObject = $('remote').srcObject = null;
  $('start').disabled = false;
  $('stop').disabled = $('learn').disabled = true;
  $('frame').width = 0;
  clearFacts();
  showState('not started');
}

$('start').onclick = start;
$('stop').onclick = () => {
  server.send({ id: 'stop' });
  end();
};
$('learn').onclick = learn;
$('place').onchange = learn;
$('background').onchange = () => server.send({ id: 'show', background: $('background').value });
$('local').onresize = drawFrame; // the picture's size is known, or another
showFacts(() => peer);
