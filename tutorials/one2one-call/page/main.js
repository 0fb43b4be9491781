import { Peer, camera, stop as switchOff } from './common/peer.js';
import { Signalling } from './common/signalling.js';
import { $, clearError, clearFacts, showError, showFacts, showState } from './common/ui.js';

let peer = null;
let stream = null;
let name = null;

const server = new Signalling({
  open: () => name && server.send({ id: 'register', name }), // the connection came back
  registerResponse({ response, message }) {
    const registered = response === 'accepted';
    $('registration').hidden = registered;
    $('calling').hidden = !registered;
    if (registered) {
      clearError();
      $('me').textContent = name;
    } else {
      name = null;
      showError(message);
    }
  },
  callResponse({ response, sdpAnswer, message }) {
    if (response === 'accepted') return talk($('to').value, sdpAnswer);
    end();
    showError(message);
  },
  incomingCall({ from }) {
    $('caller').textContent = from;
    $('ringing').showModal();
  },
  startCommunication: ({ sdpAnswer }) => talk($('caller').textContent, sdpAnswer),
  iceCandidate: ({ candidate }) => peer?.addCandidate(candidate),
  stopCommunication: end,
  error({ message }) {
    end();
    showError(message);
  },
  closed: end,
});

async function call(event) {
  event.preventDefault();
  await begin('calling', (sdpOffer) => server.send({ id: 'call', to: $('to').value, sdpOffer }));
}

async function accept() {
  $('ringing').close();
  await begin('connecting', (sdpOffer) => server.send({ id: 'incomingCallResponse', accept: true, sdpOffer }));
}

function reject() {
  $('ringing').close();
  server.send({ id: 'incomingCallResponse', accept: false });
}

/** Switches the camera on, makes an offer, and hands it to `send`. */
async function begin(state, send) {
  clearError();
  $('call').disabled = true;
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
    send(await peer.offer({ stream, receive: true }));
    showState(state);
  } catch (error) {
    hangUp();
    showError(error);
  }
}

function talk(other, sdpAnswer) {
  $('caption').textContent = other;
  return peer?.answer(sdpAnswer);
}

function end() {
  $('ringing').close();
  peer?.close();
  switchOff(stream);
  peer = stream = $('local').srcObject = $('remote').srcObject = null;
  $('call').disabled = false;
  $('stop').disabled = true;
  $('caption').textContent = 'The other one';
  clearFacts();
  showState('not started');
}

function hangUp() {
  server.send({ id: 'stop' });
  end();
}

$('registration').onsubmit = (event) => {
  event.preventDefault();
  name = $('name').value.trim();
  server.send({ id: 'register', name });
};
$('calling').onsubmit = call;
$('stop').onclick = hangUp;
$('accept').onclick = accept;
$('reject').onclick = reject;
$('ringing').oncancel = reject; // the Escape key
showFacts(() => peer);
