//! Pictures: those of all ports in one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use gst_video::prelude::*;
use gst_video::{
    VideoColorRange, VideoConverter, VideoConverterConfig, VideoFormat, VideoFrame, VideoFrameRef, VideoInfo,
};
use kms_core::media::{Planes, Source, Timeline};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::caption::{Caption, Captions};
use super::inlet::Receiver;
use super::layout::Rect;
use super::{Inlet, Mixer, Outlet, Worker};

/// An input without a new picture for so long is greyed.
const STALLED: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// The colours of the mixed picture, whatever its size: as browsers' cameras are, and what is drawn here. GStreamer would take larger ones for
/// BT.709.
const BT601: &str = "bt601";

/// The newest picture of an input; written by who makes it, read by the mixer.
struct Input {
    timeline: Timeline,
    newest: Mutex<Option<Picture>>,
}

#[derive(Clone)]
struct Picture {
    info: VideoInfo,
    buffer: gst::Buffer,
    /// When it came, running time.
    came: gst::ClockTime,
}

impl Receiver for Input {
    fn came(&self, caps: &gst::Caps, buffer: gst::Buffer) {
        let mut newest = lock(&self.newest);
        let known = newest.take().map(|picture| picture.info);
        let info =
            match known.filter(|info| info.to_caps().is_ok_and(|known| known.is_always_compatible(caps))) {
                Some(info) => Some(info),
                None => VideoInfo::from_caps(caps).ok(),
            };
        *newest = info.map(|info| Picture {
            info,
            buffer,
            came: self.timeline.now(),
        });
    }

    fn gone(&self) {
        *lock(&self.newest) = None;
    }
}

/// The picture of a port.
pub(in crate::hubs) struct VideoPort {
    id: String,
    input: Arc<Input>,
    pub(in crate::hubs) inlet: Arc<Inlet>,
}

/// What there is to arrange.
pub(in crate::hubs) struct Shown<'a> {
    /// The port.
    pub(in crate::hubs) id: &'a str,
    /// Width and height of its newest picture, as it is to be shown.
    pub(in crate::hubs) size: (u32, u32),
}

/// Where pictures go, and on what.
pub(in crate::hubs) struct Plan {
    /// Width and height of the mixed picture, even.
    pub(in crate::hubs) size: (u32, u32),
    /// What is behind.
    pub(in crate::hubs) background: Background,
}

/// What is behind pictures.
#[derive(Debug, Clone)]
pub(in crate::hubs) enum Background {
    /// Y, Cb and Cr.
    Colour([u8; 3]),
    /// A picture of the mixed picture's size; of another size, it is not shown.
    Image(Arc<Planes>),
}

