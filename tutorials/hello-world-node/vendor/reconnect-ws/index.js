// kurento-client depends on a git repository, KurentoForks/reconnect-ws, which a machine without access to GitHub can't
// install. This is the part of its interface that kurento-client uses: a websocket that is opened again when it breaks.
//
//   reconnect(options, onconnect).connect(uri, socketOptions)
//     options: initialDelay and maxDelay in ms (1000, 30000), failAfter: attempts before it gives up (Infinity)
//     events:  'connection' (socket), 'disconnect', 'reconnect' (attempt, delay), 'fail' (error)
//     fields:  connected: whether the socket is open, reconnect: whether it will be opened again

'use strict';

const { EventEmitter } = require('events');
const WebSocket = require('ws');

module.exports = function reconnect(options, onconnect) {
  const { initialDelay = 1000, maxDelay = 30000, failAfter = Infinity } = options || {};
  const self = new EventEmitter();
  self.connected = false;
  self.reconnect = true;
  let attempts = 0;
  let socket, timer, uri, socketOptions;
  if (onconnect) self.on('connection', onconnect);

  self.connect = function (toUri, withOptions) {
    uri = toUri;
    socketOptions = withOptions;
    self.reconnect = true;
    open();
    return self;
  };

  self.disconnect = function () {
    self.reconnect = false;
    clearTimeout(timer);
    if (socket) socket.close();
    return self;
  };

  function open() {
    let lastError;
    socket = new WebSocket(uri, socketOptions);
    socket.on('open', () => {
      attempts = 0;
      self.connected = true;
      self.emit('connection', socket);
    });
    socket.on('error', (error) => (lastError = error)); // 'close' follows
    socket.on('close', () => {
      if (self.connected) self.emit('disconnect', lastError);
      self.connected = false;
      if (self.reconnect) again(lastError);
    });
  }

  function again(error) {
    if (attempts >= failAfter) {
      self.reconnect = false;
      self.emit('fail', error || new Error('connection closed'));
      return;
    }
    const delay = Math.min(initialDelay * 2 ** attempts, maxDelay);
    attempts += 1;
    timer = setTimeout(() => {
      self.emit('reconnect', attempts, delay);
      open();
    }, delay);
  }

  return self;
};
