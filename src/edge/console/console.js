// A look at live pipelines, by the same protocol that applications speak. It changes nothing, and holds nothing.

import { NODE, layout } from './layout.js';
import { Server, classOf } from './protocol.js';

const MANAGER = 'manager_ServerManager';
const PERIOD = 1000; // milliseconds between looks
const KINDS = ['AUDIO', 'VIDEO'];
const LANES = ['VIDEO', 'AUDIO', 'DATA'];
const $ = (id) => document.getElementById(id);

// The token stays in this tab, and out of the address bar.
const query = new URLSearchParams(location.search);
const token = query.get('access_token') ?? sessionStorage.getItem('token');
if (query.has('access_token')) {
  sessionStorage.setItem('token', token);
  history.replaceState(null, '', location.pathname);
}
const path = document.querySelector('link').href.replace(/console\/console\.css$/, '');
const url = new URL(websocketPath(), path.replace(/^http/, 'ws'));
if (token) url.searchParams.set('access_token', token);

/** Where the websocket is, from where this page is: the server says so. */
function websocketPath() {
  return (document.documentElement.dataset.websocket ?? '/kurento').slice(1);
}

// Of statistics: what says nothing to people.
const UNTOLD = ['type', 'id', 'timestamp', 'timestampMillis', '__module__', '__type__', 'isRemote'];

const state = { pipelines: [], chosen: null, element: null, elements: new Map(), before: new Map() };
const server = new Server(url, changed);

async function changed(what) {
  $('server').className = what === 'open' ? '' : 'bad';
  if (what !== 'open') {
    $('server').textContent = what === 'refused'
      ? 'The websocket is refused. A token may be missing (?access_token=…), or this page’s origin is not in access.origins.'
      : 'The connection was lost; trying again…';
    return;
  }
  try {
    const info = await server.invoke(MANAGER, 'getInfo');
    $('server').textContent = `version ${info.version}`;
    for (const type of ['ObjectCreated', 'ObjectDestroyed']) await server.hear(MANAGER, type, soon);
    await list();
  } catch (error) {
    $('server').textContent = error.message;
  }
}

// Many objects come and go at once.
let planned = null;
function soon() {
  planned ??= setTimeout(() => { planned = null; list().catch(() => {}); }, 200);
}

async function list() {
  const ids = await server.invoke(MANAGER, 'getPipelines');
  state.pipelines = await Promise.all(ids.map(async (id) => {
    const [name, children, created] = await Promise.all(
      ['getName', 'getChildren', 'getCreationTime'].map((operation) => server.invoke(id, operation).catch(() => null)));
    if (id !== state.chosen) server.letGo(id);
    return { id, name: name === id ? null : name, elements: children?.length ?? 0, created };
  }));
  state.pipelines.sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
  if (state.chosen && !ids.includes(state.chosen)) choose(null);
  $('count').textContent = ids.length || '';
  $('none').hidden = ids.length > 0;
  $('pipelines').replaceChildren(...state.pipelines.map(entry));
}

function entry({ id, name, elements, created }) {
  const button = document.createElement('button');
  button.textContent = name ?? `Pipeline ${id.slice(0, 8)}`;
  button.title = id;
  button.setAttribute('aria-current', id === state.chosen);
  const more = document.createElement('small');
  more.textContent = `${elements} ${elements === 1 ? 'element' : 'elements'}, since ${new Date(created * 1000).toLocaleTimeString()}`;
  button.append(more);
  button.onclick = () => choose(id);
  const item = document.createElement('li');
  item.append(button);
  return item;
}

function choose(id) {
  state.chosen = id;
  state.element = null;
  state.before.clear();
  $('element').hidden = true;
  $('drawing').hidden = $('legend').hidden = true;
  $('hint').hidden = false;
  $('hint').textContent = id ? 'Looking…' : 'Choose a pipeline.';
  for (const button of $('pipelines').querySelectorAll('button')) {
    button.setAttribute('aria-current', button.title === id);
  }
  look();
}

let looking = false;
/** Asks for everything of the chosen pipeline, and draws it. */
async function look() {
  if (looking || !state.chosen) return;
  looking = true;
  const pipeline = state.chosen;
  try {
    const elements = new Map();
    await gather(pipeline, null, elements);
    if (state.chosen === pipeline) {
      state.elements = elements;
      draw();
      if (state.element) describe();
    }
  } catch (error) {
    if (state.chosen === pipeline) $('hint').textContent = error.message;
  } finally {
    server.letGo(pipeline);
    looking = false;
  }
}
setInterval(look, PERIOD);

/** What is made in an object, and in that. */
async function gather(parent, hub, elements) {
  const children = await server.invoke(parent, 'getChildren');
  await Promise.all(children.map(async (id) => {
    elements.set(id, await ask(id, hub));
    await gather(id, id, elements).catch(() => {});
    server.letGo(id);
  }));
}

