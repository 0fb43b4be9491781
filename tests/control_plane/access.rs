//! Who may enter.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::client::{Connection, within};
use crate::daemon::Daemon;

const TOKEN: &str = "not-a-token-that-anybody-has";

/// Opens a websocket; the status and text of the answer that refuses it.
async fn open(
    daemon: &Daemon,
    query: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocketStream<TcpStream>, (u16, String)> {
    let stream = TcpStream::connect(daemon.address).await.unwrap();
    let url = format!("ws://{}/kurento{query}", daemon.address);
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match within(tokio_tungstenite::client_async(request, stream)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(refused)) => {
            let text = refused
                .body()
                .as_ref()
                .map(|body| String::from_utf8_lossy(body).into_owned());
            Err((refused.status().as_u16(), text.unwrap_or_default()))
        }
        Err(other) => panic!("{other}"),
    }
}

/// Opens a websocket with a query; the status and text of the answer that refuses it.
pub(crate) async fn websocket(daemon: &Daemon, query: &str) -> Result<Connection, (u16, String)> {
    open(daemon, query, &[]).await.map(Connection::on)
}

/// Opens a websocket and says something on it.
pub(crate) async fn enter(
    daemon: &Daemon,
    query: &str,
    headers: &[(&'static str, &str)],
) -> Result<(), (u16, String)> {
    let mut connection = Connection::on(open(daemon, query, headers).await?);
    let answer = connection.request("ping", json!({})).await.unwrap();
    assert_eq!(answer["value"], "pong");
    Ok(())
}

#[tokio::test]
async fn without_the_token_nobody_enters_and_it_is_in_no_log() {
    let daemon = Daemon::with_config(&format!(
        "[access]\ntokens = \"{TOKEN} another-one-for-the-change\"\n"
    ));
    let bearer = format!("Bearer {TOKEN}");
    enter(&daemon, &format!("?access_token={TOKEN}"), &[])
        .await
        .unwrap();
    enter(&daemon, "", &[("authorization", &bearer)]).await.unwrap();
    enter(&daemon, "?access_token=another-one-for-the-change", &[])
        .await
        .unwrap();
    let url = format!("ws://{}/kurento?access_token={TOKEN}", daemon.address);
    let client = kms_client::Client::connect(&url).await.unwrap();
    client.ping().await.unwrap();
    for (query, why) in [
        ("", "An access token is needed"),
        ("?access_token=not-a-token-that-anybody-ha", "is not known"),
    ] {
        let begun = Instant::now();
        let (status, text) = enter(&daemon, query, &[]).await.unwrap_err();
        assert_eq!(status, 401);
        assert!(text.contains(why) || text.is_empty(), "{text}");
        assert!(begun.elapsed() >= Duration::from_millis(900), "guessing is slow");
    }
    // Those who are let in don't wait for those who guess.
    let guesses = (0..20).map(|n| enter(&daemon, if n % 2 == 0 { "?access_token=x" } else { "" }, &[]));
    let (all, begun) = (futures_util::future::join_all(guesses), Instant::now());
    let mine = async {
        enter(&daemon, "", &[("authorization", &bearer)]).await.unwrap();
        begun.elapsed()
    };
    let (all, mine) = tokio::join!(all, mine);
    assert!(all.iter().all(Result::is_err));
    assert!(mine < Duration::from_millis(900), "{mine:?}");
    daemon.logged("connections were refused").await;
    let log = daemon.log();
    assert!(
        !log.contains(TOKEN) && !log.contains("not-a-token-that-anybody-ha"),
        "{log}"
    );
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let daemon = Daemon::with_config("[access]\norigins = \"https://example.org, http://localhost:8080\"\n");
    enter(&daemon, "", &[]).await.unwrap();
    enter(&daemon, "", &[("origin", "https://example.org")])
        .await
        .unwrap();
    let (status, _) = enter(&daemon, "", &[("origin", "https://evil.test")])
        .await
        .unwrap_err();
    assert_eq!(status, 403);
}
