//! JSON-RPC 2.0 as the Kurento Protocol speaks it: envelopes, sessions bound to connections, cached answers, transactions.
//!
//! The types of requests, answers and errors and the table of methods are jsonrpsee's. Its server is not used: it answers
//! a connection's requests out of order and has no bound on what waits for a slow reader.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jsonrpsee::core::server::{MethodCallback, MethodResponse, Methods, RpcModule};
use jsonrpsee::{ConnectionId, Extensions, ResponsePayload};
use jsonrpsee_types::{ErrorObjectOwned, Id, Params};
use kms_core::verbs::{Needs, VERBS, Verb};
use kms_core::{Call, EventSink, Server, SessionKey, Tenant};
use protocol::error::clip;
use protocol::wire::lenient_string;
use protocol::{Code, Error};
use serde_json::{Map, Value, json};
use tracing::{Instrument, Span, field};

use super::metrics::Metrics;
use super::outbox::Outbox;
use super::pace::Pace;

/// Transactions in transactions are allowed this deep.
const DEEPEST_TRANSACTION: usize = 4;
/// Answers are made by this server from bounded state; this only guards against a mistake.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// The target of spans, one a request. They are made at the level `trace`, so that they cost nothing unless somebody wants them.
pub const REQUEST_SPANS: &str = "kms::request";

/// What a connection knows: the session it is bound to, and where its events go.
pub(crate) struct Peer {
    /// Who it is: requests reach this one's sessions and objects.
    pub(crate) tenant: Tenant,
    /// Session of the last request, filled in for requests that name none.
    pub(crate) session: Option<SessionKey>,
    /// How fast its requests may come.
    pub(crate) pace: Pace,
    /// The connection's queue.
    pub(crate) outbox: Arc<Outbox>,
}

impl Peer {
    /// One that has sent nothing yet.
    pub(crate) fn new(tenant: Tenant, pace: Pace, outbox: &Arc<Outbox>) -> Peer {
        Peer {
            tenant,
            session: None,
            pace,
            outbox: outbox.clone(),
        }
    }
}

/// What a method gets, handed through jsonrpsee's extensions.
#[derive(Clone)]
struct Arguments {
    call: Call,
    params: Arc<Map<String, Value>>,
}

/// A request taken apart.
struct Request {
    id: Id<'static>,
    method: String,
    params: Option<Map<String, Value>>,
}

/// The protocol on top of a server.
pub(crate) struct Rpc {
    server: Server,
    methods: Methods,
    metrics: Metrics,
}

/// An answer as it is sent, and the number of the error that it tells, if it does.
struct Answer {
    text: String,
    error: Option<i32>,
}

impl Rpc {
    /// The protocol with all verbs.
    pub(crate) fn new(server: Server, metrics: Metrics) -> Rpc {
        let mut module = RpcModule::new(());
        for verb in VERBS {
            let run = verb.run;
            let registered = module.register_async_method(verb.name, move |_, _, extensions| async move {
                let Some(arguments) = extensions.get::<Arguments>().cloned() else {
                    return ResponsePayload::error(error_object(&Error::new(Code::Internal, "no arguments")));
                };
                let Arguments { call, params } = arguments;
                let session = call.session.clone();
                match run(call, Arc::unwrap_or_clone(params)).await {
                    Ok(Some(mut members)) => {
                        members.insert("sessionId".into(), session.id().into());
                        ResponsePayload::success(Value::Object(members))
                    }
                    Ok(None) => ResponsePayload::success(Value::Null),
                    Err(error) => ResponsePayload::error(error_object(&error)),
                }
            });
            registered.expect("verbs have different names");
        }
        Rpc {
            server,
            methods: module.into(),
            metrics,
        }
    }

    /// Carries out one message and puts its answer into the connection's queue.
    pub(crate) async fn handle(&self, peer: &mut Peer, text: &str) {
        let outbox = peer.outbox.clone();
        let answer = match serde_json::from_str::<Value>(text) {
            Ok(Value::Array(_)) => Some(self.refuse_message(
                Id::Null,
                &invalid("Batches are not supported; send requests one by one"),
            )),
            Ok(message) => self.handle_message(peer, message).await,
            Err(error) => {
                Some(self.refuse_message(Id::Null, &Error::new(Code::Parse, format!("Not JSON: {error}"))))
            }
        };
        outbox.end_request(answer);
    }

