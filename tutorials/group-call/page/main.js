import { Peer, camera, stop as switchOff } from './common/peer.js';
import { Signalling } from './common/signalling.js';
import { $, clearError, clearFacts, showError, showFacts, showState } from './common/ui.js';

// What a connection carries, if not the media of another person, by number.
const MINE = 'mine';
const ALL = null; // in one picture

let stream = null;
let me = null; // our number in the room
let people = new Map(); // names of those in the room, by number
const connections = new Map(); // by number: the peer, what it carries, and the figure that shows it
let last = 0; // the number of the newest connection; none is used twice

const server = new Signalling({
  async joinResponse({ response, connection, you, sdpAnswer, message }) {
    if (response !== 'accepted') {
      end();
      return showError(message);
    }
    if (!connections.has(connection)) return; // we have left meanwhile
    me = you;
    await connections.get(connection).peer.answer(sdpAnswer);
  },
  people(message) {
    if (me === null) return;
    people = new Map(message.people.map(({ number, name }) => [number, name]));
    $('count').textContent = people.size;
    arrange();
  },
  watchResponse: ({ connection, sdpAnswer }) => connections.get(connection)?.peer.answer(sdpAnswer),
  iceCandidate: ({ connection, candidate }) => connections.get(connection)?.peer.addCandidate(candidate),
  left: end,
  error: ({ message }) => showError(message),
  closed: end,
});

async function join() {
  clearError();
  $('join').disabled = true;
  showState('asking for the camera');
  try {
    stream = await camera();
    inside(true);
    $('local').srcObject = stream;
    $('me').textContent = `${$('name').value} (you)`;
    const { number, peer } = connect(MINE, { onstate: showState });
    const sdpOffer = await peer.offer({ stream, receive: false });
    server.send({ id: 'join', connection: number, room: $('room').value, name: $('name').value, sdpOffer });
    showState('connecting');
  } catch (error) {
    end();
    showError(error);
  }
}

/** Opens and closes connections, so that there is one for each that is to be seen. */
function arrange() {
  const others = [...people.keys()].filter((number) => number !== me);
  const wanted = $('view').value === 'mixed' ? [ALL] : others;
  for (const [number, { carries }] of connections) {
    if (carries !== MINE && !wanted.includes(carries)) {
      server.send({ id: 'close', connection: number });
      disconnect(number);
    }
  }
  const watched = [...connections.values()].map(({ carries }) => carries);
  for (const whom of wanted) if (!watched.includes(whom)) watch(whom).catch(showError);
}

async function watch(whom) {
  const figure = document.createElement('figure');
  const video = Object.assign(document.createElement('video'), { autoplay: true, playsInline: true });
  const caption = document.createElement('figcaption');
  caption.textContent = whom === ALL ? 'Everybody' : people.get(whom); // as text: people choose their names
  figure.append(video, caption);
  $('videos').append(figure);
  const onstate = (state) => state === 'failed' && showState(state);
  const { number, peer } = connect(whom, { video, figure, onstate });
  const sdpOffer = await peer.offer({ receive: true });
  if (connections.has(number)) server.send({ id: 'watch', connection: number, person: whom, sdpOffer });
}

function connect(carries, { video, figure, onstate }) {
  const number = ++last;
  const oncandidate = (candidate) => server.send({ id: 'onIceCandidate', connection: number, candidate });
  const peer = new Peer({ oncandidate, onstate, video });
  connections.set(number, { peer, carries, figure });
  return { number, peer };
}

function disconnect(number) {
  const { peer, figure } = connections.get(number);
  connections.delete(number);
  peer.close();
  figure?.remove();
}

function end() {
  [...connections.keys()].forEach(disconnect);
  switchOff(stream);
  stream = me = $('local').srcObject = null;
  people.clear();
  inside(false);
  $('me').textContent = 'You';
  $('count').textContent = '–';
  clearFacts();
  showState('not started');
}

function inside(yes) {
  $('join').disabled = $('room').disabled = $('name').disabled = yes;
  $('leave').disabled = !yes;
}

$('entrance').onsubmit = (event) => {
  event.preventDefault();
  join();
};
$('leave').onclick = () => {
  server.send({ id: 'leave' });
  end();
};
$('view').onchange = () => me !== null && arrange();
// What arrives first, or where nothing does, what is sent.
showFacts(() => {
  const all = [...connections.values()];
  return (all.find(({ carries }) => carries !== MINE) ?? all[0])?.peer;
});
