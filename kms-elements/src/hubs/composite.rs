//! `Composite`: a conference in one picture, where everybody hears the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms_core::media::{Images, Planes, Timeline, ycbcr};
use kms_core::object::lock;
use kms_core::objects::{HubPort, hub, names};
use kms_core::{Class, HubCore, Object};
use protocol::{Code, Error, NoParams, Ref, params, remote_enum};

use super::mixing::audio::AudioMixer;
use super::mixing::can_draw;
use super::mixing::layout::{Place, Rect, grid, speaker};
use super::mixing::video::{Arrangement, Background, Plan, Shown};
use super::ports::{MixedPorts, mixing_hub};
use super::{hub_object, new_hub, port};

remote_enum! { "elements"
    /// How a `Composite` arranges pictures. Not in Kurento, which knows a grid.
    pub enum CompositeLayout {
        /// All of one size, in rows.
        Grid = "GRID",
        /// Who speaks is large, the others are in a column beside.
        Speaker = "SPEAKER",
        /// Where `setPosition` says; ports without a position are not shown.
        Custom = "CUSTOM",
    }
}

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// Width of the picture, pixels: even, 16 to 4096.
        width "width": i32 = 800,
        /// Height of the picture, pixels: even, 16 to 4096.
        height "height": i32 = 600,
        /// Pictures a second, 1 to 60.
        framerate "framerate": i32 = 15,
    }

    /// Parameters of `setPosition`.
    pub struct SetPosition {
        /// The port whose picture it is for.
        port "port": Ref<names::HubPort>,
        /// Left edge, percent of the width.
        x "x": f32,
        /// Upper edge, percent of the height.
        y "y": f32,
        /// Percent of the width.
        width "width": f32,
        /// Percent of the height.
        height "height": f32,
        /// What is higher hides what is lower.
        z_order "zOrder": i32 = 0,
    }

    /// Parameters of `setBackgroundImage`.
    pub struct SetBackgroundImage {
        /// `file://`, `http(s)://` or `data:`; PNG, JPEG, WebP or SVG, up to 16 MiB.
        uri "uri": String,
    }

    /// Parameters of `setCaption`.
    pub struct SetCaption {
        /// The port whose picture it is under.
        port "port": Ref<names::HubPort>,
        /// One line, in any script, up to 256 bytes. Empty: none.
        text "text": String,
    }
}

/// Bytes of a caption.
const LONGEST_CAPTION: usize = 256;

/// Who is loudest is large after this time, so that a cough changes nothing.
const SPEAKS: Duration = Duration::from_millis(1_000);
/// Louder than who is large by this factor, and than silence.
const LOUDER: f32 = 1.5;
const SILENCE: f32 = 0.01;

/// The hub.
pub(super) struct Composite {
    hub: HubCore,
    ports: MixedPorts,
    arranged: Arc<Arranged>,
}

hub_object!(Composite);
mixing_hub!(Composite);

/// What the user set, and who speaks.
struct Arranged {
    size: (u32, u32),
    rate: u32,
    audio: Arc<AudioMixer>,
    timeline: Timeline,
    /// Changed by clients, read with each picture.
    settings: Mutex<Settings>,
    /// Used by the mixer's thread alone.
    floor: Mutex<Floor>,
}

struct Settings {
    layout: CompositeLayout,
    background: Colour,
    image: Option<Arc<Planes>>,
    /// How often an image was asked for, or none: the last counts, whichever is there first.
    images: u64,
    places: HashMap<String, Place>,
    captions: HashMap<String, Arc<str>>,
}

impl Settings {
    fn asked_for_image(&mut self) -> u64 {
        self.images += 1;
        self.images
    }
}

/// Who has the floor.
#[derive(Default)]
struct Floor {
    speaker: Option<String>,
    /// Who is louder than the speaker, and since when.
    louder: Option<(String, Duration)>,
}

impl Floor {
    /// Who speaks, of those who are here with their loudness.
    fn speaker(&mut self, here: &[(&str, f32)], now: Duration) -> usize {
        let place_of = |id: &str| here.iter().position(|(other, _)| *other == id);
        let now_large = self.speaker.as_deref().and_then(place_of);
        let loudest = (0..here.len()).max_by(|a, b| here[*a].1.total_cmp(&here[*b].1));
        let (Some(large), Some(loudest)) = (now_large.or(loudest), loudest) else {
            *self = Floor::default();
            return 0;
        };
        let is_louder = here[loudest].1 > SILENCE && here[loudest].1 > here[large].1 * LOUDER;
        if now_large.is_none() {
            self.speaker = Some(here[large].0.to_owned());
        }
        if !is_louder {
            self.louder = None;
            return large;
        }
        match &self.louder {
            Some((id, since)) if id == here[loudest].0 => {
                if now >= *since + SPEAKS {
                    self.speaker = Some(id.clone());
                    self.louder = None;
                    return loudest;
                }
            }
            _ => self.louder = Some((here[loudest].0.to_owned(), now)),
        }
        large
    }
}

