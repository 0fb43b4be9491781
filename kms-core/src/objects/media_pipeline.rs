//! `MediaPipeline`: holds elements and the graph that connects them.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use protocol::{Code, Error, NoParams, Ref, params};

use super::media_object;
use crate::class::Class;
use crate::element::{Element, ElementCore};
use crate::events::{
    ElementConnected, ElementDisconnected, MediaFlowInStateChanged, MediaFlowOutStateChanged,
};
use crate::graph::{Change, Graph, Node, Pad};
use crate::object::{Object, ObjectCore, lock};
use crate::server::Server;
use crate::types::{GstreamerDotDetails, MediaFlowState, MediaType};

/// A connection: the element it begins at and its pad, and those it ends at.
pub type Connection = (Arc<dyn Element>, Pad, Arc<dyn Element>, Pad);

params! {
    /// Parameters of `getGstreamerDot` and `dumpGstreamerDot`.
    pub struct Dot {
        /// How much to tell. Default: SHOW_VERBOSE.
        details "details": Option<GstreamerDotDetails>,
    }
}

/// The graph and the elements in it.
#[derive(Default)]
struct Elements {
    graph: Graph,
    by_node: HashMap<Node, Weak<dyn Element>>,
}

impl Elements {
    fn get(&self, node: Node) -> Option<Arc<dyn Element>> {
        self.by_node.get(&node)?.upgrade()
    }
}

/// A media pipeline.
pub struct MediaPipeline {
    core: ObjectCore,
    latency_stats: AtomicBool,
    /// Changed by `connect` and `disconnect` on any connection and by media threads that report flow. Changes are carried
    /// out and announced while it is held, so that they arrive in the order they were made. Lock order: this one first,
    /// then the server's.
    elements: Mutex<Elements>,
}

impl MediaPipeline {
    /// A new pipeline without elements.
    pub fn new(server: &Server) -> Arc<MediaPipeline> {
        Arc::new_cyclic(|this| MediaPipeline {
            core: ObjectCore::new(server, "kurento.MediaPipeline", None).in_pipeline(this.clone()),
            latency_stats: AtomicBool::new(false),
            elements: Mutex::default(),
        })
    }

    /// Whether statistics of latency are wanted.
    pub fn latency_stats(&self) -> bool {
        self.latency_stats.load(Ordering::Relaxed)
    }

    /// Takes an element into the graph. Every constructor of an element calls it.
    pub fn join(&self, element: Arc<dyn Element>) {
        let mut elements = lock(&self.elements);
        let node = element.element().node;
        elements.graph.add(node, |media| element.way(media));
        elements.by_node.insert(node, Arc::downgrade(&element));
    }

    /// Takes an element out of the graph. Every element calls it when it was released.
    pub fn leave(&self, node: Node) {
        let mut elements = lock(&self.elements);
        let changes = elements.graph.remove(node);
        apply(&elements, changes);
        elements.by_node.remove(&node);
    }

    /// Connects two elements of this pipeline for these kinds of media.
    pub fn connect(
        &self,
        source: &Arc<dyn Element>,
        sink: &Arc<dyn Element>,
        media: &[MediaType],
        source_pad: &str,
        sink_pad: &str,
    ) -> Result<(), Error> {
        for element in [source, sink] {
            let pipeline = element.element().object.pipeline();
            if !pipeline.is_some_and(|p| std::ptr::eq(&*p, self)) {
                let ids = (source.core().id(), sink.core().id());
                let message = format!("'{}' and '{}' are in different pipelines", ids.0, ids.1);
                return Err(Error::new(Code::Connect, message));
            }
        }
        let mut elements = lock(&self.elements);
        let pads = |media: MediaType| {
            let from = Pad::new(source.element().node, media, source_pad);
            (from, Pad::new(sink.element().node, media, sink_pad))
        };
        for media in media {
            let (from, to) = pads(*media);
            let changes = elements.graph.connect(from, to);
            apply(&elements, changes);
        }
        Ok(())
    }