    async fn handle_message(&self, peer: &mut Peer, message: Value) -> Option<String> {
        let is_notification = message.get("id").is_none();
        // Clients send no answers; one that does is confused, and answering it could go on for ever.
        if message.get("method").is_none()
            && (message.get("result").is_some() || message.get("error").is_some())
        {
            return None;
        }
        let answer = match parse(message) {
            Ok(request) => self.carry_out(peer, request, 0).await.text,
            Err((id, error)) => return Some(self.refuse_message(id, &error)),
        };
        (!is_notification).then_some(answer)
    }

    /// Answers what is no request.
    fn refuse_message(&self, id: Id<'_>, error: &Error) -> String {
        self.metrics
            .answered("", Some(error.code.number()), Duration::ZERO);
        refuse(id, error).text
    }

    /// Carries out a request; boxed because transactions hold requests.
    fn carry_out<'a>(
        &'a self,
        peer: &'a mut Peer,
        request: Request,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            let (id, method, begun) = (request.id.clone(), request.method.clone(), Instant::now());
            let span = span(&request);
            let answer = self
                .try_carry_out(peer, request, depth)
                .instrument(span.clone())
                .await;
            let answer = answer.unwrap_or_else(|error| refuse(id, &error));
            if let Some(session) = peer.session.as_ref().filter(|_| !span.is_disabled()) {
                span.record("kms.session", tracing::field::display(session));
            }
            if let Some(error) = answer.error {
                span.record("rpc.jsonrpc.error_code", error);
                span.record("otel.status_code", "ERROR");
            }
            self.metrics.answered(&method, answer.error, begun.elapsed());
            answer
        })
    }

    async fn try_carry_out(&self, peer: &mut Peer, request: Request, depth: usize) -> Result<Answer, Error> {
        let Request { id, method, params } = request;
        // What keeps a session alive is no load, and refusing it would cost the client what it has.
        if !matches!(method.as_str(), "ping" | "keepAlive") && !peer.pace.allows(Instant::now()) {
            let most = peer.pace.most();
            return Err(Error::new(
                Code::NotEnoughResources,
                format!("limits.requests_per_second allows {most} requests a second; send them more slowly"),
            ));
        }
        if let "ping" | "connect" = method.as_str() {
            let session = session_of(params.as_ref(), peer)?;
            let members = if method == "ping" {
                self.ping(peer, session)?
            } else {
                self.connect(peer, session)?
            };
            return Ok(accept(id, members));
        }
        let verb = VERBS.iter().find(|v| v.name == method);
        if verb.is_none() && method != "transaction" {
            return Err(Error::new(Code::MethodNotFound, "Method not found."));
        }
        let params = params.ok_or_else(|| Error::new(Code::InvalidParams, "'params' is required"))?;
        let session = self.session_for(verb.map_or(Needs::AnySession, |v| v.needs), &params, peer)?;

        let cache_key = (depth == 0).then(|| serde_json::to_string(&id).unwrap_or_default());
        if let Some(answer) = cache_key
            .as_ref()
            .and_then(|key| self.server.cached_answer(&session, key))
        {
            return Ok(Answer {
                text: answer,
                error: None,
            });
        }
        self.bind(peer, &session)?;
        let answer = match verb {
            Some(verb) => {
                self.run_verb(peer, verb, id, session.clone(), params, depth)
                    .await
            }
            None => {
                peer.outbox.begin_request();
                let results = self.transaction(peer, &session, params, depth).await?;
                accept(id, json!({"sessionId": session.id(), "value": results}))
            }
        };
        if method == "closeSession" {
            peer.session = None;
        } else if let Some(key) = cache_key {
            self.server.cache_answer(&session, key, &answer.text);
        }
        Ok(answer)
    }

    async fn run_verb(
        &self,
        peer: &Peer,
        verb: &Verb,
        id: Id<'static>,
        session: SessionKey,
        params: Map<String, Value>,
        depth: usize,
    ) -> Answer {
        let call = Call {
            server: self.server.clone(),
            session,
        };
        if depth > 0 || !(verb.waits)(&call, &params) {
            peer.outbox.begin_request();
        }
        let mut extensions = Extensions::new();
        extensions.insert(Arguments {
            call,
            params: Arc::new(params),
        });
        let Some(MethodCallback::Async(run)) = self.methods.method(verb.name) else {
            return refuse(id, &Error::new(Code::MethodNotFound, "Method not found."));
        };
        // A panic in one request is an error to one client, not the end of its connection.
        let task = tokio::spawn(run(
            id.clone(),
            Params::new(None),
            ConnectionId(0),
            LARGEST_ANSWER,
            extensions,
        ));
        match task.await {
            Ok(response) => text(response),
            Err(error) => {
                tracing::error!(%error, verb = verb.name, "a request panicked");
                refuse(
                    id,
                    &Error::new(
                        Code::Unexpected,
                        "The request failed unexpectedly; the server's log has more",
                    ),
                )
            }
        }
    }

    fn ping(&self, peer: &mut Peer, session: Option<SessionKey>) -> Result<Value, Error> {
        Ok(match session {
            Some(session) => {
                if self.server.has_session(&session) {
                    self.bind(peer, &session)?;
                }
                json!({"sessionId": session.id(), "value": "pong"})
            }
            None => json!({"value": "pong"}),
        })
    }

    fn connect(&self, peer: &mut Peer, session: Option<SessionKey>) -> Result<Value, Error> {
        let session = match session {
            Some(session) if self.server.has_session(&session) => session,
            Some(_) => {
                return Err(Error::new(
                    Code::InvalidSession,
                    "Session not found; connect without sessionId",
                ));
            }
            None => self.server.new_session(&peer.tenant)?,
        };
        self.bind(peer, &session)?;
        Ok(json!({"serverId": self.server.id(), "sessionId": session.id()}))
    }

    /// Binds the connection to a session: its events come here from now on.
    fn bind(&self, peer: &mut Peer, session: &SessionKey) -> Result<(), Error> {
        let sink: Weak<dyn EventSink> = Arc::downgrade(&(peer.outbox.clone() as Arc<dyn EventSink>));
        self.server.touch_session(session, Some(sink))?;
        if peer.session.as_ref() != Some(session) {
            peer.session = Some(session.clone());
        }
        Ok(())
    }

    fn session_for(
        &self,
        needs: Needs,
        params: &Map<String, Value>,
        peer: &Peer,
    ) -> Result<SessionKey, Error> {
        match (session_of(Some(params), peer)?, needs) {
            (Some(session), Needs::ItsSession) if !self.server.has_session(&session) => {
                Err(Error::new(Code::InvalidSession, "Session not found"))
            }
            (Some(session), _) => Ok(session),
            (None, Needs::AnySession) => self.server.new_session(&peer.tenant),
            (None, Needs::ItsSession) => {
                Err(Error::new(Code::ServerError, "'sessionId' parameter is required"))
            }
        }
    }

    /// Carries out operations one after the other until one fails. Nothing is taken back, as in Kurento.
    async fn transaction(
        &self,
        peer: &mut Peer,
        session: &SessionKey,
        params: Map<String, Value>,
        depth: usize,
    ) -> Result<Vec<Value>, Error> {
        if depth >= DEEPEST_TRANSACTION {
            let message = format!("Transactions may hold transactions {DEEPEST_TRANSACTION} deep");
            return Err(Error::new(Code::MalformedTransaction, message));
        }
        let operations = match params.get("operations") {
            Some(Value::Array(operations)) => operations,
            Some(_) => {
                return Err(Error::new(
                    Code::ServerError,
                    "'operations' parameter should be an array",
                ));
            }
            None => {
                return Err(Error::new(
                    Code::ServerError,
                    "'operations' parameter is required",
                ));
            }
        };
        let mut results: Vec<Value> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            let result = self
                .operation(peer, session, index, operation, &results, depth)
                .await?;
            let failed = result.get("error").is_some();
            results.push(result);
            if failed {
                break;
            }
        }
        Ok(results)
    }

    async fn operation(
        &self,
        peer: &mut Peer,
        session: &SessionKey,
        index: usize,
        operation: &Value,
        results: &[Value],
        depth: usize,
    ) -> Result<Value, Error> {
        if !operation.is_object() {
            return Err(Error::new(
                Code::Internal,
                format!("Operation {index} of the transaction is not an object"),
            ));
        }
        let mut operation = operation.clone();
        if let Some(params) = operation.get_mut("params") {
            resolve_references(params, results)?;
            if let Value::Object(params) = params {
                params.entry("sessionId").or_insert_with(|| session.id().into());
            }
        }
        let answer = match parse(operation) {
            Err((_, error)) => refuse(Id::Number(index as u64), &error),
            Ok(request) if request.id != Id::Number(index as u64) => {
                let message = format!("Id of operation {index} should be {index}");
                return Err(Error::new(Code::MalformedTransaction, message));
            }
            Ok(request) => self.carry_out(peer, request, depth + 1).await,
        };
        serde_json::from_str(&answer.text).map_err(|e| Error::new(Code::Internal, e.to_string()))
    }
}

