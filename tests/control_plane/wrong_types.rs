//! Values of every wrong type in every place of every request, made from tables: of the verbs' parameters here, and of
//! the methods' parameters from the server's own description of its API.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::client::{Connection, Outcome, Refused, with};
use crate::daemon::{Daemon, kms};

/// The protocol's error codes, as `tests/wire/README.md` lists them, and 40500 (no such module), which recordings show.
fn known_codes() -> BTreeSet<i64> {
    let text = include_str!("../wire/README.md");
    let table = &text[text.find("Error codes:").unwrap()..];
    let numbers = table.split(|c: char| !c.is_ascii_digit() && c != '-');
    let known: BTreeSet<i64> = numbers
        .filter_map(|n| n.parse().ok())
        .filter(|n: &i64| n.abs() >= 32_000)
        .collect();
    assert!(known.contains(&40101) && known.contains(&-32000), "{known:?}");
    known.into_iter().chain([40500]).collect()
}

/// One value of each type, with a name.
fn wrong_values() -> Vec<(&'static str, Value)> {
    vec![
        ("null", json!(null)),
        ("true", json!(true)),
        ("number", json!(7)),
        ("negative", json!(-2_147_483_649_i64)),
        ("huge number", json!(1.5e300)),
        ("string", json!("\u{0} ' \" \\ ; -- %s 'é'")),
        ("array", json!([1, {"a": []}])),
        ("object", json!({"a": {"b": [null]}})),
        ("huge string", json!("x".repeat(100_000))),
    ]
}

/// An error must have a code of the table and a message that is not the input again.
fn assert_known(codes: &BTreeSet<i64>, what: &str, refused: &Refused) {
    assert!(codes.contains(&refused.code), "{what}: {refused}");
    assert!(
        refused.message.len() < 1000,
        "{what}: a message of {} bytes",
        refused.message.len()
    );
}

/// Objects to send requests to, and a second client that must notice nothing.
struct Scene {
    daemon: Daemon,
    bystander: Connection,
    pipeline: String,
    element: String,
}

impl Scene {
    async fn new() -> Scene {
        let daemon = Daemon::start();
        let mut bystander = Connection::open(&daemon).await;
        let pipeline = bystander.pipeline().await;
        let element = bystander.element("PassThrough", &pipeline).await;
        Scene {
            daemon,
            bystander,
            pipeline,
            element,
        }
    }