    /// Disconnects two elements for these kinds of media. Announced even where they were not connected, as Kurento does.
    pub fn disconnect(
        &self,
        source: &Arc<dyn Element>,
        sink: &Arc<dyn Element>,
        media: &[MediaType],
        source_pad: &str,
        sink_pad: &str,
    ) {
        let mut elements = lock(&self.elements);
        for media in media {
            let from = Pad::new(source.element().node, *media, source_pad);
            let to = Pad::new(sink.element().node, *media, sink_pad);
            let mut changes = elements.graph.disconnect(&from, &to);
            if changes.is_empty() {
                changes.push(Change::Disconnected {
                    source: from,
                    sink: to,
                });
            }
            apply(&elements, changes);
        }
    }

    /// What enters element `source` leaves `sink` from now on, or nothing does: for elements of [`crate::graph::Way::Wired`].
    pub fn wire(&self, sink: &ElementCore, media: MediaType, source: Option<&ElementCore>) {
        let mut elements = lock(&self.elements);
        let changes = elements
            .graph
            .wire(sink.node, media, source.map(|source| source.node));
        apply(&elements, changes);
    }

    /// What enters element `source` leaves `sink` no more. Nothing happens if it did not.
    pub fn unwire(&self, sink: &ElementCore, media: MediaType, source: &ElementCore) {
        let mut elements = lock(&self.elements);
        if elements.graph.wired_from(sink.node, media) == Some(source.node) {
            let changes = elements.graph.wire(sink.node, media, None);
            apply(&elements, changes);
        }
    }

    /// A terminal element began or stopped to produce media.
    pub(crate) fn set_producing(&self, node: Node, media: MediaType, producing: bool) {
        let mut elements = lock(&self.elements);
        let changes = elements.graph.set_producing(node, media, producing);
        apply(&elements, changes);
    }

    /// Connections that end at the element, with both ends.
    pub fn connections_to(&self, node: Node) -> Vec<Connection> {
        let elements = lock(&self.elements);
        with_elements(&elements, elements.graph.connections_to(node))
    }

    /// Connections that begin at the element, with both ends.
    pub fn connections_from(&self, node: Node) -> Vec<Connection> {
        let elements = lock(&self.elements);
        with_elements(&elements, elements.graph.connections_from(node))
    }

    /// The terminal elements that an element feeds, directly or through others.
    pub fn fed_from(&self, element: &ElementCore) -> Vec<Arc<dyn Element>> {
        let elements = lock(&self.elements);
        elements
            .graph
            .sinks_of(element.node)
            .into_iter()
            .filter_map(|node| elements.get(node))
            .collect()
    }

    /// Whether media enters a pad.
    pub fn is_flowing_in(&self, pad: &Pad) -> bool {
        lock(&self.elements).graph.is_flowing_in(pad)
    }

    /// Whether media leaves a pad.
    pub fn is_flowing_out(&self, pad: &Pad) -> bool {
        lock(&self.elements).graph.is_flowing_out(pad)
    }

    /// The graph in DOT format: of the whole pipeline, or of one element and its neighbours.
    pub fn dot(&self, only: Option<Node>, details: Option<GstreamerDotDetails>) -> String {
        let elements = lock(&self.elements);
        let edges = elements.graph.connections();
        let near = |node: Node| match only {
            None => true,
            Some(only) => {
                node == only
                    || edges.iter().any(|(a, b)| {
                        (a.node == node && b.node == only) || (b.node == node && a.node == only)
                    })
            }
        };
        let parameters = !matches!(details, Some(GstreamerDotDetails::ShowMediaType));
        let mut out = String::from(
            "digraph pipeline {\n  rankdir=LR;\n  node [shape=box, style=\"filled,rounded\"];\n",
        );
        let mut nodes: Vec<Node> = elements.by_node.keys().copied().filter(|n| near(*n)).collect();
        nodes.sort_unstable();
        for node in nodes {
            let Some(element) = elements.get(node) else {
                continue;
            };
            let kind = element.core().qualified_type().trim_start_matches("kurento.");
            let mut label = format!("{kind}\\n{}", dot_text(&element.core().name()));
            if parameters {
                for (name, value) in element.dot_parameters() {
                    let _ = write!(label, "\\n{}={}", dot_text(&name), dot_text(&value));
                }
            }
            let _ = writeln!(out, "  n{node} [label=\"{label}\"];");
        }
        for (source, sink) in edges.iter().filter(|(a, b)| near(a.node) && near(b.node)) {
            let flows = elements.graph.is_flowing_in(sink);
            let style = if flows { "solid" } else { "dashed" };
            let media = source.media.lower();
            let _ = writeln!(
                out,
                "  n{} -> n{} [label=\"{media}\", style={style}];",
                source.node, sink.node
            );
        }
        out.push_str("}\n");
        out
    }
}

