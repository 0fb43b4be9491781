//! Who is connected to whom in a pipeline, and where media flows: a plain structure without locks, threads or media.
//!
//! A node either *passes through* (what enters it, or a node that it is wired to, leaves it) or is *terminal*: it produces and consumes,
//! as endpoints do and filters with the media that they change. Which of it may be different for each kind of media ([`Way`]).
//! Every change answers with what follows from it, as a list of [`Change`]s for the pipeline to carry out and announce.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::types::{CONNECT_ORDER, MediaType};

/// An element of the graph.
pub type Node = u64;

/// What becomes of a kind of media that enters a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It ends there. What leaves is the node's own.
    Ends,
    /// It leaves again, unchanged and at once: routes go through.
    Through,
    /// It leaves from whatever nodes are wired to this one ([`Graph::wire`]), unchanged and at once; and what leaves this one is what
    /// enters the node that it is wired to. At first that is none.
    Wired,
    /// It leaves changed: the node is the end of one route and the beginning of another, and nothing leaves while nothing enters.
    Changed,
}

/// The pad used when none is named.
pub const DEFAULT_PAD: &str = "default";

/// One end of a connection: a node, a kind of media, and the name of the pad.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pad {
    /// The kind of media.
    pub media: MediaType,
    /// The node.
    pub node: Node,
    /// Name of the pad.
    pub name: String,
}

impl Pad {
    /// A pad of this node.
    pub fn new(node: Node, media: MediaType, name: &str) -> Pad {
        Pad {
            media,
            node,
            name: name.to_owned(),
        }
    }
}

/// What follows from a change of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A connection was made.
    Connected {
        /// From here.
        source: Pad,
        /// To here.
        sink: Pad,
    },
    /// A connection was ended.
    Disconnected {
        /// From here.
        source: Pad,
        /// To here.
        sink: Pad,
    },
    /// A terminal node is now fed by another terminal node, or by none.
    Route {
        /// The node that is fed.
        sink: Node,
        /// The kind of media.
        media: MediaType,
        /// The node it is fed by.
        source: Option<Node>,
    },
    /// Media began or stopped to enter a node.
    FlowIn(Pad, bool),
    /// Media began or stopped to leave a node.
    FlowOut(Pad, bool),
}

/// Where media entered that leaves a node unchanged.
#[derive(Debug, Clone, Copy)]
enum Passage {
    /// There.
    Here,
    /// At another node, or at none.
    Wired(Option<Node>),
}

#[derive(Debug, Default)]
struct NodeState {
    passes: BTreeMap<MediaType, Passage>,
    changes: BTreeSet<MediaType>,
    producing: BTreeSet<MediaType>,
}

/// The connections of one pipeline.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<Node, NodeState>,
    /// A sink pad has one source.
    by_sink: BTreeMap<Pad, Pad>,
    /// A source pad has any number of sinks, in the order they were connected.
    by_source: BTreeMap<Pad, Vec<Pad>>,
    /// The nodes that are wired to a node.
    wired_to: HashMap<(Node, MediaType), BTreeSet<Node>>,
    /// Pads that media enters, and that it leaves.
    flowing_in: BTreeSet<Pad>,
    flowing_out: BTreeSet<Pad>,
    /// What feeds each terminal node, as last answered.
    routes: HashMap<(Node, MediaType), Node>,
}

impl Graph {
    /// Adds a node, with what becomes there of each kind of media.
    pub fn add(&mut self, node: Node, way: impl Fn(MediaType) -> Way) {
        let mut state = NodeState::default();
        for media in CONNECT_ORDER {
            match way(media) {
                Way::Ends => {}
                Way::Through => drop(state.passes.insert(media, Passage::Here)),
                Way::Wired => drop(state.passes.insert(media, Passage::Wired(None))),
                Way::Changed => drop(state.changes.insert(media)),
            }
        }
        self.nodes.insert(node, state);
    }

    /// Removes a node and its connections.
    pub fn remove(&mut self, node: Node) -> Vec<Change> {
        let touching = |(sink, source): (&Pad, &Pad)| {
            (sink.node == node || source.node == node).then(|| (source.clone(), sink.clone()))
        };
        let edges: Vec<(Pad, Pad)> = self.by_sink.iter().filter_map(touching).collect();
        let mut changes: Vec<Change> = edges
            .iter()
            .flat_map(|(source, sink)| self.disconnect(source, sink))
            .collect();
        for media in CONNECT_ORDER {
            changes.extend(self.wire(node, media, None));
            let behind = self.wired_to.remove(&(node, media)).unwrap_or_default();
            changes.extend(behind.into_iter().flat_map(|other| self.wire(other, media, None)));
        }
        self.nodes.remove(&node);
        self.flowing_in.retain(|p| p.node != node);
        self.flowing_out.retain(|p| p.node != node);
        changes
    }

