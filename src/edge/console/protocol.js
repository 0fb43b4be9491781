// The Kurento Protocol, as far as looking on needs it.

const LATER = 3000; // milliseconds

/** A connection that comes back by itself. `changed(state)` is told "open", "closed" or "refused". */
export class Server {
  #socket; #url; #changed; #number = 0; #waiting = new Map(); #hearers = new Map();

  constructor(url, changed) {
    this.#url = url;
    this.#changed = changed;
    this.#open();
  }

  #open() {
    let opened = false;
    this.#socket = new WebSocket(this.#url);
    this.#socket.onopen = () => { opened = true; this.#changed('open'); };
    this.#socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    this.#socket.onclose = () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the connection was lost'));
      this.#waiting.clear();
      this.#changed(opened ? 'closed' : 'refused');
      setTimeout(() => this.#open(), LATER);
    };
  }

  #take(message) {
    if (message.method === 'onEvent') {
      const { type, object } = message.params.value;
      this.#hearers.get(type)?.(object, message.params.value.data);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.error) waiting?.reject(Object.assign(new Error(message.error.message), { code: message.error.code }));
    else waiting?.resolve(message.result.value);
  }

  #ask(method, params) {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error('not connected'));
    const id = ++this.#number;
    this.#socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  invoke(object, operation, operationParams = {}) {
    return this.#ask('invoke', { object, operation, operationParams });
  }

  /** Who asks about an object holds it. One that looks on must not keep alive what its owner has left. */
  letGo(object) {
    return this.#ask('unref', { object }).catch(() => {});
  }

  async hear(object, type, hearer) {
    this.#hearers.set(type, hearer);
    await this.#ask('subscribe', { object, type });
  }
}

/** The class in an object's id: "…_kurento.WebRtcEndpoint". */
export const classOf = (id) => id.slice(id.lastIndexOf('_') + 1).split('.').pop();