/// The span of a request: what it is about, and nothing of what it says. Names are OpenTelemetry's (semantic conventions of RPC).
fn span(request: &Request) -> Span {
    let span = tracing::trace_span!(
        target: REQUEST_SPANS,
        "request",
        otel.name = field::Empty,
        otel.kind = "server",
        otel.status_code = field::Empty,
        rpc.system = "jsonrpc",
        rpc.method = field::Empty,
        rpc.jsonrpc.error_code = field::Empty,
        kms.session = field::Empty,
        kms.object = field::Empty,
        kms.operation = field::Empty,
    );
    if span.is_disabled() {
        return span;
    }
    let text = |name| {
        request
            .params
            .as_ref()
            .and_then(|p| p.get(name))
            .and_then(Value::as_str)
    };
    let operation = text("operation").or_else(|| text("type"));
    let verb = super::metrics::verb(&request.method);
    span.record(
        "otel.name",
        operation.map_or(verb.to_owned(), |of| format!("{verb} {}", clip(of))),
    );
    span.record("rpc.method", verb);
    if let Some(object) = text("object") {
        span.record("kms.object", clip(object));
    }
    if let Some(operation) = operation {
        span.record("kms.operation", clip(operation));
    }
    span
}

/// Takes a request apart. An error comes with the id to answer to.
fn parse(message: Value) -> Result<Request, (Id<'static>, Error)> {
    let Value::Object(mut message) = message else {
        return Err((Id::Null, invalid("A request is an object")));
    };
    let id = match message.remove("id") {
        None | Some(Value::Null) => Id::Null,
        Some(Value::Number(n)) if n.is_u64() => Id::Number(n.as_u64().unwrap_or_default()),
        Some(Value::String(s)) if s.len() <= 256 => Id::Str(s.into()),
        Some(_) => {
            return Err((
                Id::Null,
                invalid("'id' should be a whole number or a short string"),
            ));
        }
    };
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err((id, invalid("Invalid JSON-RPC request.")));
    }
    let Some(Value::String(method)) = message.remove("method") else {
        return Err((id, invalid("Invalid JSON-RPC request.")));
    };
    match message.remove("params") {
        None | Some(Value::Null) => Ok(Request {
            id,
            method,
            params: None,
        }),
        Some(Value::Object(params)) => Ok(Request {
            id,
            method,
            params: Some(params),
        }),
        Some(_) => Err((
            id,
            Error::new(Code::InvalidParams, "'params' should be an object"),
        )),
    }
}

