//! What an element gives of one kind of media, and the formats it can be had in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use gst_app::AppSink;

use super::branch::Branch;
use super::convert::Step;
use super::input::Input;
use super::transcoding::Transcoding;
use super::{Codec, Format, MediaError, Report, Segment, Timeline};
use crate::element::EncoderBitrates;
use crate::object::lock;
use crate::types::MediaType;

/// How good video is to be that has to be encoded. Encoders of audio choose their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quality {
    /// Bitrate that the encoder aims at, bits a second, unless the element that gives the media was told another.
    pub bits_per_second: u32,
    /// More than that can't be taken, whatever that element was told.
    pub most: u32,
}

impl Quality {
    /// For media that isn't encoded.
    pub const ANY: Quality = Quality::of(0);

    /// So many bits a second, and no bound.
    pub const fn of(bits_per_second: u32) -> Quality {
        Quality {
            bits_per_second,
            most: u32::MAX,
        }
    }

    /// What two ends agree on: of who takes the media this, of who gives it what was set there.
    fn with(self, source: EncoderBitrates) -> Quality {
        Quality::of(source.aim(self.bits_per_second).min(self.most))
    }
}

/// What a consumer wants of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The format.
    pub format: Format,
    /// How good, should it have to be encoded for it.
    pub quality: Quality,
    /// Pictures are to come in the order in which they are shown: who sends them while they are made can't send B-frames
    /// (RFC 8834 knows none, and browsers show them late or not at all).
    pub in_order: bool,
}

/// The format that media of a source is asked to leave in: what can be taken in it is encoded in it, as if it were the source's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// The codec; `None`: the media's own.
    pub codec: Option<Codec>,
    /// Video that is encoded has at most so many frames (the first, above 0) in so many seconds (the second, above 0).
    pub most_frames: Option<(u32, u32)>,
    /// Bitrate that audio is encoded with, bits a second.
    pub audio_bits: Option<u32>,
}

/// Something that media of a source goes to.
pub trait Consumer: Send + Sync {
    /// The source has begun to give media, gives it in another format, or gives no more: ask it again. Called on any thread,
    /// maybe with the pipeline's graph locked: be quick, call nothing that asks the graph.
    fn source_changed(&self, kind: MediaType);

    /// The source's media has reached its end, such as that of a file.
    fn source_ended(&self, _kind: MediaType) {}

    /// What was had from the source has failed. It may be asked again.
    fn source_failed(&self, kind: MediaType, error: &MediaError);
}

/// Makes what a source gives once somebody asks for it, as filters do.
pub trait Origin: Send + Sync {
    /// The media; made, unless somebody has it. It lasts as long as somebody holds it. `None`: there is none now. Called with no lock
    /// of the source held, but maybe with locks of a consumer: tell none.
    fn give(&self) -> Result<Option<Arc<Branch>>, MediaError>;
}

/// Media that a source gives, in one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// The format.
    pub format: Format,
    /// It is not what the source itself gives, but made of that.
    pub converted: bool,
    /// Bitrate that its encoder aims at, bits a second; 0: video is not encoded here, or it is sound.
    pub bits_per_second: u32,
    /// Frames (of sound: packets, or what a decoder makes of one) so far.
    pub frames: u64,
    /// Bytes so far.
    pub bytes: u64,
}

/// How far a conversion that is being made has come. It may fail on the thread that makes it, from within: there it can't wait
/// for the source's state, which is locked.
enum Beginning {
    Going,
    Failed(MediaError),
    Over,
}

/// What a source gives, as long as somebody holds it.
#[derive(Clone)]
struct Flowing {
    branch: Weak<Branch>,
    converted: bool,
    bits_per_second: u32,
}

#[derive(Default)]
struct State {
    native: Option<Arc<Branch>>,
    /// Who makes what is given, if that is done only when it is asked for.
    origin: Option<Weak<dyn Origin>>,
    /// What it made last, from which the conversions are.
    made: Weak<Branch>,
    branches: HashMap<Wanted, Weak<Branch>>,
    leaving: Option<Leaving>,
    consumers: Vec<Weak<dyn Consumer>>,
}

