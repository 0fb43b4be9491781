//! What the Rust tutorials share: command line, page, a websocket for each browser, and the way to the media server.
//! Nothing in here is about media; that is in each tutorial's `main.rs`.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;
use kms_client::{Client, Options, State};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

/// The largest message taken from a browser: an offer has some 10 KB.
const MAX_MESSAGE: usize = 128 * 1024;

const HELP: &str = "\
    --listen ADDR:PORT   where browsers find the page (default 127.0.0.1:8080)
    --kms URL            the media server (default ws://127.0.0.1:8888/kurento)";

/// The command line.
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) kms: String,
}

impl Settings {
    /// Reads the command line; on anything else than what [`HELP`] says it prints that and ends the program.
    #[allow(dead_code, reason = "a tutorial with options of its own does without")]
    pub(crate) fn from_args() -> Settings {
        Settings::with_options("", |_, _| false)
    }

    /// The same with options of a tutorial's own: `help` tells of them, and `option` takes one with its value, or answers false.
    pub(crate) fn with_options(help: &str, mut option: impl FnMut(&str, &str) -> bool) -> Settings {
        let mut settings = Settings {
            listen: ([127, 0, 0, 1], 8080).into(),
            kms: "ws://127.0.0.1:8888/kurento".into(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let understood = match (name.as_str(), args.next()) {
                ("--listen", Some(value)) => value.parse().map(|listen| settings.listen = listen).is_ok(),
                ("--kms", Some(value)) => {
                    settings.kms = value;
                    true
                }
                (name, Some(value)) => option(name, &value),
                _ => false,
            };
            if !understood {
                eprintln!("{HELP}{help}");
                std::process::exit(2);
            }
        }
        settings
    }
}

/// The media server. The session is opened when it is first needed, and again when it was lost for good.
pub(crate) struct MediaServer {
    url: String,
    client: Mutex<Option<Client>>,
}

impl MediaServer {
    pub(crate) fn new(url: String) -> Arc<MediaServer> {
        Arc::new(MediaServer {
            url,
            client: Mutex::default(),
        })
    }

    /// The session, shared by all browsers.
    pub(crate) async fn client(&self) -> kms_client::Result<Client> {
        let mut client = self.client.lock().await;
        match &*client {
            Some(open) if !matches!(open.state(), State::Closed(_)) => Ok(open.clone()),
            _ => {
                // People wait for the answer.
                let options = Options {
                    request_timeout: Duration::from_secs(10),
                    ..Options::default()
                };
                Ok(client
                    .insert(Client::connect_with(&self.url, options).await?)
                    .clone())
            }
        }
    }

    /// Ends the session, so that the media server releases at once what we made.
    async fn close(&self) {
        if let Some(client) = self.client.lock().await.take() {
            // An error, or no answer, means that the server is gone already.
            let _ = tokio::time::timeout(Duration::from_secs(1), client.close_session()).await;
        }
    }
}

/// One browser: JSON messages over its websocket.
pub(crate) struct Browser(WebSocket);

impl Browser {
    /// Waits for the next message. `None`: the browser is gone. What is no valid message is answered with an error.
    pub(crate) async fn receive<M: DeserializeOwned>(&mut self) -> Option<M> {
        loop {
            match self.0.recv().await?.ok()? {
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(message) => return Some(message),
                    Err(error) => self.complain(format!("message not understood: {error}")).await,
                },
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Sends a message. A browser that is gone is noticed by [`receive`](Self::receive).
    pub(crate) async fn send(&mut self, message: impl Serialize) {
        if let Ok(text) = serde_json::to_string(&message) {
            let _ = self.0.send(Message::text(text)).await;
        }
    }

    /// Tells the person in front of the browser what went wrong.
    pub(crate) async fn complain(&mut self, error: impl ToString) {
        self.send(json!({"id": "error", "message": error.to_string()}))
            .await;
    }
}

/// A page: its `index.html` and `main.js`.
pub(crate) struct Page {
    pub(crate) html: &'static str,
    pub(crate) script: &'static str,
}

/// Serves the page, and runs `session` for each browser that opens it, until Ctrl-C or SIGTERM.
pub(crate) async fn serve<F>(
    listen: SocketAddr,
    page: Page,
    kms: &MediaServer,
    session: impl Fn(Browser) -> F + Clone + Send + Sync + 'static,
) -> std::io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let websocket = move |upgrade: WebSocketUpgrade| async move {
        upgrade
            .max_message_size(MAX_MESSAGE)
            .on_upgrade(move |socket| session(Browser(socket)))
    };
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let routes = Router::new()
        .route("/", file(page.html, "text/html; charset=utf-8"))
        .route("/main.js", file(page.script, SCRIPT))
        .route(
            "/common/style.css",
            file(include_str!("page/style.css"), "text/css; charset=utf-8"),
        )
        .route("/common/peer.js", file(include_str!("page/peer.js"), SCRIPT))
        .route(
            "/common/signalling.js",
            file(include_str!("page/signalling.js"), SCRIPT),
        )
        .route("/common/ui.js", file(include_str!("page/ui.js"), SCRIPT))
        .route("/ws", get(websocket));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("open http://{}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = axum::serve(listener, routes) => result?,
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    kms.close().await;
    Ok(())
}

fn file(text: &'static str, content_type: &'static str) -> axum::routing::MethodRouter {
    get(move || async move { ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")], text) })
}
