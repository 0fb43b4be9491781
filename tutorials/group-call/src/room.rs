//! Rooms: who is in them, and what they are made of in the media server.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use kms_client::Result;
use kms_client::api::*;
use tokio::sync::{Mutex, watch};

use crate::app_server::MediaServer;

/// How many people a room has at most: each of them receives all others.
const MAX_PEOPLE: usize = 12;
/// The longest name of a room or a person, bytes.
const MAX_NAME: usize = 64;
/// Width and height of the mixed picture: of the shape of those that the page asks cameras for, pixels.
const MIXED: (i32, i32) = (800, 600);

/// Names by the numbers of people. A number is never used again in a room, as a name may be.
pub(crate) type People = BTreeMap<u32, Arc<str>>;

/// All rooms, by name. One is there while somebody is in it.
#[derive(Default)]
pub(crate) struct Rooms(std::sync::Mutex<HashMap<String, Arc<Room>>>);

/// A room.
pub(crate) struct Room {
    name: String,
    // Held while the media server is asked: what is built for one must not be torn down for another meanwhile.
    inside: Mutex<Inside>,
    people: watch::Sender<People>,
}

#[derive(Default)]
struct Inside {
    /// With the first who comes.
    pipeline: Option<MediaPipeline>,
    members: BTreeMap<u32, Member>,
    /// The number of who came last.
    last: u32,
    /// Everybody in one picture. Mixing costs, so it is there only while somebody watches it.
    mixer: Option<Composite>,
    /// The last one has left. Who comes now needs another room of this name.
    closed: bool,
}

struct Member {
    name: Arc<str>,
    /// Brings what the browser sends.
    endpoint: WebRtcEndpoint,
    /// Carries it into the mixer, and out of it what the mixer has for this one: everybody's picture, and the sound of all others.
    port: Option<HubPort>,
    watches_mixer: bool,
}

impl Rooms {
    /// Lets somebody in: gives the room, and the number and endpoint of who entered. The error is a sentence for that person.
    pub(crate) async fn enter(
        &self,
        kms: &MediaServer,
        room: &str,
        name: &str,
    ) -> std::result::Result<(Arc<Room>, u32, WebRtcEndpoint), String> {
        let (room_name, name) = (checked(room)?, checked(name)?);
        loop {
            let room = self
                .lock()
                .entry(room_name.to_owned())
                .or_insert_with(|| Room::new(room_name))
                .clone();
            let mut inside = room.inside.lock().await;
            if inside.closed {
                continue;
            }
            let entered = inside.enter(kms, name).await;
            if entered.is_ok() {
                room.people.send_replace(inside.people());
            } else {
                self.close_if_empty(&room, &mut inside).await;
            }
            drop(inside);
            return entered.map(|(number, endpoint)| (room, number, endpoint));
        }
    }

    /// Somebody leaves, and takes along what was made for that one.
    pub(crate) async fn leave(&self, room: &Room, number: u32) {
        let mut inside = room.inside.lock().await;
        let Some(member) = inside.members.remove(&number) else {
            return;
        };
        room.people.send_replace(inside.people());
        self.close_if_empty(room, &mut inside).await;
        if !inside.closed {
            // An error means that it is gone already.
            let _ = member.endpoint.release().await;
            if let Some(port) = member.port {
                let _ = port.release().await;
            }
            inside.end_mixer_if_unwatched().await;
        }
    }

