//! `AlphaBlending`: pictures on top of another, which gives the size.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use kms_core::media::Timeline;
use kms_core::object::lock;
use kms_core::objects::{HubPort, InPipeline, hub, names};
use kms_core::{Class, HubCore, Object};
use protocol::{Code, Error, Ref, params};

use super::mixing::audio::AudioMixer;
use super::mixing::layout::{Place, Rect};
use super::mixing::video::{Arrangement, Background, Plan, Shown};
use super::ports::{MixedPorts, mixing_hub};
use super::{hub_object, new_hub, port};

params! {
    /// Parameters of `setMaster`.
    pub struct SetMaster {
        /// The port whose picture fills the mixed one, and gives its size.
        source "source": Ref<names::HubPort>,
        /// What is higher hides what is lower.
        z_order "zOrder": i32,
    }

    /// Parameters of `setPortProperties`.
    pub struct SetPortProperties {
        /// Left edge, of 0 to 1.
        relative_x "relativeX": f32,
        /// Upper edge, of 0 to 1.
        relative_y "relativeY": f32,
        /// What is higher hides what is lower.
        z_order "zOrder": i32,
        /// Of the master's width, 0 to 1.
        relative_width "relativeWidth": f32,
        /// Of the master's height, 0 to 1.
        relative_height "relativeHeight": f32,
        /// The port whose picture it is for.
        port "port": Ref<names::HubPort>,
    }
}

/// No master is larger.
const LARGEST: u32 = 4096;
/// Pictures a second.
const RATE: u32 = 30;

/// The hub.
pub(super) struct AlphaBlending {
    hub: HubCore,
    ports: MixedPorts,
    arranged: Arc<Arranged>,
}

hub_object!(AlphaBlending);
mixing_hub!(AlphaBlending);

/// What the user set: changed by clients, read with each picture.
#[derive(Default)]
struct Arranged(Mutex<Settings>);

#[derive(Default)]
struct Settings {
    /// The master and its height in the stack.
    master: Option<(String, i32)>,
    /// Its size, once there is a picture of it. It stays when the master goes.
    size: Option<(u32, u32)>,
    places: HashMap<String, Place>,
}

impl Arrangement for Arranged {
    fn rate(&self) -> u32 {
        RATE
    }

    fn plan(&self, shown: &[Shown<'_>]) -> Option<Plan> {
        let mut settings = lock(&self.0);
        let master = settings.master.as_ref();
        let found = master.and_then(|(id, _)| shown.iter().find(|shown| shown.id == id));
        let even = |length: u32| (length & !1).clamp(2, LARGEST);
        settings.size = found
            .map(|master| (even(master.size.0), even(master.size.1)))
            .or(settings.size);
        Some(Plan {
            size: settings.size?,
            background: Background::Colour([16, 128, 128]),
        })
    }

    fn places(&self, shown: &[Shown<'_>], canvas: Rect) -> Vec<(usize, Rect)> {
        let settings = lock(&self.0);
        let mut places: Vec<(i32, usize, Rect)> = shown
            .iter()
            .enumerate()
            .filter_map(|(n, shown)| match &settings.master {
                Some((id, z)) if id == shown.id => Some((*z, n, canvas)),
                _ => settings
                    .places
                    .get(shown.id)
                    .map(|place| (place.z, n, place.on(canvas))),
            })
            .collect();
        places.sort_by_key(|(z, ..)| *z);
        places.into_iter().map(|(_, n, place)| (n, place)).collect()
    }
}

impl AlphaBlending {
    fn forget(&self, port: &HubPort) {
        let mut settings = lock(&self.arranged.0);
        settings.places.remove(port.core().id());
        settings.master.take_if(|(id, _)| id == port.core().id());
    }
}

/// The class.
pub(super) fn class(timeline: &Timeline) -> Class<AlphaBlending> {
    let timeline = timeline.clone();
    Class::<AlphaBlending>::new(
        "AlphaBlending",
        "elements",
        "A hub that lays pictures over that of a master, 30 a second; there are none before the master has one. Each port hears the others.",
    )
    .extends(hub::class())
    .constructor(move |call, p: InPipeline| {
        let hub = new_hub(call, &p.media_pipeline, "kurento.AlphaBlending")?;
        let arranged = Arc::<Arranged>::default();
        Ok(Arc::new(AlphaBlending {
            hub,
            ports: MixedPorts::new(&timeline, "alpha-blending", AudioMixer::new(&timeline), arranged.clone()),
            arranged,
        }))
    })
    .method(
        "setMaster",
        "Chooses the port whose picture fills the mixed one and gives its size. Error 40107 for a port of another hub.",
        |this, call, p: SetMaster| {
            let port = port(&**this, call, &p.source)?;
            lock(&this.arranged.0).master = Some((port.core().id().to_owned(), p.z_order));
            Ok(())
        },
    )
    .method(
        "setPortProperties",
        "Where the picture of a port is; it keeps its shape inside. Ports without a place are not shown. Error 40107 for a port of another \
         hub.",
        |this, call, p: SetPortProperties| {
            let port = port(&**this, call, &p.port)?;
            let numbers = [p.relative_x, p.relative_y, p.relative_width, p.relative_height];
            if !numbers.iter().all(|n| (0.0..=1.0).contains(n)) {
                let message = "relativeX, relativeY, relativeWidth and relativeHeight should be 0 to 1";
                return Err(Error::new(Code::IllegalParam, message));
            }
            let [x, y, width, height] = numbers.map(|n| f64::from(n) * 100.0);
            let place = Place { x, y, width, height, z: p.z_order };
            lock(&this.arranged.0).places.insert(port.core().id().to_owned(), place);
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_gives_the_size_and_what_is_higher_comes_later() {
        let arranged = Arranged::default();
        let shown =
            [("a", (320, 241)), ("b", (64, 64)), ("c", (64, 64))].map(|(id, size)| Shown { id, size });
        assert!(arranged.plan(&shown).is_none(), "there is no master");
        assert!(arranged.places(&shown, Rect::of((64, 64))).is_empty());
        {
            let mut settings = lock(&arranged.0);
            settings.master = Some(("a".into(), 1));
            for (id, z) in [("b", 5), ("c", 0)] {
                let place = Place {
                    x: 50.0,
                    y: 50.0,
                    width: 50.0,
                    height: 50.0,
                    z,
                };
                settings.places.insert(id.into(), place);
            }
        }
        let size = |shown| arranged.plan(shown).map(|plan| plan.size);
        assert_eq!(size(&shown), Some((320, 240)));
        assert_eq!(size(&[]), Some((320, 240)), "the master has gone");
        let places = arranged.places(&shown, Rect::of((320, 240)));
        assert_eq!(places.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(places[1].1, Rect::of((320, 240)));
        assert_eq!(places[2].1.x, 160);
    }
}
