//! Sound: every port hears the others.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use kms_core::media::{Source, Timeline};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::inlet::Receiver;
use super::{Inlet, Mixer, Outlet, Worker};

/// Samples a second of each channel.
const RATE: usize = 48_000;
const CHANNELS: usize = 2;
/// What is mixed at once: 20 ms.
const STEP: gst::ClockTime = gst::ClockTime::from_mseconds(20);
const SAMPLES: usize = RATE / 50 * CHANNELS;
/// The form that sound is mixed in.
const CAPS: &str =
    "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2,channel-mask=(bitmask)0x3";
/// Elements that bring sound into it.
pub(super) const NORMALISE: &str = "audioconvert ! audioresample ! capsfilter caps=audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2";
/// So much of an input waits before it is heard, for it comes unevenly: two steps...
const PATIENCE: usize = 2 * SAMPLES;
/// ...and with more than this the oldest is left out.
const MOST: usize = 10 * SAMPLES;
/// From this on loud sound is pressed together, of 1.
const KNEE: f32 = 0.7;
/// How much a step counts in the loudness of an input, of 1.
const NEWEST: f32 = 0.05;

/// The last moments of an input.
#[derive(Default)]
struct Moments {
    samples: VecDeque<i16>,
    is_heard: bool,
    loudness: f32,
}

impl Moments {
    fn add(&mut self, samples: impl Iterator<Item = i16>) {
        self.samples.extend(samples);
        if self.samples.len() > MOST {
            self.samples.drain(..self.samples.len() - PATIENCE);
        }
    }

    /// A step of it; silence where there is nothing.
    fn step(&mut self) -> Option<Vec<i32>> {
        if !self.is_heard && self.samples.len() < PATIENCE {
            self.loudness *= 1.0 - NEWEST;
            return None;
        }
        let count = self.samples.len().min(SAMPLES);
        self.is_heard = count == SAMPLES;
        let mut step: Vec<i32> = self.samples.drain(..count).map(i32::from).collect();
        step.resize(SAMPLES, 0);
        let energy: f32 = step.iter().map(|s| (*s as f32 / 32_768.0).powi(2)).sum();
        self.loudness += NEWEST * ((energy / SAMPLES as f32).sqrt() - self.loudness);
        Some(step)
    }
}

/// Sound as loud as it can be: what is louder than that is pressed together, not cut off, which would be heard as noise.
fn softly(sample: i32) -> i16 {
    let loud = sample as f32 / 32_768.0;
    let over = (loud.abs() - KNEE) / (1.0 - KNEE);
    if over <= 0.0 {
        return sample as i16;
    }
    let pressed = (KNEE + (1.0 - KNEE) * over.tanh()).copysign(loud);
    (pressed * 32_767.0) as i16
}

/// Which inputs a port hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hubs) enum Heard {
    /// All but its own.
    Others,
    /// Those of these ports, by their ids.
    Ports(BTreeSet<String>),
}

/// The sound of a port.
pub(in crate::hubs) struct AudioPort {
    id: String,
    moments: Arc<Input>,
    pub(in crate::hubs) inlet: Arc<Inlet>,
    outlet: Arc<Outlet>,
    heard: Mutex<Heard>,
}

/// What enters a port; written by who makes it, read by the mixer.
#[derive(Default)]
struct Input(Mutex<Moments>);

impl Receiver for Input {
    fn came(&self, _caps: &gst::Caps, buffer: gst::Buffer) {
        if let Ok(map) = buffer.map_readable() {
            let samples = map
                .chunks_exact(2)
                .map(|two| i16::from_le_bytes([two[0], two[1]]));
            lock(&self.0).add(samples);
        }
    }
    fn gone(&self) {}
}

impl AudioPort {
    /// Where its sound leaves.
    pub(in crate::hubs) fn source(&self) -> &Arc<Source> {
        self.outlet.source()
    }

    /// Changes what it hears.
    pub(in crate::hubs) fn hear(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut lock(&self.heard));
    }
}

/// Mixes the sound of ports.
pub(in crate::hubs) struct AudioMixer {
    timeline: Timeline,
    caps: OnceLock<gst::Caps>,
    /// Changed when ports come and go, read with each step.
    ports: Mutex<Vec<Arc<AudioPort>>>,
    /// Whether it works, as inlets know.
    works: Mutex<bool>,
    worker: Worker,
    this: Weak<AudioMixer>,
}

impl AudioMixer {
    pub(in crate::hubs) fn new(timeline: &Timeline) -> Arc<AudioMixer> {
        Arc::new_cyclic(|this| AudioMixer {
            timeline: timeline.clone(),
            caps: OnceLock::new(),
            ports: Mutex::default(),
            works: Mutex::default(),
            worker: Worker::new(timeline, "mixer-audio"),
            this: this.clone(),
        })
    }