    /// The second client is answered, got nothing it did not ask for, and has what it had.
    async fn unharmed(mut self) {
        assert_eq!(
            self.bystander.request("ping", json!({})).await.unwrap()["value"],
            "pong"
        );
        assert_eq!(self.bystander.drain_events(), 0);
        assert!(self.bystander.exists(&self.element).await);
        let log = self.daemon.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Requests that would succeed, by verb. Those that need a session that exists come first: later ones begin sessions of
/// the names that are tried.
fn right_requests(scene: &Scene) -> Vec<(&'static str, Value)> {
    let Scene {
        pipeline, element, ..
    } = scene;
    let constructor = json!({"mediaPipeline": pipeline});
    vec![
        ("connect", json!({})),
        ("unsubscribe", json!({"object": element, "subscription": "x"})),
        ("ref", json!({"object": element})),
        ("unref", json!({"object": "nope"})),
        ("keepAlive", json!({})),
        ("closeSession", json!({})),
        ("ping", json!({"interval": 240_000})),
        (
            "create",
            json!({"type": "PassThrough", "constructorParams": constructor, "properties": {}}),
        ),
        ("describe", json!({"object": element})),
        (
            "invoke",
            json!({"object": element, "operation": "setName", "operationParams": {"name": "x"}}),
        ),
        ("subscribe", json!({"object": element, "type": "Error"})),
        ("release", json!({"object": "nope"})),
        ("transaction", json!({"operations": []})),
    ]
}

/// Where a wrong value is none, as with Kurento: it reads every scalar as text, takes null or empty text for "the
/// session of this connection", begins a session of any name where a verb needs none, and lets go of what is not there.
fn is_taken(verb: &str, parameter: &str, value: &Value) -> bool {
    let scalar = !value.is_array() && !value.is_object();
    match (verb, parameter) {
        ("ping", "interval") | ("create", "properties") => true,
        ("unsubscribe", "object" | "subscription") | ("unref" | "release", "object") => scalar,
        (_, "sessionId") if value.is_null() => true,
        (
            "ping" | "create" | "describe" | "invoke" | "subscribe" | "release" | "transaction",
            "sessionId",
        ) => scalar && value.as_str().is_none_or(|session| session.len() <= 128),
        _ => false,
    }
}

#[tokio::test]
async fn in_the_parameters_of_verbs() {
    let codes = known_codes();
    let scene = Scene::new().await;
    for (verb, right) in right_requests(&scene) {
        let mut connection = Connection::open(&scene.daemon).await;
        let own = with(&right, "sessionId", json!(connection.session));
        connection
            .request(verb, own.clone())
            .await
            .unwrap_or_else(|refused| panic!("{verb}: {refused}"));
        for parameter in own.as_object().unwrap().keys() {
            for (name, value) in wrong_values() {
                // A new session each, for some of these end it or begin another.
                let session = connection.request("connect", json!({})).await;
                let session = session.or(connection.request("connect", json!({"sessionId": null})).await);
                let mut params = own.clone();
                params["sessionId"] = session.map_or(json!(null), |s| s["sessionId"].clone());
                let what = format!("{verb} with {name} as {parameter}");
                match connection
                    .request(verb, with(&params, parameter, value.clone()))
                    .await
                {
                    Ok(answer) => assert!(is_taken(verb, parameter, &value), "{what} is taken: {answer}"),
                    Err(refused) => {
                        assert!(!is_taken(verb, parameter, &value), "{what} is refused: {refused}");
                        assert_known(&codes, &what, &refused);
                    }
                }
                assert_eq!(
                    connection.request("ping", json!({})).await.unwrap()["value"],
                    "pong",
                    "after {what}"
                );
            }
        }
    }
    scene.unharmed().await;
}

#[tokio::test]
async fn as_the_parameters_of_verbs() {
    let scene = Scene::new().await;
    let mut connection = Connection::open(&scene.daemon).await;
    for (verb, _) in right_requests(&scene) {
        for (name, value) in wrong_values() {
            let outcome = connection.request(verb, value.clone()).await;
            let what = format!("{verb} with {name} as params");
            match value {
                // `connect` and `ping` need no parameters.
                Value::Null if matches!(verb, "connect" | "ping") => assert!(outcome.is_ok(), "{what}"),
                Value::Object(_) => {}
                _ => assert_eq!(crate::client::code(outcome), -32602, "{what}"),
            }
            if connection.request("ping", json!({})).await.is_err() {
                panic!("no pong after {what}");
            }
        }
    }
    scene.unharmed().await;
}

#[tokio::test]
async fn in_the_operations_of_transactions() {
    let codes = known_codes();
    let scene = Scene::new().await;
    let mut connection = Connection::open(&scene.daemon).await;
    let right = json!({
        "jsonrpc": "2.0", "id": 0, "method": "invoke", "params": {"object": scene.element, "operation": "getName"},
    });
    let mut operations: Vec<(String, Value)> = Vec::new();
    for (name, value) in wrong_values() {
        operations.push((format!("{name} as operation"), value.clone()));
        for member in ["jsonrpc", "id", "method", "params"] {
            operations.push((format!("{name} as {member}"), with(&right, member, value.clone())));
        }
    }
    for reference in [
        "newref:",
        "newref:0",
        "newref:9",
        "newref:-1",
        "newref:99999999999999999999",
        "newref:x",
    ] {
        let params = json!({"object": reference, "operation": "getName"});
        operations.push((reference.to_owned(), with(&right, "params", params)));
    }
    for (what, operation) in operations {
        let refused = match connection
            .request("transaction", json!({"operations": [operation]}))
            .await
        {
            Err(refused) => refused,
            Ok(results) => {
                let error = &results["value"][0]["error"];
                let code = error["code"]
                    .as_i64()
                    .unwrap_or_else(|| panic!("{what} is taken: {results}"));
                Refused {
                    code,
                    message: error["message"].as_str().unwrap().to_owned(),
                }
            }
        };
        assert_known(&codes, &what, &refused);
        connection.request("ping", json!({})).await.unwrap();
    }
    scene.unharmed().await;
}

/// A parameter of a method or constructor: its name and type.
type Parameter = (String, String);

/// What a class can be asked for: its own operations with their parameters, and those it inherits.
fn operations(api: &Value, class: &str) -> Vec<(String, Vec<Parameter>)> {
    let classes = api["modules"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|m| m["classes"].as_array().unwrap());
    let description = classes
        .clone()
        .find(|c| c["name"] == class)
        .unwrap_or_else(|| panic!("no class {class}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut operations = match description["extends"].as_str() {
        Some(parent) => operations(api, parent),
        None => Vec::new(),
    };
    for method in description["methods"].as_array().unwrap() {
        let params = method["params"].as_array().unwrap().iter();
        operations.push((
            text(&method["name"]),
            params.map(|p| (text(&p["name"]), text(&p["type"]))).collect(),
        ));
    }
    for property in description["properties"].as_array().into_iter().flatten() {
        let name = text(&property["name"]);
        let accessor = name[..1].to_uppercase() + &name[1..];
        if property["access"] == "read-write" {
            operations.push((format!("set{accessor}"), vec![(name, text(&property["type"]))]));
        }
        operations.push((format!("get{accessor}"), Vec::new()));
    }
    operations
}

/// Whether a value can't be meant for a parameter of this type: no list or record is a string, number or object.
fn is_wrong(kind: &str, value: &Value) -> bool {
    let simple = matches!(
        kind,
        "String" | "int" | "int64" | "boolean" | "float" | "double" | "MediaElement"
    );
    match value {
        Value::Array(_) => !kind.ends_with("[]"),
        Value::Object(_) => simple,
        Value::String(_) => matches!(kind, "int" | "int64" | "boolean" | "float" | "double"),
        _ => false,
    }
}

#[tokio::test]
async fn in_the_parameters_of_methods() {
    let codes = known_codes();
    let described = kms().args(["describe", "--json"]).output().unwrap();
    let api: Value = serde_json::from_slice(&described.stdout).unwrap();
    let scene = Scene::new().await;
    let mut connection = Connection::open(&scene.daemon).await;
    let pipeline = connection.pipeline().await;
    let mut asked = 0;
    for class in ["MediaPipeline", "PassThrough", "WebRtcEndpoint", "ServerManager"] {
        let object = match class {
            "MediaPipeline" => pipeline.clone(),
            "ServerManager" => "manager_ServerManager".to_owned(),
            element => connection.element(element, &pipeline).await,
        };
        for (operation, parameters) in operations(&api, class) {
            for (parameter, kind) in parameters {
                for (name, value) in wrong_values() {
                    let what = format!("{class}.{operation} with {name} as {parameter}: {kind}");
                    let wrong = is_wrong(&kind, &value);
                    // A wait of a minute is what these ask for.
                    if operation == "getUsedCpu" && !wrong && name != "number" {
                        continue;
                    }
                    // What is right ends the server.
                    if operation == "drain" && !wrong {
                        continue;
                    }
                    let params = Map::from_iter([(parameter.clone(), value)]);
                    let outcome: Outcome = connection.invoke(&object, &operation, params.into()).await;
                    match outcome {
                        Ok(answer) => assert!(!wrong, "{what} is taken: {answer}"),
                        Err(refused) => assert_known(&codes, &what, &refused),
                    }
                    asked += 1;
                }
            }
        }
        connection.request("ping", json!({})).await.unwrap();
    }
    assert!(
        asked > 500,
        "only {asked} requests were made from the description"
    );
    scene.unharmed().await;
}