/// Red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Colour([u8; 3]);

impl Colour {
    /// `#RRGGBB`.
    fn parse(text: &str) -> Option<Colour> {
        let digits = text
            .strip_prefix('#')
            .filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let part = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
        Some(Colour([part(0)?, part(2)?, part(4)?]))
    }

    fn text(self) -> String {
        let [red, green, blue] = self.0;
        format!("#{red:02X}{green:02X}{blue:02X}")
    }

    /// Y, Cb and Cr.
    fn ycbcr(self) -> [u8; 3] {
        ycbcr(self.0.map(|c| f32::from(c) / 255.0))
    }
}

impl Arrangement for Arranged {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn plan(&self, _shown: &[Shown<'_>]) -> Option<Plan> {
        let settings = lock(&self.settings);
        let background = match &settings.image {
            Some(image) => Background::Image(image.clone()),
            None => Background::Colour(settings.background.ycbcr()),
        };
        Some(Plan {
            size: self.size,
            background,
        })
    }

    fn caption(&self, port: &str) -> Option<Arc<str>> {
        lock(&self.settings).captions.get(port).cloned()
    }

    fn places(&self, shown: &[Shown<'_>], canvas: Rect) -> Vec<(usize, Rect)> {
        let settings = lock(&self.settings);
        let places = match settings.layout {
            CompositeLayout::Grid => grid(shown.len(), canvas),
            CompositeLayout::Speaker => {
                let here: Vec<(&str, f32)> =
                    shown.iter().map(|s| (s.id, self.audio.loudness(s.id))).collect();
                let now = Duration::from_nanos(self.timeline.now().nseconds());
                speaker(shown.len(), lock(&self.floor).speaker(&here, now), canvas)
            }
            CompositeLayout::Custom => {
                let place = |(n, shown): (usize, &Shown<'_>)| Some((n, *settings.places.get(shown.id)?));
                let mut places: Vec<(usize, Place)> = shown.iter().enumerate().filter_map(place).collect();
                places.sort_by_key(|(_, place)| place.z);
                return places
                    .into_iter()
                    .map(|(n, place)| (n, place.on(canvas)))
                    .collect();
            }
        };
        places.into_iter().enumerate().collect()
    }
}

impl Composite {
    fn forget(&self, port: &HubPort) {
        let mut settings = lock(&self.arranged.settings);
        settings.places.remove(port.core().id());
        settings.captions.remove(port.core().id());
    }
}

fn within(name: &str, value: i32, range: std::ops::RangeInclusive<i32>, even: bool) -> Result<u32, Error> {
    let fits = range.contains(&value) && (!even || value % 2 == 0);
    let (first, last) = range.into_inner();
    let kind = if even { "an even number" } else { "a number" };
    let refused = || {
        Error::new(
            Code::IllegalParam,
            format!("{name} should be {kind} of {first} to {last}"),
        )
    };
    u32::try_from(value).ok().filter(|_| fits).ok_or_else(refused)
}

/// The class.
pub(super) fn class(timeline: &Timeline, images: &Arc<dyn Images>) -> Class<Composite> {
    let (timeline, images) = (timeline.clone(), images.clone());
    Class::<Composite>::new(
        "Composite",
        "elements",
        "A hub that puts the pictures of all its ports into one, and gives each port the sound of the others. A picture that stands still \
         for two seconds turns grey.",
    )
    .extends(hub::class())
    .constructor(move |call, p: Create| {
        let size = (within("width", p.width, 16..=4096, true)?, within("height", p.height, 16..=4096, true)?);
        let rate = within("framerate", p.framerate, 1..=60, false)?;
        let hub = new_hub(call, &p.media_pipeline, "kurento.Composite")?;
        let audio = AudioMixer::new(&timeline);
        let arranged = Arc::new(Arranged {
            size,
            rate,
            audio: audio.clone(),
            timeline: timeline.clone(),
            settings: Mutex::new(Settings {
                layout: CompositeLayout::Grid,
                background: Colour::default(),
                image: None,
                images: 0,
                places: HashMap::new(),
                captions: HashMap::new(),
            }),
            floor: Mutex::default(),
        });
        Ok(Arc::new(Composite {
            hub,
            ports: MixedPorts::new(&timeline, "composite", audio, arranged.clone()),
            arranged,
        }))
    })
    .settable(
        "layout",
        "How pictures are arranged, from the next one on. Default: GRID. Not in Kurento.",
        |this| lock(&this.arranged.settings).layout,
        |this, layout: CompositeLayout| {
            lock(&this.arranged.settings).layout = layout;
            Ok(())
        },
    )
    .settable(
        "backgroundColor",
        "What is behind the pictures, unless there is an image: `#RRGGBB`. Default: `#000000`. Not in Kurento.",
        |this| lock(&this.arranged.settings).background.text(),
        |this, color: String| {
            let refused = || Error::new(Code::IllegalParam, "backgroundColor should be like #20A0FF");
            let colour = Colour::parse(&color).ok_or_else(refused)?;
            lock(&this.arranged.settings).background = colour;
            Ok(())
        },
    )
    .async_method(
        "setBackgroundImage",
        "Lays an image behind the pictures, as large as fills the canvas, in the place of the colour or the one before; also while media flows. \
         Answers once it is there. Error 40107 with the reason if it can't be had. Not in Kurento.",
        move |this, call, p: SetBackgroundImage| {
            let images = images.clone();
            async move {
                let mine = lock(&this.arranged.settings).asked_for_image();
                let image = images.fill(p.uri, call.reach(), this.arranged.size).await?;
                let mut settings = lock(&this.arranged.settings);
                // Else another was asked for meanwhile, or none.
                if settings.images == mine {
                    settings.image = Some(Arc::new(image));
                }
                Ok(())
            }
        },
    )
    .method("unsetBackgroundImage", "The colour is behind the pictures again. Not in Kurento.", |this, _, _: NoParams| {
        let mut settings = lock(&this.arranged.settings);
        settings.asked_for_image();
        settings.image = None;
        Ok(())
    })
    .method(
        "setCaption",
        "Writes a name under the picture of a port, also while media flows. Pictures less than 64 pixels high have none. Error 40107 for a port \
         of another hub, and for what is no line of text. Not in Kurento.",
        |this, call, p: SetCaption| {
            let port = port(&**this, call, &p.port)?;
            // The last two are line breaks, too.
            let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            if p.text.len() > LONGEST_CAPTION || p.text.chars().any(breaks) {
                return Err(Error::new(Code::IllegalParam, "text should be one line of up to 256 bytes"));
            }
            can_draw().map_err(|why| Error::new(Code::NotEnoughResources, why))?;
            let captions = &mut lock(&this.arranged.settings).captions;
            match p.text.as_str() {
                "" => captions.remove(port.core().id()),
                text => captions.insert(port.core().id().to_owned(), text.into()),
            };
            Ok(())
        },
    )
    .method(
        "setPosition",
        "Where the picture of a port is, in layout CUSTOM; it keeps its shape inside. Error 40107 for a port of another hub. Not in Kurento.",
        |this, call, p: SetPosition| {
            let port = port(&**this, call, &p.port)?;
            let numbers = [p.x, p.y, p.width, p.height];
            if !numbers.iter().all(|n| (0.0..=100.0).contains(n)) {
                return Err(Error::new(Code::IllegalParam, "x, y, width and height should be 0 to 100 percent"));
            }
            let [x, y, width, height] = numbers.map(f64::from);
            let place = Place { x, y, width, height, z: p.z_order };
            lock(&this.arranged.settings).places.insert(port.core().id().to_owned(), place);
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_for_a_second_has_the_floor_and_a_cough_takes_it_from_nobody() {
        let mut floor = Floor::default();
        let ms = Duration::from_millis;
        let quiet = [("a", 0.2), ("b", 0.0)];
        let louder = [("a", 0.0), ("b", 0.3)];
        assert_eq!(floor.speaker(&quiet, ms(0)), 0);
        assert_eq!(floor.speaker(&louder, ms(100)), 0);
        assert_eq!(floor.speaker(&louder, ms(1_000)), 0, "not yet");
        assert_eq!(floor.speaker(&quiet, ms(1_050)), 0, "it was a cough");
        assert_eq!(floor.speaker(&louder, ms(1_100)), 0);
        assert_eq!(floor.speaker(&louder, ms(2_100)), 1);
        assert_eq!(
            floor.speaker(&[("a", 0.0), ("b", 0.0)], ms(9_000)),
            1,
            "who spoke last"
        );
        // Who is large goes.
        assert_eq!(floor.speaker(&[("a", 0.0), ("c", 0.0)], ms(9_100)), 1);
        assert_eq!(floor.speaker(&[], ms(9_200)), 0);
    }

    #[test]
    fn colours_are_written_as_in_css() {
        assert_eq!(Colour::parse("#000000").map(Colour::ycbcr), Some([16, 128, 128]));
        assert_eq!(Colour::parse("#ffffff").map(Colour::ycbcr), Some([235, 128, 128]));
        assert_eq!(Colour::parse("#FF0000").map(Colour::ycbcr), Some([81, 90, 240]));
        assert_eq!(
            Colour::parse("#20A0ff").map(Colour::text).as_deref(),
            Some("#20A0FF")
        );
        for wrong in ["", "red", "#12345", "#12345g", "#+12345", "#ääa"] {
            assert_eq!(Colour::parse(wrong), None, "{wrong}");
        }
    }
}