/// The session a request names, or the one the connection is bound to.
fn session_of(params: Option<&Map<String, Value>>, peer: &Peer) -> Result<Option<SessionKey>, Error> {
    match params.and_then(|p| p.get("sessionId")) {
        None | Some(Value::Null) => Ok(peer.session.clone()),
        Some(value) => match lenient_string(value) {
            Some(session) if !session.is_empty() && session.len() <= 128 => {
                Ok(Some(SessionKey::new(&peer.tenant, &session)))
            }
            Some(session) if session.is_empty() => Ok(peer.session.clone()),
            _ => Err(Error::new(
                Code::ServerError,
                "'sessionId' parameter should be a string of at most 128 bytes",
            )),
        },
    }
}

/// Puts the results of earlier operations where `newref:N` stands.
fn resolve_references(value: &mut Value, results: &[Value]) -> Result<(), Error> {
    match value {
        Value::String(text) => {
            let Some(index) = text.strip_prefix("newref:").filter(|i| !i.is_empty()) else {
                return Ok(());
            };
            let number: usize = index.parse().map_err(|_| {
                Error::new(
                    Code::MalformedTransaction,
                    format!("Invalid index of newref '{}'", clip(index)),
                )
            })?;
            *value = results
                .get(number)
                .and_then(|r| r.pointer("/result/value"))
                .cloned()
                .ok_or_else(|| {
                    Error::new(
                        Code::MalformedTransaction,
                        format!("Result not found on request {number}"),
                    )
                })?;
        }
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|v| resolve_references(v, results))?,
        Value::Object(members) => members
            .values_mut()
            .try_for_each(|v| resolve_references(v, results))?,
        _ => {}
    }
    Ok(())
}

