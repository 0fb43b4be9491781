import { Peer, camera, stop as switchOff } from './common/peer.js';
import { Signalling } from './common/signalling.js';
import { $, clearError, clearFacts, showError, showFacts, showState } from './common/ui.js';

const LISTED = 12; // of all that is found; each of it gets a box
const COLOURS = ['#ff5d5d', '#42d392', '#5aa9ff', '#ffd166', '#e07cff', '#4dd0e1'];

let peer = null;
let stream = null;

const server = new Signalling({
  startResponse: ({ sdpAnswer }) => peer?.answer(sdpAnswer),
  iceCandidate: ({ candidate }) => peer?.addCandidate(candidate),
  objects: ({ objects }) => peer && show(objects),
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

/** Shows what was found in the newest picture; an empty list says that there is nothing any more. */
function show(objects) {
  draw(objects);
  $('count').textContent = objects.length || 'nothing';
  const lines = objects.slice(0, LISTED).map(name);
  if (objects.length > LISTED) lines.push(`and ${objects.length - LISTED} more`);
  $('found').replaceChildren(
    ...lines.map((line) => Object.assign(document.createElement('li'), { textContent: line })),
  );
}

const name = ({ label, score }) => `${label} ${Math.round(score * 100)} %`;

/**
 * Draws the boxes. They are in pixels of the picture, and so many has the canvas: the style sheet lays it over the video, and scales
 * both alike.
 */
function draw(objects) {
  const { videoWidth: width, videoHeight: height } = $('remote');
  Object.assign($('boxes'), { width, height }); // which clears it
  const context = $('boxes').getContext('2d');
  const scale = width / $('remote').clientWidth; // letters and lines are of one size, however small the video is shown
  const [size, high] = [12 * scale, 16 * scale];
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.lineWidth = 2 * scale;
  context.textBaseline = 'middle';
  // The surest last, on top of the others.
  for (const object of [...objects].reverse()) {
    const colour = COLOURS[Math.abs(object.classNumber) % COLOURS.length];
    context.strokeStyle = context.fillStyle = colour;
    context.strokeRect(object.x, object.y, object.width, object.height);
    const label = name(object);
    const top = object.y < high ? object.y : object.y - high; // above the box, where there is room
    context.fillRect(object.x, top, context.measureText(label).width + size / 2, high);
    context.fillStyle = '#000';
    context.fillText(label, object.x + size / 4, top + high / 2);
  }
}

function end() {
  peer?.close();
  switchOff(stream);
  peer = stream = $('local').srcObject = $('remote').srcObject = null;
  $('start').disabled = false;
  $('stop').disabled = true;
  show([]);
  $('count').textContent = '–';
  clearFacts();
  showState('not started');
}

$('start').onclick = start;
$('stop').onclick = () => {
  server.send({ id: 'stop' });
  end();
};
showFacts(() => peer);
