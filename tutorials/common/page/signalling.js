// The page's websocket to the application server: JSON messages, told apart by their `id`.

import { clearError, showError } from './ui.js';

const RETRY_MS = 2000;
const LOST = 'No connection to the application server. Trying again…';

export class Signalling {
  #socket;
  #handlers;

  /**
   * @param handlers one function for each message the server may send, by its `id`; besides,
   *   `open()` and `closed()` for the connection itself.
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#connect();
  }

  send(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #connect() {
    const url = new URL('ws', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => {
      clearError(LOST);
      this.#handlers.open?.();
    };
    this.#socket.onclose = () => {
      showError(LOST);
      this.#handlers.closed?.();
      setTimeout(() => this.#connect(), RETRY_MS);
    };
    this.#socket.onmessage = ({ data }) => this.#dispatch(JSON.parse(data));
  }

  async #dispatch(message) {
    try {
      await this.#handlers[message.id]?.(message);
    } catch (error) {
      showError(error);
    }
  }
}