fn invalid(message: &str) -> Error {
    Error::new(Code::InvalidRequest, message)
}

fn error_object(error: &Error) -> ErrorObjectOwned {
    let data = (!error.code.name().is_empty()).then(|| json!({"type": error.code.name()}));
    ErrorObjectOwned::owned(error.code.number(), &error.message, data)
}

fn refuse(id: Id<'_>, error: &Error) -> Answer {
    text(MethodResponse::error(id, error_object(error)))
}

fn accept(id: Id<'_>, result: Value) -> Answer {
    text(MethodResponse::response(
        id,
        ResponsePayload::success(result),
        LARGEST_ANSWER,
    ))
}

fn text(response: MethodResponse) -> Answer {
    Answer {
        error: response.as_error_code(),
        text: String::from(Box::<str>::from(response.into_json())),
    }
}

#[cfg(test)]
mod tests {
    use kms_core::objects::MediaPipeline;
    use kms_core::{Class, Registry, Settings, Tenant};
    use protocol::NoParams;
    use serde_json::json;

    use super::*;
    use crate::edge::outbox::{Bounds, Outbox};
    use crate::edge::pace::Pace;

    #[tokio::test]
    async fn a_request_that_panics_is_an_error_and_the_next_one_is_answered() {
        let mut registry = Registry::new();
        let ill = Class::<MediaPipeline>::new("Ill", "core", "Panics when it is made.");
        registry.class(ill.constructor(|_, _: NoParams| panic!("as the test wants")));
        let rpc = Rpc::new(Server::new(registry, Settings::default()), Metrics::default());
        let bounds = Bounds {
            messages: 16,
            bytes: 1 << 20,
        };
        let outbox = Arc::new(Outbox::new(bounds));
        let mut peer = Peer::new(Tenant::Operator, Pace::new(0), &outbox);
        let mut ask = async |class: &str| {
            let request =
                json!({"jsonrpc": "2.0", "id": class, "method": "create", "params": {"type": class}});
            rpc.handle(&mut peer, &request.to_string()).await;
            let answer = outbox.next().await.expect("an answer");
            serde_json::from_str::<Value>(&answer).expect("JSON")
        };
        let answer = ask("Ill").await;
        assert_eq!(answer["error"]["code"], 40003, "{answer}");
        assert_eq!(answer["error"]["data"]["type"], "UNEXPECTED_ERROR", "{answer}");
        let answer = ask("MediaPipeline").await;
        assert!(answer["result"]["value"].is_string(), "{answer}");
    }
}