    /// Connects two pads. A sink that has a source already is disconnected from it first.
    pub fn connect(&mut self, source: Pad, sink: Pad) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(old) = self.unlink(&sink) {
            changes.push(Change::Disconnected {
                source: old,
                sink: sink.clone(),
            });
        }
        self.by_sink.insert(sink.clone(), source.clone());
        self.by_source
            .entry(source.clone())
            .or_default()
            .push(sink.clone());
        changes.push(Change::Connected {
            source,
            sink: sink.clone(),
        });
        self.refresh(vec![sink], &mut changes);
        changes
    }

    /// Disconnects two pads; nothing follows if they are not connected.
    pub fn disconnect(&mut self, source: &Pad, sink: &Pad) -> Vec<Change> {
        if self.by_sink.get(sink) != Some(source) {
            return Vec::new();
        }
        self.unlink(sink);
        let mut changes = vec![Change::Disconnected {
            source: source.clone(),
            sink: sink.clone(),
        }];
        self.refresh(vec![sink.clone()], &mut changes);
        changes
    }

    /// From now on what enters node `from` leaves this node, or nothing does. For nodes of [`Way::Wired`]; others stay as they are.
    pub fn wire(&mut self, node: Node, media: MediaType, from: Option<Node>) -> Vec<Change> {
        let state = self.nodes.get_mut(&node);
        let Some(Passage::Wired(now)) = state.and_then(|state| state.passes.get_mut(&media)) else {
            return Vec::new();
        };
        let before = std::mem::replace(now, from);
        if let Some(others) = before.and_then(|before| self.wired_to.get_mut(&(before, media))) {
            others.remove(&node);
        }
        if let Some(from) = from {
            self.wired_to.entry((from, media)).or_default().insert(node);
        }
        let mut changes = Vec::new();
        let behind = self.refresh_out(&Pad::new(node, media, DEFAULT_PAD), &mut changes);
        self.refresh(behind, &mut changes);
        changes
    }

    /// The node that a node is wired to.
    pub fn wired_from(&self, node: Node, media: MediaType) -> Option<Node> {
        match self.nodes.get(&node)?.passes.get(&media)? {
            Passage::Wired(from) => *from,
            Passage::Here => None,
        }
    }

    /// What feeds this sink pad now.
    pub fn source_of(&self, sink: &Pad) -> Option<&Pad> {
        self.by_sink.get(sink)
    }

    /// Says that a terminal node began or stopped to produce a kind of media.
    pub fn set_producing(&mut self, node: Node, media: MediaType, producing: bool) -> Vec<Change> {
        let Some(state) = self.nodes.get_mut(&node) else {
            return Vec::new();
        };
        let changed = if producing {
            state.producing.insert(media)
        } else {
            state.producing.remove(&media)
        };
        let mut changes = Vec::new();
        if changed {
            let behind = self.refresh_out(&Pad::new(node, media, DEFAULT_PAD), &mut changes);
            self.refresh(behind, &mut changes);
        }
        changes
    }

    /// Whether media enters the pad.
    pub fn is_flowing_in(&self, pad: &Pad) -> bool {
        self.flowing_in.contains(pad)
    }

    /// Whether media leaves the pad.
    pub fn is_flowing_out(&self, pad: &Pad) -> bool {
        self.flowing_out.contains(pad)
    }

    /// Connections that end at the node: (source, sink), by kind of media.
    pub fn connections_to(&self, node: Node) -> Vec<(Pad, Pad)> {
        self.by_sink
            .iter()
            .filter(|(sink, _)| sink.node == node)
            .map(|(k, s)| (s.clone(), k.clone()))
            .collect()
    }

    /// Connections that begin at the node: (source, sink), by kind of media.
    pub fn connections_from(&self, node: Node) -> Vec<(Pad, Pad)> {
        let sources = self.by_source.iter().filter(|(source, _)| source.node == node);
        sources
            .flat_map(|(source, sinks)| sinks.iter().map(|sink| (source.clone(), sink.clone())))
            .collect()
    }

    /// The terminal nodes that a terminal node feeds, each once.
    pub fn sinks_of(&self, source: Node) -> BTreeSet<Node> {
        self.routes
            .iter()
            .filter(|(_, from)| **from == source)
            .map(|((sink, _), _)| *sink)
            .collect()
    }

    /// All connections: (source, sink).
    pub fn connections(&self) -> Vec<(Pad, Pad)> {
        self.by_sink
            .iter()
            .map(|(sink, source)| (source.clone(), sink.clone()))
            .collect()
    }

    fn unlink(&mut self, sink: &Pad) -> Option<Pad> {
        let source = self.by_sink.remove(sink)?;
        if let Some(sinks) = self.by_source.get_mut(&source) {
            sinks.retain(|s| s != sink);
            if sinks.is_empty() {
                self.by_source.remove(&source);
            }
        }
        Some(source)
    }

    fn passage(&self, pad: &Pad) -> Option<Passage> {
        self.nodes.get(&pad.node)?.passes.get(&pad.media).copied()
    }

    /// The pad that media entered by which leaves a node unchanged, if there is one.
    fn entry(&self, source: &Pad) -> Option<Pad> {
        match self.passage(source)? {
            Passage::Here => Some(source.clone()),
            Passage::Wired(from) => {
                let from = from.filter(|_| source.name == DEFAULT_PAD)?;
                Some(Pad::new(from, source.media, DEFAULT_PAD))
            }
        }
    }

    /// The pads that media leaves by which enters a node that passes it.
    fn exits(&self, sink: &Pad) -> Vec<Pad> {
        match self.passage(sink) {
            None => Vec::new(),
            Some(Passage::Here) => vec![sink.clone()],
            Some(Passage::Wired(_)) if sink.name == DEFAULT_PAD => {
                let others = self.wired_to.get(&(sink.node, sink.media));
                let pad = |node: &Node| Pad::new(*node, sink.media, DEFAULT_PAD);
                others.into_iter().flatten().map(pad).collect()
            }
            Some(Passage::Wired(_)) => Vec::new(),
        }
    }

    fn changes(&self, pad: &Pad) -> bool {
        self.nodes
            .get(&pad.node)
            .is_some_and(|n| n.changes.contains(&pad.media))
    }

    /// The terminal node whose media arrives at a sink pad. A circle of pass-through nodes has none.
    fn origin(&self, sink: &Pad) -> Option<Node> {
        let mut at = self.by_sink.get(sink)?;
        for _ in 0..=self.by_sink.len() {
            if self.passage(at).is_none() {
                return self.nodes.contains_key(&at.node).then_some(at.node);
            }
            at = self.by_sink.get(&self.entry(at)?)?;
        }
        None
    }

    fn leaves(&self, pad: &Pad) -> bool {
        match self.nodes.get(&pad.node) {
            Some(node) if node.passes.contains_key(&pad.media) => self
                .entry(pad)
                .is_some_and(|entry| self.flowing_in.contains(&entry)),
            Some(node) => {
                let enters = !node.changes.contains(&pad.media) || self.flowing_in.contains(pad);
                enters && pad.name == DEFAULT_PAD && node.producing.contains(&pad.media)
            }
            None => false,
        }
    }

    /// Works out anew what enters sink pads, the last of the list first, and everything behind them. It does not call
    /// itself, for clients decide how long a row of elements is, and the stack is not theirs.
    fn refresh(&mut self, mut waiting: Vec<Pad>, changes: &mut Vec<Change>) {
        // Ends the walk in circles.
        let mut seen = BTreeSet::new();
        while let Some(sink) = waiting.pop() {
            if !seen.insert(sink.clone()) {
                continue;
            }
            let passes = self.passage(&sink).is_some();
            if !passes && sink.name == DEFAULT_PAD {
                self.refresh_route(&sink, changes);
            }
            let enters = self.by_sink.get(&sink).is_some_and(|source| self.leaves(source));
            let changed = if enters {
                self.flowing_in.insert(sink.clone())
            } else {
                self.flowing_in.remove(&sink)
            };
            if changed {
                changes.push(Change::FlowIn(sink.clone(), enters));
            }
            let exits = if changed && self.changes(&sink) {
                vec![sink]
            } else {
                self.exits(&sink)
            };
            for exit in exits.iter().rev() {
                waiting.extend(self.refresh_out(exit, changes));
            }
        }
    }

    /// Works out anew whether media leaves a source pad. Answers with the sink pads behind it, the first one last.
    fn refresh_out(&mut self, source: &Pad, changes: &mut Vec<Change>) -> Vec<Pad> {
        let leaves = self.leaves(source);
        let changed = if leaves {
            self.flowing_out.insert(source.clone())
        } else {
            self.flowing_out.remove(source)
        };
        if changed {
            changes.push(Change::FlowOut(source.clone(), leaves));
        }
        let sinks = self.by_source.get(source).into_iter().flatten();
        sinks.rev().cloned().collect()
    }

    fn refresh_route(&mut self, sink: &Pad, changes: &mut Vec<Change>) {
        let source = self.origin(sink);
        let key = (sink.node, sink.media);
        let before = match source {
            Some(source) => self.routes.insert(key, source),
            None => self.routes.remove(&key),
        };
        if before != source {
            changes.push(Change::Route {
                sink: sink.node,
                media: sink.media,
                source,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MediaType::{Audio, Video};

    fn pad(node: Node, media: MediaType) -> Pad {
        Pad::new(node, media, DEFAULT_PAD)
    }

    /// Terminal nodes 1 and 2, pass-through nodes 10 and 11.
    fn graph() -> Graph {
        let mut graph = Graph::default();
        graph.add(1, |_| Way::Ends);
        graph.add(2, |_| Way::Ends);
        graph.add(10, |_| Way::Through);
        graph.add(11, |_| Way::Through);
        graph
    }

    fn routes(changes: &[Change]) -> Vec<(Node, Option<Node>)> {
        let route = |c: &Change| match c {
            Change::Route { sink, source, .. } => Some((*sink, *source)),
            _ => None,
        };
        changes.iter().filter_map(route).collect()
    }

    #[test]
    fn a_route_goes_through_nodes_that_pass_through() {
        let mut g = graph();
        assert!(routes(&g.connect(pad(1, Video), pad(10, Video))).is_empty());
        g.connect(pad(10, Video), pad(11, Video));
        assert_eq!(routes(&g.connect(pad(11, Video), pad(2, Video))), [(2, Some(1))]);
        assert_eq!(
            routes(&g.disconnect(&pad(10, Video), &pad(11, Video))),
            [(2, None)]
        );
        assert_eq!(routes(&g.connect(pad(10, Video), pad(11, Video))), [(2, Some(1))]);
        assert_eq!(routes(&g.remove(10)), [(2, None)]);
    }

    #[test]
    fn a_sink_has_one_source_and_kinds_of_media_are_apart() {
        let mut g = graph();
        g.connect(pad(1, Video), pad(2, Video));
        g.connect(pad(1, Audio), pad(2, Audio));
        let changes = g.connect(pad(2, Video), pad(2, Video));
        assert!(matches!(&changes[0], Change::Disconnected { source, .. } if source.node == 1));
        assert_eq!(
            routes(&changes),
            [(2, Some(2))],
            "an element can be its own source"
        );
        assert_eq!(g.connections_to(2).len(), 2);
        assert_eq!(g.connections_from(1), [(pad(1, Audio), pad(2, Audio))]);
    }

    #[test]
    fn connecting_the_same_pads_again_announces_both_and_routes_nothing_anew() {
        let mut g = graph();
        g.connect(pad(1, Video), pad(2, Video));
        let again = g.connect(pad(1, Video), pad(2, Video));
        assert!(
            matches!(again[..], [Change::Disconnected { .. }, Change::Connected { .. }]),
            "{again:?}"
        );
        assert_eq!(g.connections_from(1).len(), 1);
    }

    #[test]
    fn flow_is_announced_along_the_way_and_taken_back() {
        let mut g = graph();
        g.connect(pad(1, Video), pad(10, Video));
        g.connect(pad(10, Video), pad(2, Video));
        let on = g.set_producing(1, Video, true);
        assert_eq!(
            on,
            [
                Change::FlowOut(pad(1, Video), true),
                Change::FlowIn(pad(10, Video), true),
                Change::FlowOut(pad(10, Video), true),
                Change::FlowIn(pad(2, Video), true),
            ]
        );
        assert!(g.set_producing(1, Video, true).is_empty(), "nothing new");
        let cut = g.disconnect(&pad(1, Video), &pad(10, Video));
        assert!(cut.contains(&Change::FlowIn(pad(2, Video), false)), "{cut:?}");
        assert!(g.is_flowing_out(&pad(1, Video)) && !g.is_flowing_in(&pad(2, Video)));
    }

    #[test]
    fn a_filter_ends_routes_of_what_it_changes_and_lets_the_rest_through() {
        let mut g = graph();
        g.add(20, |media| {
            if media == Video {
                Way::Changed
            } else {
                Way::Through
            }
        });
        for media in [Audio, Video] {
            g.connect(pad(1, media), pad(20, media));
        }
        assert_eq!(routes(&g.connect(pad(20, Audio), pad(2, Audio))), [(2, Some(1))]);
        assert_eq!(routes(&g.connect(pad(20, Video), pad(2, Video))), [(2, Some(20))]);
        assert!(g.set_producing(20, Video, true).is_empty(), "nothing enters");
        let on = g.set_producing(1, Video, true);
        assert_eq!(on.last(), Some(&Change::FlowIn(pad(2, Video), true)));
        let off = g.set_producing(1, Video, false);
        assert_eq!(off.last(), Some(&Change::FlowIn(pad(2, Video), false)));
        assert!(!g.is_flowing_out(&pad(20, Video)));
    }

    #[test]
    fn what_enters_a_wired_node_leaves_those_that_are_wired_to_it() {
        let mut g = graph();
        g.add(3, |_| Way::Ends);
        (30..34).for_each(|node| g.add(node, |_| Way::Wired));
        g.connect(pad(1, Video), pad(30, Video));
        assert!(routes(&g.connect(pad(31, Video), pad(2, Video))).is_empty());
        g.connect(pad(32, Video), pad(3, Video));
        g.set_producing(1, Video, true);
        let on = g.wire(31, Video, Some(30));
        assert_eq!(routes(&on), [(2, Some(1))]);
        assert!(on.contains(&Change::FlowOut(pad(31, Video), true)), "{on:?}");
        assert_eq!(
            routes(&g.wire(32, Video, Some(30))),
            [(3, Some(1))],
            "another one too"
        );
        // What enters changes, and where it leaves.
        let off = g.set_producing(1, Video, false);
        assert_eq!(
            off.iter()
                .filter(|c| matches!(c, Change::FlowIn(_, false)))
                .count(),
            3
        );
        let cut = g.disconnect(&pad(1, Video), &pad(30, Video));
        assert_eq!(routes(&cut), [(2, None), (3, None)]);
        g.connect(pad(1, Video), pad(30, Video));
        assert_eq!(routes(&g.wire(31, Video, Some(33))), [(2, None)]);
        assert_eq!(routes(&g.wire(31, Video, Some(30))), [(2, Some(1))]);
        // Either end may go.
        assert!(routes(&g.remove(31)).contains(&(2, None)));
        assert_eq!(routes(&g.remove(30)), [(3, None)]);
        assert!(
            g.wire(10, Video, Some(1)).is_empty(),
            "it passes what enters there"
        );
    }

    #[test]
    fn a_wired_node_gives_back_what_enters_it_and_circles_end() {
        let mut g = graph();
        g.add(30, |_| Way::Wired);
        g.add(31, |_| Way::Wired);
        g.connect(pad(1, Video), pad(30, Video));
        g.connect(pad(30, Video), pad(1, Video));
        assert_eq!(routes(&g.wire(30, Video, Some(30))), [(1, Some(1))]);
        g.wire(31, Video, Some(31));
        g.connect(pad(31, Video), pad(31, Video));
        assert!(routes(&g.connect(pad(31, Video), pad(2, Video))).is_empty());
        assert!(!g.is_flowing_out(&pad(31, Video)));
    }

    #[test]
    fn a_row_of_nodes_may_be_longer_than_any_stack() {
        const LENGTH: Node = 20_000;
        let mut g = Graph::default();
        g.add(0, |_| Way::Ends);
        (1..LENGTH).for_each(|node| g.add(node, |_| Way::Through));
        g.add(LENGTH, |_| Way::Ends);
        (1..LENGTH).for_each(|node| drop(g.connect(pad(node, Video), pad(node + 1, Video))));
        let route = g.connect(pad(0, Video), pad(1, Video));
        assert_eq!(routes(&route), [(LENGTH, Some(0))]);
        let flow = g.set_producing(0, Video, true);
        assert_eq!(flow.len() as Node, 2 * LENGTH);
        assert_eq!(flow.last(), Some(&Change::FlowIn(pad(LENGTH, Video), true)));
    }

    #[test]
    fn a_circle_of_nodes_that_pass_through_ends() {
        let mut g = graph();
        g.connect(pad(10, Video), pad(11, Video));
        g.connect(pad(11, Video), pad(10, Video));
        let changes = g.connect(pad(11, Video), pad(2, Video));
        assert!(routes(&changes).is_empty());
        assert_eq!(routes(&g.connect(pad(1, Video), pad(10, Video))), [(2, Some(1))]);
    }
}