/// What an element gives of one kind of media.
pub struct Source {
    timeline: Timeline,
    name: String,
    kind: MediaType,
    transcoding: Option<Arc<Transcoding>>,
    /// What its element was told.
    bitrates: Arc<Mutex<EncoderBitrates>>,
    /// Changed when media begins or ends (on GStreamer's threads) and by consumers that come and go. Held while a conversion is
    /// built, so that two who want the same get the same.
    state: Mutex<State>,
    /// For those who look on; held for moments, unlike the state.
    flowing: Mutex<Vec<Flowing>>,
}

impl Source {
    /// A source of nobody's that gives nothing yet. The name is for logs. Elements have theirs from
    /// [`new_source`](crate::ElementCore::new_source).
    pub fn new(timeline: &Timeline, name: &str, kind: MediaType) -> Arc<Source> {
        Source::of(timeline, name, kind, None, Arc::default())
    }

    pub(crate) fn of(
        timeline: &Timeline,
        name: &str,
        kind: MediaType,
        transcoding: Option<Arc<Transcoding>>,
        bitrates: Arc<Mutex<EncoderBitrates>>,
    ) -> Arc<Source> {
        Arc::new(Source {
            timeline: timeline.clone(),
            name: name.to_owned(),
            kind,
            transcoding,
            bitrates,
            state: Mutex::default(),
            flowing: Mutex::default(),
        })
    }

    /// AUDIO or VIDEO.
    pub fn kind(&self) -> MediaType {
        self.kind
    }

    /// The format the source itself gives; `None`: nothing yet.
    pub fn native(&self) -> Option<Format> {
        let state = lock(&self.state);
        state
            .native
            .clone()
            .or_else(|| state.made.upgrade())
            .map(|b| b.format)
    }

    /// What flows: the source's own media first, then what is made of it.
    pub fn outputs(&self) -> Vec<Output> {
        // A branch may end with whoever drops it last: not under the lock.
        let flowing: Vec<(Arc<Branch>, Flowing)> = {
            let flowing = lock(&self.flowing);
            let there = |flowing: &Flowing| Some((flowing.branch.upgrade()?, flowing.clone()));
            flowing.iter().filter_map(there).collect()
        };
        let output = |(branch, flowing): &(Arc<Branch>, Flowing)| Output {
            format: branch.format,
            converted: flowing.converted,
            bits_per_second: flowing.bits_per_second,
            frames: branch.passed().frames.load(Ordering::Relaxed),
            bytes: branch.passed().bytes.load(Ordering::Relaxed),
        };
        let mut outputs: Vec<Output> = flowing.iter().map(output).collect();
        outputs.sort_by_key(|o| (o.converted, o.format.to_string(), o.bits_per_second));
        outputs
    }

    /// This flows from now on: the source's own media, instead of all that flowed, or what was made of it.
    fn flows(&self, branch: &Arc<Branch>, made: Option<Quality>) {
        branch.passed();
        let mut flowing = lock(&self.flowing);
        if made.is_none() {
            flowing.clear();
        }
        flowing.retain(|flowing| flowing.branch.strong_count() > 0);
        flowing.push(Flowing {
            branch: Arc::downgrade(branch),
            converted: made.is_some(),
            bits_per_second: made.map_or(0, |quality| quality.bits_per_second),
        });
    }

    /// What the source gives is made by `origin` from now on, when it is asked for.
    pub fn set_origin(&self, origin: Weak<dyn Origin>) {
        lock(&self.state).origin = Some(origin);
    }

