//! What every class of elements keeps to, whatever it does besides: it can be connected both ways, reconnected and released while
//! media flows, refuses what is wrong, and leaves nothing behind. A new class is one line of [`classes`].

mod rounds;
mod scene;

use std::collections::BTreeSet;

use kms_client::ObjectId;
use protocol::Code;
use serde_json::{Value, json};

use scene::{Receiver, Scene};

/// How an element comes to give media.
#[derive(Clone, Copy, PartialEq)]
enum Gives {
    /// Never.
    Nothing,
    /// It passes on what it gets.
    WhatItGets,
    /// It passes on what it gets, once its hub is told.
    WhatItsHubIsTold,
    /// By this operation.
    By(&'static str),
    /// When a file is uploaded to it.
    AnUpload,
    /// From an endpoint of its class at the other end of a connection, which it sends what it gets.
    FromItsPeer,
}

struct Class {
    name: &'static str,
    /// For ports: the class of their hub.
    hub: Option<&'static str>,
    /// Parameters of the constructor, besides the pipeline or the hub.
    params: Value,
    gives: Gives,
    /// What begins its work, as far as one element alone can.
    begin: Option<(&'static str, Value)>,
}

fn classes(scene: &Scene) -> Vec<Class> {
    let class = |name, params, gives, begin| Class {
        name,
        hub: None,
        params,
        gives,
        begin,
    };
    let played = json!({"uri": scene.file("in.webm")});
    let recorded = json!({"uri": scene.file("out.webm"), "mediaProfile": "WEBM"});
    let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n\
                 a=rtpmap:96 VP8/90000\r\n";
    let offer = json!({"offer": offer});
    // A pixel: drawings take long in a daemon that is not optimised.
    let pixel =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let image = json!({
        "uri": format!("data:image/png;base64,{pixel}"),
        "offsetXPercent": 0.0, "offsetYPercent": 0.0, "widthPercent": 1.0, "heightPercent": 1.0,
    });
    let models = |name: &str| format!("{}/tests/media/models/{name}", env!("CARGO_MANIFEST_DIR"));
    vec![
        class("PassThrough", json!({}), Gives::WhatItGets, None),
        class(
            "GStreamerFilter",
            json!({"command": "videobalance"}),
            Gives::WhatItGets,
            Some(("getCommand", json!({}))),
        ),
        class("ZBarFilter", json!({}), Gives::WhatItGets, None),
        class(
            "ChromaFilter",
            json!({"window": {"topRightCornerX": 0, "topRightCornerY": 0, "width": 8, "height": 8}}),
            Gives::WhatItGets,
            None,
        ),
        class("ImageOverlayFilter", json!({}), Gives::WhatItGets, None),
        class(
            "FaceOverlayFilter",
            json!({}),
            Gives::WhatItGets,
            Some(("setOverlayedImage", image)),
        ),
        class("MosaicFilter", json!({}), Gives::WhatItGets, None),
        class(
            "OnnxFilter",
            json!({"modelPath": models("yolo.onnx"), "descriptionPath": models("yolo.json")}),
            Gives::WhatItGets,
            Some(("setDraw", json!({"draw": true}))),
        ),
        class(
            "PlayerEndpoint",
            played,
            Gives::By("play"),
            Some(("play", json!({}))),
        ),
        class(
            "RecorderEndpoint",
            recorded,
            Gives::Nothing,
            Some(("record", json!({}))),
        ),
        class(
            "HttpPostEndpoint",
            json!({}),
            Gives::AnUpload,
            Some(("getUrl", json!({}))),
        ),
        class(
            "RtpEndpoint",
            json!({}),
            Gives::FromItsPeer,
            Some(("processOffer", offer)),
        ),
        class(
            "WebRtcEndpoint",
            json!({}),
            Gives::FromItsPeer,
            Some(("generateOffer", json!({}))),
        ),
    ]
    .into_iter()
    .chain(HUBS.map(|hub| Class {
        name: "HubPort",
        hub: Some(hub),
        params: json!({}),
        gives: Gives::WhatItsHubIsTold,
        begin: None,
    }))
    .collect()
}

/// All classes of hubs, each tried by its ports.
const HUBS: [&str; 5] = [
    "AlphaBlending",
    "Composite",
    "Dispatcher",
    "DispatcherOneToMany",
    "Mixer",
];

/// What the daemon says of its classes: client/tests/api.json, which another test holds against it.
fn described() -> Vec<Value> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/client/tests/api.json");
    let api: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let modules = api["modules"].as_array().unwrap().iter();
    modules
        .flat_map(|m| m["classes"].as_array().unwrap().clone())
        .collect()
}

/// A class and those it inherits from.
fn lineage<'a>(all: &'a [Value], name: &str) -> Vec<&'a Value> {
    let named = |name: &str| all.iter().find(|c| c["name"] == name);
    std::iter::successors(named(name), |c| named(c["extends"].as_str()?)).collect()
}

