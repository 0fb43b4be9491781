import { Peer, camera, stop as switchOff } from './common/peer.js';
import { Signalling } from './common/signalling.js';
import { $, clearError, clearFacts, showError, showFacts, showState } from './common/ui.js';

const LARGEST = 480; // pixels of a photo's longer side that are sent: enough for a face

let peer = null;
let stream = null;
let live = false; // whether somebody is
const faces = new Map(); // who is in the picture, by the numbers of faces

const server = new Signalling({
  room({ presenter }) {
    live = presenter;
    if (!peer) showRoom();
  },
  thumbnail({ image }) {
    $('thumbnail').hidden = !image;
    if (image) $('thumbnail').src = image;
  },
  presenterResponse: accept,
  viewerResponse: accept,
  iceCandidate: ({ candidate }) => peer?.addCandidate(candidate),
  viewers: ({ count }) => ($('viewers').textContent = count),
  enrolled: ({ names }) => showEnrolled(names),
  entered: ({ face, name }) => meet(() => faces.set(face, name || 'a stranger')),
  left: ({ face }) => meet(() => faces.delete(face)),
  stopCommunication() {
    end();
    showError('The broadcast is over.');
  },
  error({ message }) {
    if (!$('remote').srcObject) end();
    showError(message);
  },
  closed: end,
});

async function present() {
  begin();
  showState('asking for the camera');
  try {
    stream = await camera();
    $('local').srcObject = stream;
    $('remote').muted = true; // one's own voice
    peer = newPeer();
    server.send({ id: 'presenter', sdpOffer: await peer.offer({ stream, receive: true }) });
    show({ host: true });
    $('caption').textContent = 'What viewers see';
    $('viewers').textContent = 0;
  } catch (error) {
    end();
    showError(error);
  }
}

async function watch() {
  begin();
  $('remote').muted = false;
  peer = newPeer();
  server.send({ id: 'viewer', sdpOffer: await peer.offer({ receive: true }) });
  show({ viewer: true });
  $('caption').textContent = 'You watch';
}

function newPeer() {
  showState('connecting');
  return new Peer({
    oncandidate: (candidate) => server.send({ id: 'onIceCandidate', candidate }),
    onstate: showState,
    video: $('remote'),
  });
}

async function accept({ response, sdpAnswer, message }) {
  if (response !== 'accepted') {
    end();
    return showError(message);
  }
  await peer?.answer(sdpAnswer);
  if (stream) hide();
}

/** A picture, of the camera or a file, as what the media server knows the face by. */
function enroll(picture, width, height) {
  clearError();
  const scale = Math.min(1, LARGEST / Math.max(width, height));
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
  server.send({ id: 'enroll', name: $('name').value.trim(), image: canvas.toDataURL('image/jpeg', 0.85) });
}

async function enrollPhoto() {
  const [file] = $('photo').files;
  $('photo').value = ''; // the same one can be chosen again
  if (!file) return;
  try {
    const picture = await createImageBitmap(file);
    enroll(picture, picture.width, picture.height);
  } catch {
    showError(`“${file.name}” is no picture that this browser can read.`);
  }
}

/** Who is enrolled; a click on a name hides that one again. */
function showEnrolled(names) {
  const buttons = names.map((name) => {
    const button = document.createElement('button');
    button.textContent = `${name} ✕`;
    button.title = `Hide ${name}`;
    button.onclick = () => server.send({ id: 'forget', name });
    return button;
  });
  $('enrolled').replaceChildren(...(buttons.length ? buttons : ['nobody']));
}

function meet(change) {
  change();
  $('faces').textContent = [...faces.values()].join(', ') || 'nobody';
}

function hide() {
  server.send({ id: 'hide', style: $('style').value });
}

function begin() {
  clearError();
  $('present').disabled = $('watch').disabled = true;
  $('stop').disabled = false;
}

/** Shows what is of the host, of viewers, or of who is neither. */
function show({ host = false, viewer = false }) {
  $('host').hidden = $('own').hidden = !host;
  $('live').hidden = !host && !viewer;
  $('preview').hidden = host || viewer;
  for (const fact of document.querySelectorAll('.of-host')) fact.hidden = !host;
}

function end() {
  peer?.close();
  switchOff(stream);
  peer = stream = $('local').srcObject = $('remote').srcObject = null;
  $('stop').disabled = true;
  $('viewers').textContent = '–';
  showEnrolled([]);
  meet(() => faces.clear());
  show({});
  clearFacts();
  showState('not started');
  showRoom();
}

function showRoom() {
  $('present').disabled = live;
  $('watch').disabled = !live;
  $('invitation').textContent = live ? 'Live now: press Watch' : 'Nobody is live';
}

$('present').onclick = present;
$('watch').onclick = watch;
$('stop').onclick = () => {
  server.send({ id: 'stop' });
  end();
};
$('host').onsubmit = (event) => {
  event.preventDefault();
  const video = $('local');
  enroll(video, video.videoWidth, video.videoHeight);
};
$('pick').onclick = () => $('host').reportValidity() && $('photo').click();
$('photo').onchange = enrollPhoto;
$('style').onchange = hide;
showRoom();
showFacts(() => peer);