    /// The source gives this from now on, or nothing. Consumers are told.
    pub fn set_native(&self, branch: Option<Arc<Branch>>) {
        match &branch {
            Some(branch) => self.flows(branch, None),
            None => lock(&self.flowing).clear(),
        }
        let (before, consumers) = {
            let mut state = lock(&self.state);
            state.branches.clear();
            (
                std::mem::replace(&mut state.native, branch),
                consumers(&mut state),
            )
        };
        drop(before);
        for consumer in consumers {
            consumer.source_changed(self.kind);
        }
    }

    /// From now on the media is asked to leave in this format, or in none. Consumers are told.
    pub fn set_leaving(&self, leaving: Option<Leaving>) {
        {
            let mut state = lock(&self.state);
            state.branches.clear();
            state.leaving = leaving;
        }
        self.changed();
    }

    /// Tells consumers to ask again.
    pub fn changed(&self) {
        let consumers = consumers(&mut lock(&self.state));
        consumers.iter().for_each(|c| c.source_changed(self.kind));
    }

    /// Tells consumers that the media has reached its end.
    pub fn ended(&self) {
        let consumers = consumers(&mut lock(&self.state));
        consumers.iter().for_each(|c| c.source_ended(self.kind));
    }

    /// Tells consumers that what they had has failed, and may be asked for again.
    pub fn interrupted(&self, error: &MediaError) {
        let consumers = consumers(&mut lock(&self.state));
        consumers.iter().for_each(|c| c.source_failed(self.kind, error));
    }

    /// A consumer that is to be told of changes, until it is detached or gone.
    pub fn attach(&self, consumer: Weak<dyn Consumer>) {
        let mut state = lock(&self.state);
        if !state.consumers.iter().any(|c| c.ptr_eq(&consumer)) {
            state.consumers.push(consumer);
        }
    }

    /// The consumer is told no more.
    pub fn detach(&self, consumer: &Weak<dyn Consumer>) {
        lock(&self.state).consumers.retain(|c| !c.ptr_eq(consumer));
    }

    /// The media in the format that is chosen for its own (the native one, or that in which it is asked to leave); made if nobody has it yet. `None`: there is no media yet, or
    /// the choice was none.
    pub fn obtain(
        self: &Arc<Self>,
        choose: impl FnOnce(Format) -> Option<Wanted>,
    ) -> Result<Option<Arc<Branch>>, MediaError> {
        let origin = lock(&self.state).origin.as_ref().map(Weak::upgrade);
        let made = match origin {
            Some(origin) => origin.map(|o| o.give()).transpose()?.flatten(),
            None => None,
        };
        let mut state = lock(&self.state);
        if let Some(made) = &made
            && !state.made.ptr_eq(&Arc::downgrade(made))
        {
            state.branches.clear();
            state.made = Arc::downgrade(made);
            self.flows(made, None);
        }
        let Some(native) = made.or_else(|| state.native.clone()) else {
            return Ok(None);
        };
        let asked = state.leaving.and_then(|leaving| leaving.codec);
        let own = asked.map_or(native.format, Format::Encoded);
        let Some(wanted) = choose(own) else {
            return Ok(None);
        };
        state.branches.retain(|_, branch| branch.strong_count() > 0);
        let mut at = native;
        loop {
            let reorders = wanted.in_order && at.reorders.load(Ordering::Relaxed);
            // What has to be put in order is decoded, though its format is the wanted one.
            let towards = if reorders { Format::Raw } else { wanted.format };
            let Some((step, format)) = Step::towards(at.format, towards) else {
                break;
            };
            let quality = match (format, self.kind) {
                (Format::Encoded(_), MediaType::Video) => wanted.quality.with(*lock(&self.bitrates)),
                _ => Quality::ANY,
            };
            // Encoders here keep the order, so all want the same of them.
            let key = Wanted {
                format,
                quality,
                in_order: true,
            };
            at = match state.branches.get(&key).and_then(Weak::upgrade) {
                Some(branch) => branch,
                None => {
                    let branch = self.convert(at, step, key, state.leaving)?;
                    self.flows(&branch, Some(key.quality));
                    state.branches.insert(key, Arc::downgrade(&branch));
                    branch
                }
            };
        }
        Ok(Some(at))
    }

