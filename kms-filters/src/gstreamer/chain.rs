//! The elements of a command.

use std::collections::HashMap;
use std::sync::Mutex;

use gst::glib::{self, ParamFlags};
use gst::prelude::*;
use kms_core::media::{MediaError, Segment};
use kms_core::object::lock;
use kms_core::types::MediaType;
use protocol::error::clip;

use super::command::{Part, parse};
use super::rules;
use crate::filter::Work;

/// Elements in a row, of which any number of copies may run.
pub(super) struct Chain {
    kind: MediaType,
    /// Held while a copy is made or a property is set, so that no copy misses it.
    links: Mutex<Vec<Link>>,
}

enum Link {
    Element(Element),
    Caps(gst::Caps),
}

struct Element {
    factory: gst::ElementFactory,
    /// As clients know it: `videobalance0`.
    name: String,
    /// What is set, as last set; checked.
    properties: HashMap<String, String>,
    running: Vec<glib::WeakRef<gst::Element>>,
}

impl Chain {
    /// The elements of a command. The error says what is wrong with it.
    pub(super) fn new(command: &str) -> Result<Chain, String> {
        let mut links = Vec::new();
        let mut kinds = Vec::new();
        let mut names: HashMap<String, usize> = HashMap::new();
        for part in parse(command)? {
            match part {
                Part::Caps(caps) => links.push((Some(caps), None)),
                Part::Element { factory, properties } => {
                    let number = names.entry(factory.clone()).or_default();
                    let name = format!("{factory}{number}");
                    *number += 1;
                    let (element, kind) = Element::new(&factory, name, properties)?;
                    kinds.push(kind);
                    links.push((None, Some(element)));
                }
            }
        }
        let Some(kind) = kinds.first().copied() else {
            return Err("syntax error: an element is missing".into());
        };
        if kinds.iter().any(|k| *k != kind) {
            return Err("elements of audio and of video can't be in one filter".into());
        }
        let links = links.into_iter().map(|link| match link {
            (_, Some(element)) => Ok(Link::Element(element)),
            (caps, None) => bounded(&caps.unwrap_or_default(), kind).map(Link::Caps),
        });
        Ok(Chain {
            kind,
            links: Mutex::new(links.collect::<Result<_, String>>()?),
        })
    }

    /// The kind of media that it changes.
    pub(super) fn kind(&self) -> MediaType {
        self.kind
    }

    /// Names of its elements.
    pub(super) fn elements(&self) -> Vec<String> {
        let name = |link: &Link| match link {
            Link::Element(element) => Some(element.factory.name().to_string()),
            Link::Caps(_) => None,
        };
        lock(&self.links).iter().filter_map(name).collect()
    }

    /// Sets a property of the first element that has one of this name, now and for later.
    pub(super) fn set(&self, name: &str, text: &str) -> Result<(), String> {
        let mut links = lock(&self.links);
        let mut elements = links.iter_mut().filter_map(|link| match link {
            Link::Element(element) => Some(element),
            Link::Caps(_) => None,
        });
        let first = elements.next();
        let first_name = first.as_ref().map(|e| e.name.clone()).unwrap_or_default();
        let found = first
            .into_iter()
            .chain(elements)
            .find_map(|e| rules::property(&e.factory, name).map(|property| (e, property)));
        let Some((element, property)) = found else {
            return Err(format!(
                "No property named '{}' in object '{first_name}'",
                clip(name)
            ));
        };
        if property.flags().contains(ParamFlags::CONSTRUCT_ONLY) {
            return Err(format!(
                "Property '{name}' can only be set when the filter is made"
            ));
        }
        let value = rules::value(&property, text)?;
        element.running.retain(|e| e.upgrade().is_some());
        for running in element.running.iter().filter_map(glib::WeakRef::upgrade) {
            running.set_property_from_value(property.name(), &value);
        }
        element.properties.insert(property.name().into(), text.into());
        Ok(())
    }
}

/// Caps of a command, within the bounds.
fn bounded(text: &str, kind: MediaType) -> Result<gst::Caps, String> {
    let wrong = |why: &str| format!("'{}' {why}", clip(text));
    let caps: gst::Caps = text.parse().map_err(|_| wrong("are no caps"))?;
    let bounds: gst::Caps = rules::bounds(kind).parse().map_err(|_| wrong("are no caps"))?;
    let caps = caps.intersect(&bounds);
    if caps.is_empty() {
        return Err(wrong(&format!("is not possible here: within {bounds}")));
    }
    Ok(caps)
}

impl Element {
    fn new(
        factory: &str,
        name: String,
        properties: Vec<(String, String)>,
    ) -> Result<(Element, MediaType), String> {
        let (factory, kind) = rules::element(factory)?;
        let mut element = Element {
            name,
            properties: HashMap::new(),
            running: Vec::new(),
            factory,
        };
        for (name, text) in properties {
            element.properties.insert(name, text);
        }
        // Now and not with the first picture, when nobody waits for the answer any more.
        element.make()?;
        Ok((element, kind))
    }

    /// A copy of it that is remembered while it exists.
    fn make(&mut self) -> Result<gst::Element, String> {
        let mut builder = self.factory.create();
        for (name, text) in &self.properties {
            let property = rules::property(&self.factory, name).ok_or_else(|| {
                let factory = self.factory.name();
                format!("no property \"{}\" in element \"{factory}\"", clip(name))
            })?;
            builder = builder.property(name.as_str(), rules::value(&property, text)?);
        }
        let made = builder
            .build()
            .map_err(|_| format!("\"{}\" can't be made", self.factory.name()))?;
        self.running.retain(|e| e.upgrade().is_some());
        self.running.push(made.downgrade());
        Ok(made)
    }
}

impl Work for Chain {
    fn add(&self, segment: &Segment) -> Result<(gst::Element, gst::Element), MediaError> {
        let mut row = Vec::new();
        let bounds = rules::bounds(self.kind);
        let convert = match self.kind {
            MediaType::Audio => "audioconvert",
            _ => "videoconvert",
        };
        for link in lock(&self.links).iter_mut() {
            // What one element gives another may not take; where it does, nothing is converted.
            row.push(segment.add(convert)?.upcast());
            match link {
                Link::Caps(caps) => row.push(capsfilter(segment, caps)?),
                Link::Element(element) => {
                    let made = element.make().map_err(MediaError::new)?;
                    add(segment, &made)?;
                    row.push(made);
                    let bounds: gst::Caps = bounds.parse().map_err(|_| unset())?;
                    row.push(capsfilter(segment, &bounds)?);
                }
            }
        }
        gst::Element::link_many(&row)
            .map_err(|_| MediaError::new("The filter's elements don't fit together"))?;
        match (row.first(), row.last()) {
            (Some(first), Some(last)) => Ok((first.clone(), last.clone())),
            _ => Err(unset()),
        }
    }
}

fn unset() -> MediaError {
    MediaError::new("Media can't be set up")
}

fn add(segment: &Segment, element: &gst::Element) -> Result<(), MediaError> {
    segment.pipeline().add(element).map_err(|_| unset())
}

fn capsfilter(segment: &Segment, caps: &gst::Caps) -> Result<gst::Element, MediaError> {
    let filter = gst::ElementFactory::make("capsfilter")
        .property("caps", caps)
        .build()
        .map_err(|_| unset())?;
    add(segment, &filter)?;
    Ok(filter)
}