/** All that is known of an element; what it doesn't have is left out. */
async function ask(id, hub) {
  const value = (operation, params) => server.invoke(id, operation, params).catch(() => undefined);
  const type = classOf(id);
  const ofKinds = (operation) => Promise.all(KINDS.map((mediaType) => value(operation, { mediaType })));
  const [name, sinks, transcodes, stats, outputs, inputs, inside, connection, uri, playing] = await Promise.all([
    value('getName'), value('getSinkConnections'), ofKinds('isMediaTranscoding'), ofKinds('getStats'),
    value('getMediaOutputs'), value('getMediaInputs'),
    Promise.all(KINDS.map((mediaType) => value('isMediaFlowingOut', { mediaType }))),
    type === 'WebRtcEndpoint' ? value('getConnectionState') : undefined,
    /Player|Recorder/.test(type) ? value('getUri') : undefined,
    /Player|Recorder/.test(type) ? value('getState') : undefined,
  ]);
  const at = performance.now();
  const streams = {};
  KINDS.forEach((kind, place) => { streams[kind] = measure(id, kind, stats[place], outputs ?? [], at); });
  return {
    id, type, hub, name: name === id ? null : name, sinks: sinks ?? [], streams, connection, uri, playing,
    takes: Object.fromEntries((inputs ?? []).map(({ type, codec }) => [type, codec])),
    converts: KINDS.filter((_, place) => transcodes[place]), flows: Object.fromEntries(KINDS.map((kind, place) => [kind, inside[place]])),
  };
}