    fn convert(
        self: &Arc<Self>,
        from: Arc<Branch>,
        step: Step,
        to: Wanted,
        leaving: Option<Leaving>,
    ) -> Result<Arc<Branch>, MediaError> {
        let in_hardware = Arc::new(AtomicBool::new(false));
        let converted = self.convert_with(from.clone(), step, to, leaving, &in_hardware);
        // It is software's turn.
        if converted.is_err() && in_hardware.swap(false, Ordering::Relaxed) {
            return self.convert_with(from, step, to, leaving, &in_hardware);
        }
        converted
    }

    /// `in_hardware` is set if it is done there.
    fn convert_with(
        self: &Arc<Self>,
        from: Arc<Branch>,
        step: Step,
        to: Wanted,
        leaving: Option<Leaving>,
        in_hardware: &Arc<AtomicBool>,
    ) -> Result<Arc<Branch>, MediaError> {
        let source = Arc::downgrade(self);
        let (timeline, blamed) = (self.timeline.clone(), in_hardware.clone());
        let what = format!("{} to {}", from.format, to.format);
        let failed = Arc::new(Mutex::new(Beginning::Going));
        let early = failed.clone();
        let report = move |report| {
            let Report::Failed {
                element,
                error,
                detail,
            } = report
            else {
                return;
            };
            if let (true, Step::Encode(codec)) = (blamed.load(Ordering::Relaxed), step) {
                timeline.hardware().failed(codec);
            }
            let error = MediaError {
                message: format!("Converting {what} failed"),
                detail: format!("{element}: {error} ({detail})"),
            };
            let mut early = lock(&early);
            if let Beginning::Over = *early {
                drop(early);
                if let Some(source) = source.upgrade() {
                    source.failed(to, &error);
                }
            } else {
                *early = Beginning::Failed(error);
            }
        };
        let name = format!("{}-{:?}-{}", self.name, step, to.format);
        let segment = Segment::new(&self.timeline, &name.replace(['(', ')'], "-"), report);
        // Raw media is large, and what waits is late: better dropped early.
        let input = Input::new(&segment, gst::ClockTime::from_mseconds(500))?;
        let (bin, hard) = step.build(&segment, self.kind, to.quality, leaving, self.timeline.hardware())?;
        in_hardware.store(hard, Ordering::Relaxed);
        let sink = AppSink::builder().build();
        let linked = segment.pipeline().add(&sink).is_ok()
            && gst::Element::link_many([
                input.appsrc().upcast_ref(),
                bin.upcast_ref::<gst::Element>(),
                sink.upcast_ref(),
            ])
            .is_ok();
        if !linked {
            return Err(MediaError::new("Media can't be set up"));
        }
        let branch = Branch::of(to.format, &sink);
        branch.passed();
        segment.play()?;
        input.connect(Some(from));
        // What failed up to now is the caller's error, what fails from now on is told to all.
        let began = std::mem::replace(&mut *lock(&failed), Beginning::Over);
        if let Beginning::Failed(error) = began {
            return Err(error);
        }
        let conversion = self.transcoding.as_ref().map(|t| t.begin(self.kind));
        let working = self.timeline.counters().working(step, hard);
        Ok(branch.made_by((segment, input, conversion, working)))
    }

    /// A conversion failed: it is made anew for whoever asks again.
    fn failed(self: &Arc<Self>, wanted: Wanted, error: &MediaError) {
        tracing::warn!(source = %self.name, detail = %error.detail, "{error}");
        lock(&self.state).branches.remove(&wanted);
        self.interrupted(error);
    }
}

fn consumers(state: &mut State) -> Vec<Arc<dyn Consumer>> {
    state.consumers.retain(|c| c.strong_count() > 0);
    state.consumers.iter().filter_map(Weak::upgrade).collect()
}

#[cfg(test)]
mod tests;