/// Text inside a DOT label: quotes and backslashes can't end it, and nothing is longer than a label should be.
fn dot_text(text: &str) -> String {
    text.chars().take(120).flat_map(|c| c.escape_default()).collect()
}

fn with_elements(elements: &Elements, edges: Vec<(Pad, Pad)>) -> Vec<Connection> {
    let resolve = |(source, sink): (Pad, Pad)| {
        Some((elements.get(source.node)?, source, elements.get(sink.node)?, sink))
    };
    edges.into_iter().filter_map(resolve).collect()
}

/// Carries out and announces what follows from a change.
fn apply(elements: &Elements, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Connected { source, sink } => announce_connection(elements, &source, &sink, true),
            Change::Disconnected { source, sink } => announce_connection(elements, &source, &sink, false),
            Change::Route { sink, media, source } => {
                let source = source.and_then(|s| elements.get(s));
                if let Some(sink) = elements.get(sink) {
                    sink.fed_by(media, source.as_ref());
                }
            }
            Change::FlowIn(pad, flowing) => {
                if let Some(element) = elements.get(pad.node) {
                    let (state, media_type) = (flow_state(flowing), pad.media);
                    element.core().raise(&MediaFlowInStateChanged {
                        state,
                        pad_name: pad.name,
                        media_type,
                    });
                }
            }
            Change::FlowOut(pad, flowing) => {
                if let Some(element) = elements.get(pad.node) {
                    let (state, media_type) = (flow_state(flowing), pad.media);
                    element.core().raise(&MediaFlowOutStateChanged {
                        state,
                        pad_name: pad.name,
                        media_type,
                    });
                    if flowing {
                        element.element().transcoding().flows(media_type);
                    }
                }
            }
        }
    }
}

fn flow_state(flowing: bool) -> MediaFlowState {
    if flowing {
        MediaFlowState::Flowing
    } else {
        MediaFlowState::NotFlowing
    }
}

fn announce_connection(elements: &Elements, source: &Pad, sink: &Pad, connected: bool) {
    let (Some(from), Some(to)) = (elements.get(source.node), elements.get(sink.node)) else {
        return;
    };
    let (media_type, sink_ref) = (source.media, Ref::new(to.core().id()));
    let (source_media_description, sink_media_description) = (source.name.clone(), sink.name.clone());
    if connected {
        from.core().raise(&ElementConnected {
            sink: sink_ref,
            media_type,
            source_media_description,
            sink_media_description,
        });
    } else {
        from.core().raise(&ElementDisconnected {
            sink: sink_ref,
            media_type,
            source_media_description,
            sink_media_description,
        });
    }
}

impl Object for MediaPipeline {
    fn core(&self) -> &ObjectCore {
        &self.core
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The class.
pub(super) fn class() -> Class<MediaPipeline> {
    Class::<MediaPipeline>::new(
        "MediaPipeline",
        "core",
        "Holds elements and connects them. Elements of different pipelines can't be connected.",
    )
    .extends(media_object::class())
    .constructor(|call, _: NoParams| Ok(MediaPipeline::new(&call.server)))
    .settable(
        "latencyStats",
        "Whether `getStats` of elements tells latencies. Default: false.",
        |this| this.latency_stats(),
        |this, on: bool| {
            this.latency_stats.store(on, Ordering::Relaxed);
            Ok(())
        },
    )
    .method(
        "getGstreamerDot",
        "The graph of all elements in DOT format (Graphviz).",
        |this, _, p: Dot| Ok(this.dot(None, p.details)),
    )
    .method(
        "dumpGstreamerDot",
        "Writes the graph into the server's log.",
        |this, _, p: Dot| {
            tracing::info!(
                pipeline = this.core().id(),
                dot = this.dot(None, p.details),
                "graph"
            );
            Ok(())
        },
    )
}