/// Decides where pictures go.
pub(in crate::hubs) trait Arrangement: Send + Sync {
    /// Pictures a second.
    fn rate(&self) -> u32;
    /// How the mixed picture is to be. May change from one to the next. `None`: there is none yet.
    fn plan(&self, shown: &[Shown<'_>]) -> Option<Plan>;
    /// Places of those that are shown, with their number, lowest first. Those that are not named are not shown.
    fn places(&self, shown: &[Shown<'_>], canvas: Rect) -> Vec<(usize, Rect)>;
    /// What is written under the picture of a port.
    fn caption(&self, _port: &str) -> Option<Arc<str>> {
        None
    }
}

/// Mixes the pictures of ports.
pub(in crate::hubs) struct VideoMixer {
    timeline: Timeline,
    outlet: Arc<Outlet>,
    arrangement: Arc<dyn Arrangement>,
    /// Changed when ports come and go, read with each picture.
    ports: Mutex<Vec<Arc<VideoPort>>>,
    /// Whether it works, as inlets know.
    works: Mutex<bool>,
    /// Used by the mixer's thread alone.
    painter: Mutex<Painter>,
    worker: Worker,
    this: Weak<VideoMixer>,
}

impl VideoMixer {
    /// One that gives by way of this source.
    pub(in crate::hubs) fn new(
        timeline: &Timeline,
        source: Arc<Source>,
        arrangement: Arc<dyn Arrangement>,
    ) -> Arc<VideoMixer> {
        Arc::new_cyclic(|this: &Weak<VideoMixer>| {
            let mixer = this.clone();
            let wanted = move || {
                if let Some(mixer) = mixer.upgrade() {
                    mixer.worker.wake(&mixer.this);
                }
            };
            VideoMixer {
                timeline: timeline.clone(),
                outlet: Outlet::new(timeline, source, wanted),
                arrangement,
                ports: Mutex::default(),
                works: Mutex::default(),
                painter: Mutex::default(),
                worker: Worker::new(timeline, "mixer-video"),
                this: this.clone(),
            }
        })
    }

    /// Where the mixed picture leaves.
    pub(in crate::hubs) fn source(&self) -> &Arc<Source> {
        self.outlet.source()
    }

    /// Another port.
    pub(in crate::hubs) fn add(&self, id: &str) {
        let input = Arc::new(Input {
            timeline: self.timeline.clone(),
            newest: Mutex::default(),
        });
        let port = Arc::new(VideoPort {
            id: id.to_owned(),
            inlet: Inlet::new(&self.timeline, MediaType::Video, input.clone()),
            input,
        });
        let works = lock(&self.works);
        lock(&self.ports).push(port.clone());
        port.inlet.set_wanted(*works);
    }

    /// A port goes.
    pub(in crate::hubs) fn remove(&self, id: &str) {
        let gone = self.port(id);
        lock(&self.ports).retain(|port| port.id != id);
        if let Some(gone) = gone {
            gone.inlet.set_source(None);
        }
    }

    /// The port of this id.
    pub(in crate::hubs) fn port(&self, id: &str) -> Option<Arc<VideoPort>> {
        lock(&self.ports).iter().find(|port| port.id == id).cloned()
    }

    /// All that have a picture.
    fn pictures(&self) -> Vec<(Arc<VideoPort>, Picture)> {
        let ports = lock(&self.ports).clone();
        let newest = |port: Arc<VideoPort>| {
            let picture = lock(&port.input.newest).clone()?;
            Some((port, picture))
        };
        ports.into_iter().filter_map(newest).collect()
    }
}

fn shown(pictures: &[(Arc<VideoPort>, Picture)]) -> Vec<Shown<'_>> {
    pictures
        .iter()
        .map(|(port, picture)| Shown {
            id: &port.id,
            size: size_of(&picture.info),
        })
        .collect()
}

/// Width and height as it is shown: pixels need not be square.
fn size_of(info: &VideoInfo) -> (u32, u32) {
    let shape = info.par();
    let (numer, denom) = (shape.numer().max(1) as u64, shape.denom().max(1) as u64);
    let width = u64::from(info.width()) * numer / denom;
    (u32::try_from(width).unwrap_or(u32::MAX), info.height())
}

impl Mixer for VideoMixer {
    fn step(&self) -> gst::ClockTime {
        gst::ClockTime::SECOND / u64::from(self.arrangement.rate().max(1))
    }

    fn is_wanted(&self) -> bool {
        self.outlet.is_wanted()
    }

    fn works(&self, works: bool) {
        let mut now = lock(&self.works);
        *now = works;
        for port in lock(&self.ports).clone() {
            port.inlet.set_wanted(works);
        }
        if !works {
            *lock(&self.painter) = Painter::default();
        }
    }

    fn mix(&self, at: gst::ClockTime) {
        let pictures = self.pictures();
        let shown = shown(&pictures);
        let Some(plan) = self.arrangement.plan(&shown) else {
            return;
        };
        let canvas = Rect::of(plan.size);
        let places = self.arrangement.places(&shown, canvas);
        let mut painter = lock(&self.painter);
        let Some((info, mut frame)) = painter.canvas(&plan, self.arrangement.rate()) else {
            return;
        };
        let now = self.timeline.now();
        let mut captions = Vec::new();
        for (number, place) in places {
            if let Some((port, picture)) = pictures.get(number) {
                let place = place.fit(size_of(&picture.info));
                painter.draw(&mut frame, &port.id, picture, place);
                if now > picture.came + STALLED {
                    grey(&mut frame, place);
                }
                let caption = self.arrangement.caption(&port.id);
                if let Some((caption, at)) = caption.and_then(|text| Caption::of(text, place)) {
                    if let Some(strip) = painter.captions.get(&caption) {
                        write(&mut frame, at, &strip);
                    }
                    captions.push(caption);
                }
            }
        }
        painter.captions.keep(&captions);
        painter.forget_all_but(&pictures);
        drop(painter);
        let mut buffer = frame.into_buffer();
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(at);
            buffer.set_duration(self.step());
        }
        if let Ok(caps) = info.to_caps() {
            self.outlet.push(&caps, buffer);
        }
    }
}

/// Draws pictures into one.
#[derive(Default)]
struct Painter {
    pool: Option<(VideoInfo, gst::BufferPool)>,
    /// What scales the pictures of each port, as long as their size and place stay the same.
    converters: HashMap<String, (VideoInfo, Rect, VideoConverter)>,
    captions: Captions,
}

impl Drop for Painter {
    fn drop(&mut self) {
        if let Some((_, pool)) = &self.pool {
            // A pool that is active keeps what it has.
            let _ = pool.set_active(false);
        }
    }
}

type Canvas = VideoFrame<gst_video::video_frame::Writable>;

impl Painter {
    /// An empty picture.
    fn canvas(&mut self, plan: &Plan, rate: u32) -> Option<(VideoInfo, Canvas)> {
        let (width, height) = plan.size;
        let rate = gst::Fraction::new(i32::try_from(rate).unwrap_or(15), 1);
        let wanted = VideoInfo::builder(VideoFormat::I420, width, height)
            .fps(rate)
            .colorimetry(&BT601.parse().ok()?)
            .build()
            .ok()?;
        if self.pool.as_ref().is_none_or(|(info, _)| *info != wanted) {
            *self = Painter::default();
            let pool: gst::BufferPool = gst_video::VideoBufferPool::new().upcast();
            let mut config = pool.config();
            let caps = wanted.to_caps().ok()?;
            config.set_params(Some(&caps), u32::try_from(wanted.size()).ok()?, 2, 0);
            pool.set_config(config).ok()?;
            pool.set_active(true).ok()?;
            self.pool = Some((wanted, pool));
        }
        let (info, pool) = self.pool.as_ref()?;
        let buffer = pool.acquire_buffer(None).ok()?;
        let mut frame = VideoFrame::from_buffer_writable(buffer, info).ok()?;
        lay(&mut frame, &plan.background)?;
        Some((info.clone(), frame))
    }

    fn draw(&mut self, frame: &mut Canvas, id: &str, picture: &Picture, place: Rect) {
        if place.is_empty() {
            return;
        }
        let kept = self
            .converters
            .get(id)
            .is_some_and(|(info, rect, _)| *info == picture.info && *rect == place);
        if !kept {
            let made = converter(&picture.info, frame.info(), place);
            match made {
                Some(made) => drop(
                    self.converters
                        .insert(id.to_owned(), (picture.info.clone(), place, made)),
                ),
                None => return,
            }
        }
        let Some((_, _, converter)) = self.converters.get(id) else {
            return;
        };
        if let Ok(from) = VideoFrameRef::from_buffer_ref_readable(&picture.buffer, &picture.info) {
            converter.frame_ref(&from, &mut frame.as_mut_video_frame_ref());
            if picture.info.colorimetry().range() == VideoColorRange::Range0_255 {
                narrow(frame, place);
            }
        }
    }

    fn forget_all_but(&mut self, pictures: &[(Arc<VideoPort>, Picture)]) {
        self.converters
            .retain(|id, _| pictures.iter().any(|(port, _)| port.id == *id));
    }
}

fn converter(from: &VideoInfo, to: &VideoInfo, place: Rect) -> Option<VideoConverter> {
    let pixels = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let mut config = VideoConverterConfig::new();
    config.set_dest_x(pixels(place.x));
    config.set_dest_y(pixels(place.y));
    config.set_dest_width(Some(pixels(place.width)));
    config.set_dest_height(Some(pixels(place.height)));
    config.set_fill_border(false);
    config.set_resampler_method(gst_video::VideoResamplerMethod::Linear);
    // It refuses to convert between frame rates, which it has nothing to do with. And between matrices of colours it writes whole rows, over
    // the pictures beside. They are guessed from sizes mostly, for who sends doesn't tell: so none is applied.
    let to = VideoInfo::builder(VideoFormat::I420, to.width(), to.height())
        .fps(from.fps())
        .colorimetry(&from.colorimetry())
        .chroma_site(from.chroma_site());
    let made = to
        .build()
        .and_then(|to| VideoConverter::new(from, &to, Some(config)));
    made.inspect_err(|error| tracing::warn!(%error, ?from, "a picture can't be mixed"))
        .ok()
}

/// Covers all of the canvas.
fn lay(canvas: &mut Canvas, background: &Background) -> Option<()> {
    let size = (canvas.width() as usize, canvas.height() as usize);
    let strides = canvas.plane_stride().to_vec();
    for (number, stride) in (0..3_usize).zip(strides) {
        let to = canvas.plane_data_mut(number as u32).ok()?;
        match background {
            Background::Colour(colour) => to.fill(colour[number]),
            Background::Image(image) if image.size == size => {
                let width = if number == 0 { size.0 } else { size.0.div_ceil(2) };
                let rows = to.chunks_mut(usize::try_from(stride).ok()?);
                for (to, from) in rows.zip(image.planes[number].chunks(width)) {
                    to.get_mut(..width)?.copy_from_slice(from);
                }
            }
            Background::Image(_) => to.fill(if number == 0 { 16 } else { 128 }),
        }
    }
    Some(())
}

/// Writes what was drawn over the low part of a picture, which is made darker for it.
fn write(canvas: &mut Canvas, at: Rect, strip: &[u8]) {
    each_row(canvas, at, 0, |number, pixels| {
        let letters = strip.iter().skip(number * at.width as usize);
        pixels
            .iter_mut()
            .zip(letters)
            .for_each(|(to, from)| *to = (*to / 3).max(*from));
    });
    for plane in [1, 2] {
        each_row(canvas, at, plane, |_, colours| {
            colours
                .iter_mut()
                .for_each(|to| *to = ((u16::from(*to) + 2 * 128) / 3) as u8);
        });
    }
}

/// Takes the colours away.
fn grey(canvas: &mut Canvas, place: Rect) {
    for plane in [1, 2] {
        each_row(canvas, place, plane, |_, colours| colours.fill(128));
    }
}

/// Brings a picture of full range, as of cameras that send JPEG, into that of video: GStreamer's converter doesn't.
fn narrow(canvas: &mut Canvas, place: Rect) {
    let table = |levels: f32, from: f32, to: f32| -> Vec<u8> {
        let level = |n: u8| (to + (f32::from(n) - from) * levels / 255.0).round() as u8;
        (0..=255).map(level).collect()
    };
    let (brightness, colours) = (table(219.0, 0.0, 16.0), table(224.0, 128.0, 128.0));
    for (plane, table) in [(0, &brightness), (1, &colours), (2, &colours)] {
        each_row(canvas, place, plane, |_, row| {
            for pixel in row {
                *pixel = table.get(usize::from(*pixel)).copied().unwrap_or_default();
            }
        });
    }
}

/// Calls a function with each row of a part of a plane, and its number.
fn each_row(canvas: &mut Canvas, place: Rect, plane: u32, mut work: impl FnMut(usize, &mut [u8])) {
    let half = if plane == 0 { 1 } else { 2 };
    let part = |length: u32| (length / half) as usize;
    let stride = canvas.plane_stride().get(plane as usize).copied();
    let stride = stride
        .and_then(|stride| usize::try_from(stride).ok())
        .unwrap_or(0);
    let Ok(pixels) = canvas.plane_data_mut(plane) else {
        return;
    };
    let rows = pixels.chunks_mut(stride.max(1)).skip(part(place.y));
    for (number, row) in rows.take(part(place.height)).enumerate() {
        if let Some(part) = row.get_mut(part(place.x)..part(place.x + place.width)) {
            work(number, part);
        }
    }
}

#[cfg(test)]
mod tests;