/** Streams of one kind, with what came since the last look: what the element gives, what leaves the server there, what is made of it. */
function measure(id, kind, stats, outputs, at) {
  const of = { in: null, out: null, made: [], all: Object.values(stats ?? {}) };
  const rates = (key, bytes, frames) => {
    const before = state.before.get(`${id} ${key}`);
    state.before.set(`${id} ${key}`, { bytes, frames, at });
    if (!before || at <= before.at || bytes < before.bytes) return { bits: null, fps: null };
    const a_second = 1000 / (at - before.at);
    const fps = kind === 'VIDEO' && frames !== undefined ? (frames - before.frames) * a_second : null;
    return { bits: (bytes - before.bytes) * 8 * a_second, fps };
  };
  for (const one of of.all) {
    const direction = one.type === 'inboundrtp' ? 'in' : one.type === 'outboundrtp' ? 'out' : null;
    if (!direction) continue;
    const measured = rates(one.id, one.bytesReceived ?? one.bytesSent ?? 0, one.framesReceived ?? one.framesSent);
    const stream = { codec: one.codecId?.replace(/^(video|audio)\//, ''), lost: one.fractionLost, ...measured };
    // Of several layers the one that has most.
    if (!of[direction] || (stream.bits ?? 0) > (of[direction].bits ?? 0)) of[direction] = stream;
  }
  for (const one of outputs.filter(({ type }) => type === kind)) {
    const made = one.converted ? `converted ${one.targetBitrate}` : 'own';
    const stream = { codec: one.codec, ...rates(`${kind} ${one.codec} ${made}`, one.bytes, one.frames) };
    if (one.converted) of.made.push(stream);
    else of.in ??= stream;
  }
  return of;
}

function make(name, attributes, text) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const short = (text, most = 24) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const rates = (bits, fps) => [bits ? rate(bits) : null, fps ? `${Math.round(fps)} fps` : null].filter(Boolean);
const rate = (bits) => (bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bits / 1000)} kbit/s`);

function draw() {
  const { elements } = state;
  const ids = [...elements.keys()].sort();
  const edges = ids.flatMap((id) => elements.get(id).sinks.filter(({ sink }) => elements.has(sink))
    .map((sink) => ({ from: id, to: sink.sink, kind: sink.type })))
    .sort((a, b) => LANES.indexOf(a.kind) - LANES.indexOf(b.kind));
  const ports = ids.filter((id) => elements.get(id).hub).map((id) => ({ from: id, to: elements.get(id).hub }));
  const { places, width, height } = layout(ids, [...edges, ...ports].map(({ from, to }) => [from, to]));
  const drawing = $('drawing');
  drawing.setAttribute('width', width);
  drawing.setAttribute('height', height);
  const lanes = new Map();
  const lines = edges.map((edge) => {
    const pair = `${edge.from} ${edge.to}`;
    lanes.set(pair, (lanes.get(pair) ?? 0) + 1);
    return line(edge, places, lanes.get(pair));
  });
  drawing.replaceChildren(...ports.map((port) => make('path', { class: 'port', d: curve(places, port, 32) })), ...lines.flat(),
    ...ids.map((id) => node(elements.get(id), places.get(id))));
  drawing.hidden = $('legend').hidden = ids.length === 0;
  $('hint').hidden = ids.length > 0;
  $('hint').textContent = 'This pipeline has no elements.';
}

function curve(places, { from, to }, lane) {
  const a = places.get(from);
  const b = places.get(to);
  if (from === to) {
    const x = a.x + NODE.width;
    return `M ${x} ${a.y + lane} C ${x + 70} ${a.y + lane + 20}, ${x + 70} ${a.y + NODE.height + 40}, ${a.x + NODE.width / 2} ${a.y + NODE.height}`;
  }
  const [x1, y1, x2, y2] = [a.x + NODE.width, a.y + lane, b.x, b.y + lane];
  const bend = Math.max(40, Math.abs(x2 - x1) / 2);
  return `M ${x1} ${y1} C ${x1 + bend} ${y1}, ${x2 - bend} ${y2}, ${x2} ${y2}`;
}

/** A connection, and what is said of it. */
function line(edge, places, number) {
  const { elements } = state;
  const [from, to] = [elements.get(edge.from), elements.get(edge.to)];
  const given = from.streams[edge.kind]?.in;
  // Of what leaves the server there, its statistics tell; of all else, what it takes, and what the source makes of its media for it.
  const wanted = to.takes[edge.kind];
  const made = wanted && wanted !== given?.codec ? from.streams[edge.kind]?.made.find(({ codec }) => codec === wanted) : null;
  const taken = to.streams[edge.kind]?.out ?? made;
  const converted = Boolean(given?.codec && taken?.codec && given.codec !== taken.codec);
  const flows = from.flows[edge.kind] !== false || edge.kind === 'DATA';
  const lane = number * 20 - 2;
  const classes = [edge.kind, converted ? 'converted' : '', flows ? '' : 'still'].join(' ').trim();
  const path = make('path', { class: classes, d: curve(places, edge, lane) });
  const codec = converted ? `${given.codec} → ${taken.codec}` : given?.codec ?? taken?.codec;
  const { bits, fps } = taken ?? given ?? {};
  const lost = given?.lost || taken?.lost;
  const words = [codec, ...rates(bits, fps), lost ? `${(lost * 100).toFixed(1)} % lost` : null].filter(Boolean);
  path.append(make('title', {}, [edge.kind.toLowerCase(), ...words].join(', ')));
  const a = places.get(edge.from);
  const b = places.get(edge.to);
  const middle = edge.from === edge.to
    ? { x: a.x + NODE.width + 8, y: a.y + NODE.height + number * 13 }
    : { x: (a.x + NODE.width + b.x) / 2, y: (a.y + b.y) / 2 + lane - 4 };
  const label = make('text', {
    class: `edge-label ${lost ? 'lossy' : ''}`, x: middle.x, y: middle.y, 'text-anchor': edge.from === edge.to ? 'start' : 'middle',
  }, words.slice(0, 3).join(', '));
  return [path, label];
}

const said = ({ connection, playing, uri }) => [connection, playing, uri?.split('/').pop()].filter(Boolean).join(' ').toLowerCase();

function node(element, { x, y }) {
  const group = make('g', {
    class: `node ${element.id === state.element ? 'chosen' : ''}`, transform: `translate(${x} ${y})`, tabindex: 0, role: 'button',
  });
  group.append(
    make('title', {}, element.id),
    make('rect', { width: NODE.width, height: NODE.height, rx: 8 }),
    make('text', { class: 'name', x: 10, y: 22 }, short(element.type)),
    make('text', { class: 'state', x: 10, y: 39 }, short(element.name ?? said(element), 28)),
  );
  if (element.converts.length) {
    group.append(make('text', { class: 'converts', x: 10, y: 55 }, `converts ${element.converts.join(', ').toLowerCase()}`));
  }
  const open = () => { state.element = element.id; describe(); draw(); };
  group.onclick = open;
  group.onkeydown = (event) => { if (event.key === 'Enter' || event.key === ' ') open(); };
  return group;
}

$('close').onclick = () => {
  state.element = null;
  $('element').hidden = true;
  draw();
};

/** What is known of the chosen element. */
function describe() {
  const element = state.elements.get(state.element);
  $('element').hidden = !element;
  if (!element) return;
  $('element-name').textContent = element.name ?? element.type;
  const rows = [['class', element.type], ['id', element.id]];
  for (const fact of ['connection', 'playing', 'uri']) if (element[fact]) rows.push([fact, element[fact]]);
  rows.push(['feeds', element.sinks.map(({ sink, type }) => `${classOf(sink)} (${type.toLowerCase()})`).join(', ') || 'nobody']);
  for (const kind of KINDS) {
    const { in: given, out: taken, made, all } = element.streams[kind];
    for (const [title, stream] of [['given', given], ...made.map((stream) => ['converted', stream]), ['sent', taken]]) {
      if (stream?.bits != null) rows.push([`${kind.toLowerCase()} ${title}`, [stream.codec, ...rates(stream.bits, stream.fps)].filter(Boolean).join(', ')]);
    }
    for (const one of all) {
      rows.push([`${kind.toLowerCase()}: ${one.type}`]);
      for (const [key, value] of Object.entries(one)) {
        if (!UNTOLD.includes(key) && value !== '' && typeof value !== 'object') rows.push([key, String(value)]);
      }
    }
  }
  $('facts').replaceChildren(...rows.map(([key, value]) => {
    const row = document.createElement('tr');
    for (const text of value === undefined ? [key] : [key, value]) {
      const cell = document.createElement(value === undefined ? 'th' : 'td');
      if (value === undefined) cell.colSpan = 2;
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  }));
}
