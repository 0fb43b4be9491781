// A browser page and its WebRtcEndpoint, with Kurento's own client between them.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import kurento from 'kurento-client';

const SCRIPT = readFileSync(join(import.meta.dirname, 'page.js'), 'utf8');
const PAGE = '<!doctype html><title>test</title><video autoplay playsinline></video>';
const ADDRESS = 'http://localhost/'; // answered by the test itself; cameras want a secure origin

/** Kurento's client, connected; the test ends if the connection is lost. */
export const connect = (url) => kurento(url, { failAfter: 1 });

export class Party {
  /**
   * A new page. `filter` decides which candidates of either side are passed on: it gets the candidate's text and whether
   * it is the server's.
   */
  static async open(browser, endpoint, filter = () => true) {
    const party = new Party();
    Object.assign(party, { endpoint, filter, events: [], serverCandidates: [] });
    const context = await browser.newContext({ permissions: ['camera', 'microphone'] });
    party.page = await context.newPage();
    party.page.on('pageerror', (error) => party.events.push(['pageerror', error]));
    await party.page.route(ADDRESS, (route) => route.fulfill({ contentType: 'text/html', body: PAGE }));
    await party.page.exposeFunction('onLocalCandidate', (candidate) => party.#toServer(candidate));
    await party.page.goto(ADDRESS);
    await party.page.evaluate(SCRIPT);
    await party.#listen();
    return party;
  }

  async #listen() {
    const { endpoint } = this;
    endpoint.on('IceCandidateFound', ({ candidate }) => {
      this.serverCandidates.push(candidate.candidate);
      if (this.filter(candidate.candidate, true)) {
        const { candidate: text, sdpMid, sdpMLineIndex } = candidate;
        this.run('addCandidate', { candidate: text, sdpMid, sdpMLineIndex }).catch(() => {});
      }
    });
    for (const type of ['MediaStateChanged', 'ConnectionStateChanged', 'IceGatheringDone', 'NewCandidatePairSelected',
      'DataChannelOpened', 'DataChannelClosed', 'Error']) {
      endpoint.on(type, (event) => this.events.push([type, event]));
    }
  }

  async #toServer(candidate) {
    if (!this.filter(candidate.candidate, false)) return;
    await this.endpoint.addIceCandidate(kurento.getComplexType('IceCandidate')(candidate)).catch(() => {});
  }

  /** Calls a method of the page's peer. */
  run(method, ...args) {
    return this.page.evaluate(([method, args]) => window.peer[method](...args), [method, args]);
  }

  get(name) {
    return this.page.evaluate((name) => window.peer[name], name);
  }

  /** Negotiates: the page offers. */
  async join(options) {
    const offer = await this.run('start', options);
    await this.run('accept', 'answer', await this.endpoint.processOffer(offer));
    await this.endpoint.gatherCandidates();
  }

  /** Negotiates again, with an offer of the page. */
  async offerAgain(method, ...args) {
    const offer = await this.run(method, ...args);
    await this.run('accept', 'answer', await this.endpoint.processOffer(offer));
  }

  numbers() {
    return this.run('numbers');
  }

  /** The first event of a type that has come or comes within some seconds. */
  async event(type, matches = () => true, seconds = 10) {
    const find = () => this.events.find(([t, event]) => t === type && matches(event))?.[1];
    await until(`the event ${type}`, async () => find() !== undefined, seconds);
    return find();
  }

  close() {
    return this.page.context().close();
  }
}

/** Waits until something is true. */
export async function until(what, test, seconds = 10) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    if (await test()) return;
    if (Date.now() > end) throw new Error(`after ${seconds} s still not: ${what}`);
    await sleep(50);
  }
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
