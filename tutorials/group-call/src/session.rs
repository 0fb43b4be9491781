//! One browser: the room its person is in, and its connections.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use kms_client::Result;
use kms_client::api::events::IceCandidateFound;
use kms_client::api::types::IceCandidate;
use kms_client::api::*;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::app_server::{Browser, MediaServer};
use crate::room::{People, Room, Rooms};

/// What the page says. It numbers its connections, and uses no number twice: so a late answer is not taken for that of a connection that
/// took the place of another.
#[derive(Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum FromPage {
    /// "Join" was pressed; the offer is to send.
    Join {
        connection: u32,
        room: String,
        name: String,
        sdp_offer: String,
    },
    /// A person is to be seen, or without a number all in one picture; the offer is to receive.
    Watch {
        connection: u32,
        person: Option<u32>,
        sdp_offer: String,
    },
    /// A connection is not needed any more.
    Close { connection: u32 },
    /// An address at which the browser may be reached.
    OnIceCandidate {
        connection: u32,
        candidate: IceCandidate,
    },
    /// "Leave" was pressed.
    Leave,
}

/// The person's place in a room.
struct Seat {
    room: Arc<Room>,
    number: u32,
    people: watch::Receiver<People>,
    /// By the page's numbers. There is one that sends, and at most one for each that can be watched.
    connections: BTreeMap<u32, Connection>,
}

/// A connection with the browser.
struct Connection {
    carries: Carries,
    endpoint: WebRtcEndpoint,
    candidates: Events<IceCandidateFound>,
}

/// Whose media a connection is for.
#[derive(Clone, Copy, PartialEq)]
enum Carries {
    Mine,
    Person(u32),
    All,
}

/// What comes from elsewhere than the page.
enum News {
    /// An address at which the media server may be reached.
    Candidate(u32, IceCandidate),
    /// Somebody came or left.
    People(People),
    /// The media server has forgotten everything.
    Lost,
}

pub(crate) struct Session {
    browser: Browser,
    kms: Arc<MediaServer>,
    rooms: Arc<Rooms>,
    seat: Option<Seat>,
}

impl Session {
    pub(crate) fn new(browser: Browser, kms: Arc<MediaServer>, rooms: Arc<Rooms>) -> Session {
        Session {
            browser,
            kms,
            rooms,
            seat: None,
        }
    }

    /// Serves the browser until it leaves.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                message = self.browser.receive() => {
                    let Some(message) = message else { break };
                    if let Err(error) = self.handle(message).await {
                        self.browser.complain(error).await;
                    }
                }
                news = next_news(&mut self.seat) => self.pass_on(news).await,
            }
        }
        self.leave().await;
    }

    async fn handle(&mut self, message: FromPage) -> Result<()> {
        match message {
            FromPage::Join {
                connection,
                room,
                name,
                sdp_offer,
            } => self.join(connection, &room, &name, &sdp_offer).await,
            FromPage::Watch {
                connection,
                person,
                sdp_offer,
            } => return self.watch(connection, person, &sdp_offer).await,
            FromPage::Close { connection } => {
                if let Some(seat) = &mut self.seat {
                    seat.close(|number, _| number == connection).await;
                }
            }
            FromPage::OnIceCandidate {
                connection,
                candidate,
            } => {
                // Of a connection that is closed already, it is of no use.
                if let Some(connection) = self.seat.as_ref().and_then(|s| s.connections.get(&connection)) {
                    return connection.endpoint.add_ice_candidate(&candidate).await;
                }
            }
            FromPage::Leave => self.leave().await,
        }
        Ok(())
    }

    async fn join(&mut self, connection: u32, room: &str, name: &str, offer: &str) {
        self.leave().await;
        let refused = match self.enter(connection, room, name, offer).await {
            Ok(()) => return,
            Err(reason) => json!({"id": "joinResponse", "response": "rejected", "message": reason}),
        };
        self.leave().await;
        self.browser.send(refused).await;
    }

    async fn enter(
        &mut self,
        connection: u32,
        room: &str,
        name: &str,
        offer: &str,
    ) -> std::result::Result<(), String> {
        let (room, number, endpoint) = self.rooms.enter(&self.kms, room, name).await?;
        let mut people = room.people();
        people.mark_changed(); // the page wants to know who is here
        let seat = self.seat.insert(Seat {
            room,
            number,
            people,
            connections: BTreeMap::new(),
        });
        let accepted = json!({"id": "joinResponse", "response": "accepted", "you": number});
        let done = match seat.add(connection, Carries::Mine, endpoint).await {
            Ok(endpoint) => negotiate(&mut self.browser, connection, &endpoint, offer, accepted).await,
            Err(error) => Err(error),
        };
        done.map_err(|error| error.to_string())
    }

    async fn watch(&mut self, connection: u32, person: Option<u32>, offer: &str) -> Result<()> {
        let Some(seat) = &mut self.seat else { return Ok(()) };
        let carries = person.map_or(Carries::All, Carries::Person);
        seat.close(|number, it| number == connection || it == carries)
            .await;
        // Who is not here has left a moment ago, and the page will hear of it.
        let Some(endpoint) = seat.room.watch(seat.number, person).await? else {
            return Ok(());
        };
        let done = match seat.add(connection, carries, endpoint).await {
            Ok(endpoint) => {
                let answer = json!({"id": "watchResponse"});
                negotiate(&mut self.browser, connection, &endpoint, offer, answer).await
            }
            Err(error) => Err(error),
        };
        if done.is_err() {
            seat.close(|number, _| number == connection).await;
        }
        done
    }

    async fn pass_on(&mut self, news: News) {
        match news {
            News::Candidate(connection, candidate) => {
                let message = json!({"id": "iceCandidate", "connection": connection, "candidate": candidate});
                self.browser.send(message).await;
            }
            News::People(people) => {
                if let Some(seat) = &mut self.seat {
                    let gone =
                        |carries| matches!(carries, Carries::Person(person) if !people.contains_key(&person));
                    seat.close(|_, carries| gone(carries)).await;
                }
                let people: Vec<_> = people
                    .iter()
                    .map(|(number, name)| json!({"number": number, "name": name}))
                    .collect();
                self.browser.send(json!({"id": "people", "people": people})).await;
            }
            News::Lost => {
                self.leave().await;
                self.browser.send(json!({"id": "left"})).await;
                self.browser
                    .complain("the media server was restarted; join again")
                    .await;
            }
        }
    }

    async fn leave(&mut self) {
        if let Some(mut seat) = self.seat.take() {
            seat.close(|_, carries| carries != Carries::Mine).await;
            self.rooms.leave(&seat.room, seat.number).await;
        }
    }
}

