//! A page to look at live pipelines. It speaks the Kurento Protocol with the websocket, as every client: nothing here knows of pipelines.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::Edge;

const PAGE: &str = include_str!("console/index.html");

/// What the page consists of, besides itself. Nothing of it is secret.
const PARTS: [(&str, &str, &str); 4] = [
    (
        "/console/console.js",
        "text/javascript",
        include_str!("console/console.js"),
    ),
    (
        "/console/protocol.js",
        "text/javascript",
        include_str!("console/protocol.js"),
    ),
    (
        "/console/layout.js",
        "text/javascript",
        include_str!("console/layout.js"),
    ),
    (
        "/console/console.css",
        "text/css",
        include_str!("console/console.css"),
    ),
];

/// Asks for a token.
const FORM: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>kms</title>\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><link rel=\"stylesheet\" href=\"console/console.css\">\
    <main><section id=\"graph\"><form action=\"console\"><p><label>Access token <input type=\"password\" name=\"access_token\" \
    autocomplete=\"current-password\" required autofocus></label> <button>Enter</button></p></form></section></main>";

/// Its scripts alone run, and reach this server alone; the token in its address is told nobody, and not kept.
const HEADERS: [(HeaderName, &str); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'",
    ),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// The routes of the page.
pub(super) fn routes(websocket: &str) -> Router<Arc<Edge>> {
    let page = PAGE.replacen("<html ", &format!("<html data-websocket=\"{websocket}\" "), 1);
    let page: Arc<str> = page.into();
    let show = move |edge, query, headers| show(page.clone(), edge, query, headers);
    let mut router = Router::new().route("/console", get(show));
    for (path, kind, text) in PARTS {
        let part = move || async move { (HEADERS, [(CONTENT_TYPE, kind)], text) };
        router = router.route(path, get(part));
    }
    router
}

/// The page, for those who may enter.
async fn show(
    page: Arc<str>,
    State(edge): State<Arc<Edge>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match edge.access.admit(&headers, query.as_deref()).await {
        Ok(_) => (HEADERS, Html(page.to_string())).into_response(),
        Err(refused) if refused.status() == StatusCode::UNAUTHORIZED => {
            (StatusCode::UNAUTHORIZED, HEADERS, Html(FORM)).into_response()
        }
        Err(refused) => refused,
    }
}