#[tokio::test]
async fn every_class_of_elements_and_hubs_is_tried() {
    let all = described();
    let kinds_of = |ancestor: &str| -> BTreeSet<&str> {
        let concrete = all.iter().filter(|c| c["abstract"] != true);
        concrete
            .map(|c| c["name"].as_str().unwrap())
            .filter(|name| lineage(&all, name).iter().any(|c| c["name"] == ancestor))
            .collect()
    };
    let scene = Scene::new(2).await;
    let tried: BTreeSet<&str> = classes(&scene).iter().map(|c| c.name).collect();
    assert_eq!(tried, kinds_of("MediaElement"));
    assert_eq!(BTreeSet::from(HUBS), kinds_of("Hub"));
}

#[tokio::test]
async fn each_is_connected_both_ways_reconnected_and_released_while_media_flows() {
    let scene = Scene::new(90).await;
    for class in classes(&scene) {
        println!("{} {}", class.name, class.hub.unwrap_or_default());
        // New ones for each: on a busy machine all of them together may take longer than a file.
        let (source, other) = (scene.player().await, scene.player().await);
        flows(&scene, &class, &source, &other).await;
        for player in [source, other] {
            scene.client.release(&player).await.unwrap();
        }
    }
}

async fn flows(scene: &Scene, class: &Class, source: &ObjectId, other: &ObjectId) {
    let receiver = Receiver::new(scene).await;
    let element = scene.create(class).await;
    let mut takes = scene
        .client
        .subscribe(&element, "MediaFlowInStateChanged")
        .await
        .unwrap();
    scene.connect(source, &element).await;
    scene.connect(&element, &receiver.endpoint).await;
    for _ in ["audio", "video"] {
        let event = crate::player::within("media in", takes.next()).await;
        assert_eq!(event.data["state"], "FLOWING", "{}", class.name);
    }
    let from_it = scene.begin(class, &element, source).await;
    let gives = class.gives != Gives::Nothing;
    if gives {
        receiver.receives(class.name).await;
        // Reconnected while it flows, twice at once too.
        for _ in 0..2 {
            scene.disconnect(&element, &receiver.endpoint).await;
            receiver.is_silent(class.name).await;
            scene.connect(&element, &receiver.endpoint).await;
            scene.connect(&element, &receiver.endpoint).await;
            receiver.receives(class.name).await;
        }
    }
    // What its peer gets of it goes on when another source takes the place of the first.
    let beyond = match &from_it.peer {
        Some(peer) => {
            let beyond = Receiver::new(scene).await;
            scene.connect(peer, &beyond.endpoint).await;
            beyond.receives(class.name).await;
            Some(beyond)
        }
        None => None,
    };
    scene.connect(other, &element).await;
    if matches!(class.gives, Gives::WhatItGets | Gives::WhatItsHubIsTold) {
        receiver.receives(class.name).await;
    }
    if let Some(beyond) = &beyond {
        beyond.receives(class.name).await;
    }

    scene.client.release(&element).await.unwrap();
    receiver.is_silent(class.name).await;
    scene.client.release(&element).await.unwrap(); // no error, as with Kurento
    let refused = scene
        .client
        .invoke(&element, "getName", json!({}))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some(Code::ObjectNotFound), "{refused}");
    let refused = scene.try_connect(source, &element).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::ObjectNotFound), "{refused}");
    // What it was connected to goes on with another.
    scene.connect(source, &receiver.endpoint).await;
    receiver.receives(class.name).await;
    for left in from_it
        .peer
        .iter()
        .chain([&receiver.endpoint])
        .chain(beyond.as_ref().map(|b| &b.endpoint))
    {
        scene.client.release(left).await.unwrap();
    }
    assert_eq!(
        scene.children().await,
        2,
        "{}: the two players are left",
        class.name
    );
}