    /// Another port, which gives by way of this source.
    pub(in crate::hubs) fn add(&self, id: &str, source: Arc<Source>, heard: Heard) -> Arc<AudioPort> {
        let moments = Arc::new(Input::default());
        let this = self.this.clone();
        let wanted = move || {
            if let Some(mixer) = this.upgrade() {
                mixer.worker.wake(&mixer.this);
            }
        };
        let port = Arc::new(AudioPort {
            id: id.to_owned(),
            inlet: Inlet::new(&self.timeline, MediaType::Audio, moments.clone()),
            moments,
            outlet: Outlet::new(&self.timeline, source, wanted),
            heard: Mutex::new(heard),
        });
        let works = lock(&self.works);
        lock(&self.ports).push(port.clone());
        port.inlet.set_wanted(*works);
        port
    }

    /// A port goes.
    pub(in crate::hubs) fn remove(&self, id: &str) {
        let gone = self.port(id);
        lock(&self.ports).retain(|port| port.id != id);
        if let Some(gone) = gone {
            gone.inlet.set_source(None);
        }
        for port in self.ports() {
            port.hear(|heard| {
                if let Heard::Ports(ids) = heard {
                    ids.remove(id);
                }
            });
        }
    }

    /// The port of this id.
    pub(in crate::hubs) fn port(&self, id: &str) -> Option<Arc<AudioPort>> {
        lock(&self.ports).iter().find(|port| port.id == id).cloned()
    }

    /// How loud a port is, 0 to 1, over the last half second.
    pub(in crate::hubs) fn loudness(&self, id: &str) -> f32 {
        self.port(id).map_or(0.0, |port| lock(&port.moments.0).loudness)
    }

    fn ports(&self) -> Vec<Arc<AudioPort>> {
        lock(&self.ports).clone()
    }
}

impl Mixer for AudioMixer {
    fn step(&self) -> gst::ClockTime {
        STEP
    }

    fn is_wanted(&self) -> bool {
        lock(&self.ports).iter().any(|port| port.outlet.is_wanted())
    }

    fn works(&self, works: bool) {
        let mut now = lock(&self.works);
        *now = works;
        for port in self.ports() {
            port.inlet.set_wanted(works);
        }
    }

    fn mix(&self, at: gst::ClockTime) {
        let ports = self.ports();
        let steps: Vec<Option<Vec<i32>>> = ports.iter().map(|port| lock(&port.moments.0).step()).collect();
        let mut all = vec![0_i32; SAMPLES];
        steps.iter().flatten().for_each(|step| add(&mut all, step, 1));
        for (port, own) in ports
            .iter()
            .zip(&steps)
            .filter(|(port, _)| port.outlet.is_wanted())
        {
            let mixed = match &*lock(&port.heard) {
                Heard::Others => {
                    let mut others = all.clone();
                    own.iter().for_each(|own| add(&mut others, own, -1));
                    others
                }
                Heard::Ports(ids) => {
                    let mut some = vec![0; SAMPLES];
                    let chosen = ports
                        .iter()
                        .zip(&steps)
                        .filter(|(other, _)| ids.contains(&other.id));
                    chosen
                        .filter_map(|(_, step)| step.as_ref())
                        .for_each(|step| add(&mut some, step, 1));
                    some
                }
            };
            let bytes: Vec<u8> = mixed.into_iter().flat_map(|s| softly(s).to_le_bytes()).collect();
            let mut buffer = gst::Buffer::from_mut_slice(bytes);
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_pts(at);
                buffer.set_duration(STEP);
            }
            let caps = self
                .caps
                .get_or_init(|| CAPS.parse().unwrap_or_else(|_| gst::Caps::new_any()));
            port.outlet.push(caps, buffer);
        }
    }
}

fn add(to: &mut [i32], what: &[i32], sign: i32) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += sign * what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_loud_is_pressed_together_and_the_rest_stays_as_it_is() {
        for quiet in [-20_000, -1, 0, 1, 12_345, 22_000] {
            assert_eq!(i32::from(softly(quiet)), quiet);
        }
        let loud: Vec<i16> = (22_000..200_000).step_by(500).map(softly).collect();
        assert!(loud.windows(2).all(|two| two[0] <= two[1]), "louder stays louder");
        assert!(
            loud.windows(2).all(|two| two[1] - two[0] <= 510),
            "without a leap"
        );
        assert_eq!(softly(-60_000), -softly(60_000));
        assert!(softly(i32::MAX / 2) >= 32_700);
    }

    #[test]
    fn an_input_is_heard_once_some_of_it_waits_and_is_never_long_late() {
        let mut moments = Moments::default();
        let sound = |count: usize| std::iter::repeat_n(1_000_i16, count);
        moments.add(sound(SAMPLES));
        assert!(moments.step().is_none(), "it may be late with the next");
        moments.add(sound(SAMPLES));
        assert_eq!(moments.step(), Some(vec![1_000; SAMPLES]));
        assert_eq!(moments.step(), Some(vec![1_000; SAMPLES]));
        // It stops in the middle of a step.
        moments.add(sound(SAMPLES / 2));
        let last = moments.step().expect("what there is");
        assert_eq!((last[0], last[SAMPLES - 1]), (1_000, 0));
        assert!(moments.step().is_none());
        assert!(moments.loudness > 0.0);
        // More than can be heard in time.
        moments.add(sound(MOST + 2));
        assert_eq!(moments.samples.len(), PATIENCE);
    }
}