    /// Releases the pipeline, and with it all that is in it, when nobody is left.
    async fn close_if_empty(&self, room: &Room, inside: &mut Inside) {
        if !inside.members.is_empty() {
            return;
        }
        inside.closed = true;
        self.lock().remove(&room.name);
        if let Some(pipeline) = inside.pipeline.take() {
            let _ = pipeline.release().await; // an error means that it is gone already
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Room>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn new(name: &str) -> Arc<Room> {
        Arc::new(Room {
            name: name.to_owned(),
            inside: Mutex::default(),
            people: watch::Sender::new(People::new()),
        })
    }

    /// Who is in the room, now and whenever that changes.
    pub(crate) fn people(&self) -> watch::Receiver<People> {
        self.people.subscribe()
    }

    /// Makes an endpoint from which `watcher` gets what somebody sends, or what the mixer makes of all. None: that one is not here.
    pub(crate) async fn watch(&self, watcher: u32, whom: Option<u32>) -> Result<Option<WebRtcEndpoint>> {
        let mut inside = self.inside.lock().await;
        let Some(pipeline) = inside.pipeline.clone() else {
            return Ok(None);
        };
        let source = match whom {
            Some(number) => match inside.members.get(&number) {
                Some(member) => Source::Person(member.endpoint.clone()),
                None => return Ok(None),
            },
            None => match inside.watch_mixer(&pipeline, watcher).await? {
                Some(port) => Source::Mixer(port),
                None => return Ok(None),
            },
        };
        let made = async {
            let endpoint = WebRtcEndpoint::create(pipeline.client(), &pipeline).await?;
            let connected = match &source {
                Source::Person(sender) => sender.connect(&endpoint).await,
                Source::Mixer(port) => port.connect(&endpoint).await,
            };
            if connected.is_err() {
                let _ = endpoint.release().await;
            }
            connected.map(|()| endpoint)
        };
        let made = made.await;
        if made.is_err() && whom.is_none() {
            inside.unwatch_mixer(watcher).await;
        }
        made.map(Some)
    }

    /// `watcher` does not want the mixer's picture any more.
    pub(crate) async fn unwatch_mixer(&self, watcher: u32) {
        self.inside.lock().await.unwatch_mixer(watcher).await;
    }
}

/// What can be watched.
enum Source {
    Person(WebRtcEndpoint),
    Mixer(HubPort),
}

impl Inside {
    fn people(&self) -> People {
        let name = |(number, member): (&u32, &Member)| (*number, member.name.clone());
        self.members.iter().map(name).collect()
    }

    async fn enter(
        &mut self,
        kms: &MediaServer,
        name: &str,
    ) -> std::result::Result<(u32, WebRtcEndpoint), String> {
        if self.members.values().any(|member| &*member.name == name) {
            return Err(format!("Somebody called “{name}” is in this room already."));
        }
        if self.members.len() >= MAX_PEOPLE {
            return Err(format!("The room is full: it has {MAX_PEOPLE} people."));
        }
        self.add(kms, name).await.map_err(|error| error.to_string())
    }

    async fn add(&mut self, kms: &MediaServer, name: &str) -> Result<(u32, WebRtcEndpoint)> {
        let pipeline = match &self.pipeline {
            Some(pipeline) => pipeline.clone(),
            None => self
                .pipeline
                .insert(MediaPipeline::create(&kms.client().await?).await?)
                .clone(),
        };
        let endpoint = WebRtcEndpoint::create(pipeline.client(), &pipeline).await?;
        let port = match &self.mixer {
            Some(mixer) => match port_of(mixer, &endpoint, name).await {
                Ok(port) => Some(port),
                Err(error) => {
                    let _ = endpoint.release().await;
                    return Err(error);
                }
            },
            None => None,
        };
        self.last += 1;
        let member = Member {
            name: name.into(),
            endpoint: endpoint.clone(),
            port,
            watches_mixer: false,
        };
        self.members.insert(self.last, member);
        Ok((self.last, endpoint))
    }

    /// The port from which `watcher` gets everybody in one picture; the mixer is made for the first who wants it.
    async fn watch_mixer(&mut self, pipeline: &MediaPipeline, watcher: u32) -> Result<Option<HubPort>> {
        if !self.members.contains_key(&watcher) {
            return Ok(None);
        }
        if self.mixer.is_none() {
            let (width, height) = MIXED;
            let mixer = Composite::create(pipeline.client(), pipeline)
                .width(width)
                .height(height)
                .await?;
            for member in self.members.values_mut() {
                match port_of(&mixer, &member.endpoint, &member.name).await {
                    Ok(port) => member.port = Some(port),
                    Err(error) => {
                        self.end_mixer(&mixer).await;
                        return Err(error);
                    }
                }
            }
            self.mixer = Some(mixer);
        }
        let member = self.members.get_mut(&watcher);
        Ok(member.and_then(|member| {
            member.watches_mixer = true;
            member.port.clone()
        }))
    }

    async fn unwatch_mixer(&mut self, watcher: u32) {
        if let Some(member) = self.members.get_mut(&watcher) {
            member.watches_mixer = false;
        }
        self.end_mixer_if_unwatched().await;
    }

    async fn end_mixer_if_unwatched(&mut self) {
        if !self.members.values().any(|member| member.watches_mixer)
            && let Some(mixer) = self.mixer.take()
        {
            self.end_mixer(&mixer).await;
        }
    }

    /// Releases a mixer, and with it its ports.
    async fn end_mixer(&mut self, mixer: &Composite) {
        self.members.values_mut().for_each(|member| member.port = None);
        let _ = mixer.release().await; // an error means that it is gone already
    }
}

/// A port of the mixer, with what this endpoint brings, and the name under its picture.
async fn port_of(mixer: &Composite, endpoint: &WebRtcEndpoint, name: &str) -> Result<HubPort> {
    let port = HubPort::create(mixer.client(), mixer).await?;
    let connected = async {
        mixer.set_caption(&port, name).await?;
        endpoint.connect(&port).await
    };
    let connected = connected.await;
    if connected.is_err() {
        let _ = port.release().await;
    }
    connected.map(|()| port)
}

/// A name as it is used, without spaces around it. The error is a sentence for the person who chose it.
fn checked(name: &str) -> std::result::Result<&str, String> {
    match name.trim() {
        "" => Err("Room and person need a name.".into()),
        long if long.len() > MAX_NAME => Err(format!(
            "The name is too long: it may have {MAX_NAME} bytes, which are as many English letters, or fewer others."
        )),
        odd if odd.chars().any(char::is_control) => Err("A name is one line of text.".into()),
        name => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        assert_eq!(checked(" Zoë "), Ok("Zoë"));
        assert!(checked(&"x".repeat(MAX_NAME)).is_ok());
        for wrong in [
            "",
            "  ",
            "a\nb",
            &"x".repeat(MAX_NAME + 1),
            &"ë".repeat(MAX_NAME / 2 + 1),
        ] {
            assert!(checked(wrong).is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_room_that_nobody_could_enter_is_gone() {
        let rooms = Rooms::default();
        let nowhere = MediaServer::new("ws://127.0.0.1:1/kurento".into());
        let refused = rooms.enter(&nowhere, "tea", "Anna").await;
        assert!(refused.is_err_and(|why| why.contains("can't reach the media server")));
        assert!(rooms.lock().is_empty());
    }
}