#[tokio::test]
async fn each_refuses_bad_arguments() {
    let scene = Scene::new(2).await;
    let all = described();
    for class in classes(&scene) {
        let element = scene.create(&class).await;
        for params in bad_constructor_params(&scene, &class, &element, lineage(&all, class.name)[0]) {
            let outcome = scene.client.create(class.name, params.clone()).await;
            is_refused(
                &format!("{} of {params}", class.name),
                outcome.map(|id| json!(id)),
            );
        }
        let methods = lineage(&all, class.name);
        let methods = methods.iter().flat_map(|c| c["methods"].as_array().unwrap());
        for method in methods {
            let (name, params) = (
                method["name"].as_str().unwrap(),
                method["params"].as_array().unwrap(),
            );
            if params.iter().any(|p| p["optional"] != true) {
                let outcome = scene.client.invoke(&element, name, json!({})).await;
                is_refused(&format!("{}.{name} without arguments", class.name), outcome);
            }
            for param in params {
                let wrong = param["name"].as_str().unwrap();
                let outcome = scene.client.invoke(&element, name, json!({wrong: [[0]]})).await;
                is_refused(&format!("{}.{name} of a wrong {wrong}", class.name), outcome);
            }
        }
        let outcome = scene.client.invoke(&element, "dance", json!({})).await;
        is_refused(&format!("{}.dance", class.name), outcome);
        let outcome = scene.client.subscribe(&element, "Thunder").await;
        assert_eq!(
            outcome.err().and_then(|e| e.code()),
            Some(Code::EventNotSupported)
        );
        for sink in [&scene.pipeline, &ObjectId::from("nobody")] {
            is_refused(class.name, scene.try_connect(&element, sink).await);
        }
        scene.client.release(&element).await.unwrap();
        assert_eq!(scene.children().await, 0, "{}", class.name);
    }
    assert!(!scene.daemon.log().contains("panic"), "{}", scene.daemon.log());
}

/// Each parameter missing that is required, and each of a type that no parameter has.
fn bad_constructor_params(scene: &Scene, class: &Class, element: &ObjectId, described: &Value) -> Vec<Value> {
    let good = scene.params(class);
    let changed = |name: &str, value: Option<Value>| {
        let mut params = good.clone();
        let fields = params.as_object_mut().unwrap();
        match value {
            Some(value) => fields.insert(name.to_owned(), value),
            None => fields.remove(name),
        };
        params
    };
    let parent = if class.hub.is_some() {
        "hub"
    } else {
        "mediaPipeline"
    };
    let mut bad = vec![
        changed(parent, Some(json!(element))),
        changed(parent, Some(json!("nobody"))),
    ];
    for param in described["constructor"].as_array().unwrap() {
        let name = param["name"].as_str().unwrap();
        bad.push(changed(name, Some(json!([[0]]))));
        if param["optional"] != true {
            bad.push(changed(name, None));
        }
    }
    bad
}

/// By an error that says what is wrong, not by a failure of the server.
fn is_refused(what: &str, outcome: kms_client::Result<Value>) {
    match outcome {
        Ok(answer) => panic!("{what} is taken, and answered {answer}"),
        Err(refused) => assert!(
            refused.code().is_some_and(|code| code != Code::Unexpected),
            "{what}: {refused}"
        ),
    }
}
