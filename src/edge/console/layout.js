// Where elements stand: in columns from sources to sinks.

export const NODE = { width: 176, height: 64 };
const GAP = { x: 190, y: 34 };

/**
 * Places for nodes (ids), with edges [from, to]: { places: Map(id → {x, y}), width, height }. An edge that closes a circle doesn't count.
 */
export function layout(nodes, edges) {
  const column = columns(nodes, edges);
  const rows = new Map();
  for (const id of nodes) {
    const of = column.get(id);
    if (!rows.has(of)) rows.set(of, []);
    rows.get(of).push(id);
  }
  const before = new Map(nodes.map((id) => [id, []]));
  for (const [from, to] of edges) before.get(to)?.push(from);
  const places = new Map();
  for (const of of [...rows.keys()].sort((a, b) => a - b)) {
    const ids = rows.get(of);
    // Where what feeds an element stands, so that lines cross less.
    const height = (id) => {
      const known = before.get(id).map((from) => places.get(from)?.y).filter((y) => y !== undefined);
      return known.length ? known.reduce((a, b) => a + b) / known.length : 0;
    };
    ids.map((id, place) => [id, height(id), place]).sort((a, b) => a[1] - b[1] || a[2] - b[2]).forEach(([id], row) => {
      places.set(id, { x: 10 + of * (NODE.width + GAP.x), y: 10 + row * (NODE.height + GAP.y) });
    });
  }
  const most = (axis) => Math.max(0, ...[...places.values()].map((place) => place[axis]));
  return { places, width: most('x') + NODE.width + 60, height: most('y') + NODE.height + 60 };
}

/** The longest way to each node. */
function columns(nodes, edges) {
  const after = new Map(nodes.map((id) => [id, []]));
  for (const [from, to] of edges) if (from !== to && after.has(from) && after.has(to)) after.get(from).push(to);
  const order = [];
  const seen = new Set();
  const open = new Set();
  const back = new Set();
  for (const begin of nodes) {
    // Without calling itself: pipelines can be long.
    const way = seen.has(begin) ? [] : [[begin, 0]];
    while (way.length) {
      const [id, next] = way.at(-1);
      if (next === 0) { seen.add(id); open.add(id); }
      const to = after.get(id)[next];
      if (to === undefined) {
        open.delete(id);
        order.push(id);
        way.pop();
        continue;
      }
      way.at(-1)[1] += 1;
      if (open.has(to)) back.add(`${id} ${to}`);
      else if (!seen.has(to)) way.push([to, 0]);
    }
  }
  const column = new Map(nodes.map((id) => [id, 0]));
  for (const id of order.reverse()) {
    for (const to of after.get(id)) {
      if (!back.has(`${id} ${to}`)) column.set(to, Math.max(column.get(to), column.get(id) + 1));
    }
  }
  return column;
}