impl Seat {
    /// Takes an endpoint in; one that could not be is released.
    async fn add(
        &mut self,
        connection: u32,
        carries: Carries,
        endpoint: WebRtcEndpoint,
    ) -> Result<WebRtcEndpoint> {
        let subscribed = endpoint.on_ice_candidate_found().await;
        let candidates = match subscribed {
            Ok(candidates) => candidates,
            Err(error) => {
                let _ = endpoint.release().await;
                return Err(error);
            }
        };
        let made = Connection {
            carries,
            endpoint: endpoint.clone(),
            candidates,
        };
        self.connections.insert(connection, made);
        Ok(endpoint)
    }

    /// Closes connections, but the one that sends, which ends with the person's stay.
    async fn close(&mut self, which: impl Fn(u32, Carries) -> bool) {
        let closed: Vec<_> = self
            .connections
            .extract_if(.., |number, it| {
                it.carries != Carries::Mine && which(*number, it.carries)
            })
            .collect();
        for (_, connection) in closed {
            let _ = connection.endpoint.release().await; // an error means that it is gone already
            if connection.carries == Carries::All {
                self.room.unwatch_mixer(self.number).await;
            }
        }
    }
}

/// Answers the offer, with the answer put into `message`.
async fn negotiate(
    browser: &mut Browser,
    connection: u32,
    endpoint: &WebRtcEndpoint,
    offer: &str,
    mut message: Value,
) -> Result<()> {
    message["connection"] = json!(connection);
    message["sdpAnswer"] = json!(endpoint.process_offer(offer).await?);
    browser.send(message).await;
    endpoint.gather_candidates().await
}

async fn next_news(seat: &mut Option<Seat>) -> News {
    let Some(seat) = seat else {
        return std::future::pending().await;
    };
    let connections = &mut seat.connections;
    let candidate = poll_fn(|context| {
        for (number, connection) in connections.iter_mut() {
            if let Poll::Ready(found) = pin!(connection.candidates.next()).poll(context) {
                return Poll::Ready(found.map(|found| (*number, found.candidate)));
            }
        }
        Poll::Pending
    });
    tokio::select! {
        found = candidate => found.map_or(News::Lost, |(connection, found)| News::Candidate(connection, found)),
        // Can't fail: the seat holds the room.
        _ = seat.people.changed() => News::People(seat.people.borrow_and_update().clone()),
    }
}
