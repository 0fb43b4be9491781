//! Janus, the server to compare with: its echo test does what an endpoint connected to itself does, its video room what one
//! endpoint connected to many does.

mod api;
mod config;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use serde_json::json;
use str0m::media::Direction;

use crate::error::Result;
use crate::load::Load;
use crate::server::{Server, free_port, host_address};
use api::Janus;
use config::ConfigFolder;

const PROGRAM: &str = "janus";
const ROOM: u64 = 1;

/// A Janus that was started here, with its configuration.
pub(crate) struct JanusServer {
    // Dropped in this order: the folder goes when nobody reads it any more.
    server: Server,
    _config: ConfigFolder,
}

impl JanusServer {
    /// Starts Janus with what it has by default, except for ports and plugins that aren't needed.
    pub(crate) async fn start() -> Result<JanusServer> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let config = ConfigFolder::write(address, host_address())?;
        let mut command = Command::new(PROGRAM);
        command.arg("--configs-folder").arg(config.path());
        let server = Server::start(&mut command, address, format!("ws://{address}")).await?;
        Ok(JanusServer {
            server,
            _config: config,
        })
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> Result<()> {
        self.server.stop().await
    }

    /// Its process.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

/// Whether Janus is installed.
pub(crate) fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file())
}

/// Each peer in an echo test of its own.
pub(crate) async fn loopback(janus: &mut Janus, load: &Load, peers: usize) -> Result<()> {
    for _ in 0..peers {
        let handle = janus.attach("janus.plugin.echotest").await?;
        let (peer, offer) = load.offer(Direction::SendRecv).await?;
        let body = json!({"audio": true, "video": true});
        let answer = janus.message(handle, body, Some(("offer", &offer))).await?;
        load.answer(peer, answer.description()?).await?;
    }
    load.connected().await
}

/// One room: one peer sends, all others see it.
pub(crate) async fn one_to_many(janus: &mut Janus, load: &Load, viewers: usize) -> Result<()> {
    let publisher = janus.attach("janus.plugin.videoroom").await?;
    let room = json!({"request": "create", "room": ROOM, "publishers": 1, "audiocodec": "opus", "videocodec": "vp8"});
    janus.message(publisher, room, None).await?;
    let (peer, offer) = load.offer(Direction::SendOnly).await?;
    let join = json!({"request": "joinandconfigure", "room": ROOM, "ptype": "publisher"});
    let joined = janus.message(publisher, join, Some(("offer", &offer))).await?;
    load.answer(peer, joined.description()?).await?;
    janus.connected(publisher).await?;
    let feed = &joined.data()["id"];
    for _ in 0..viewers {
        let viewer = janus.attach("janus.plugin.videoroom").await?;
        let join =
            json!({"request": "join", "room": ROOM, "ptype": "subscriber", "streams": [{"feed": feed}]});
        let offer = janus.message(viewer, join, None).await?.description()?;
        let (_, answer) = load.accept(offer).await?;
        let start = json!({"request": "start"});
        janus.message(viewer, start, Some(("answer", &answer))).await?;
    }
    load.connected().await
}

/// Opens a session.
pub(crate) async fn connect(server: &JanusServer) -> Result<Janus> {
    Janus::connect(server.server.url()).await
}
