//! Files that clients upload to endpoints (`HttpPostEndpoint`): bytes are read from the connection as fast as they are played.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CONTENT_TYPE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::StreamExt;
use kms_elements::http_post::{Upload, UploadError, Uploads};

use super::multipart::{Form, FormError};

/// Where uploads go, followed by the endpoint's id.
pub const PATH: &str = "/upload/";

/// A connection that brings nothing for this long is given up: its client may be gone without a word.
const SILENCE: Duration = Duration::from_secs(60);
/// How long an upload that was refused is read on, unplayed: a client that still sends would not see the answer of a connection
/// that is closed meanwhile.
const LINGER: Duration = Duration::from_secs(1);

/// The routes.
pub(super) fn routes(uploads: Uploads) -> Router {
    Router::new()
        .route(&format!("{PATH}{{id}}"), post(take).put(take).options(allow))
        .with_state(uploads)
}

/// Why an upload ended early.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Unplayed(#[from] UploadError),
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("The upload broke off")]
    Broken,
    #[error("Nothing came for {} seconds", SILENCE.as_secs())]
    Silent,
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Refused::Unplayed(UploadError::Unknown) => StatusCode::NOT_FOUND,
            Refused::Unplayed(UploadError::Busy) => StatusCode::CONFLICT,
            Refused::Unplayed(UploadError::NotPlayable(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refused::Unplayed(UploadError::IndexTooLate { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::Unplayed(UploadError::Released) => StatusCode::GONE,
            Refused::Unplayed(UploadError::Failed) => StatusCode::INTERNAL_SERVER_ERROR,
            Refused::Form(_) | Refused::Broken => StatusCode::BAD_REQUEST,
            Refused::Silent => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// Plays what is uploaded, and answers when it was played to its end.
async fn take(
    State(uploads): State<Uploads>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut body = body.into_data_stream();
    let (status, text) = match play(&uploads, &id, &headers, &mut body).await {
        Ok(()) => (StatusCode::OK, "The upload was played to its end\n".to_owned()),
        Err(refused) => {
            let rest = async { while let Some(Ok(_)) = body.next().await {} };
            let _ = tokio::time::timeout(LINGER, rest).await;
            (refused.status(), format!("{refused}\n"))
        }
    };
    let headers = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    (status, headers, text).into_response()
}

async fn play(
    uploads: &Uploads,
    id: &str,
    headers: &HeaderMap,
    body: &mut BodyDataStream,
) -> Result<(), Refused> {
    let mut form = Form::of(headers).transpose()?;
    let mut upload: Upload = uploads.begin(id)?;
    loop {
        let next = tokio::time::timeout(SILENCE, body.next()).await;
        let bytes = match next.map_err(|_| Refused::Silent)? {
            Some(Ok(bytes)) => bytes,
            Some(Err(_)) => return Err(Refused::Broken),
            None => break,
        };
        let wanted = match &mut form {
            None => upload.push(bytes).await?,
            Some(form) => upload.push(form.take(&bytes)?).await? && !form.is_complete(),
        };
        if !wanted {
            break;
        }
    }
    if form.is_some_and(|form| !form.is_complete()) {
        return Err(FormError::Malformed.into());
    }
    Ok(upload.finish().await?)
}

/// What a browser asks before a page of another site may upload (CORS). Any may: the id in the address is what lets it.
async fn allow() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, "POST, PUT"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
