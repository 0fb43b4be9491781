//! A recorder as its clients see it: calls, and the events in their order.

use std::any::Any;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, Weak};

use kms_core::call::Call;
use kms_core::object::lock;
use kms_core::objects::MediaPipeline;
use kms_core::verbs::VERBS;
use kms_core::{Element, ElementCore, EventSink, Object, ObjectCore, Registry, Server, Settings, Tenant};
use serde_json::json;

use super::super::{Recordings, class};
use super::*;

/// An element that gives what it has.
struct Camera {
    element: ElementCore,
    live: Live,
}

impl Object for Camera {
    fn core(&self) -> &ObjectCore {
        &self.element.object
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Element for Camera {
    fn element(&self) -> &ElementCore {
        &self.element
    }
    fn source(&self, media: MediaType) -> Option<Arc<Source>> {
        (media == self.live.source.kind()).then(|| self.live.source.clone())
    }
}

/// A client's connection: what events it got, by name and state.
struct Events(Mutex<SyncSender<String>>);

impl EventSink for Events {
    fn deliver(&self, text: &str) {
        let event: Value = serde_json::from_str(text).expect("JSON");
        let value = &event["params"]["value"];
        let mut name = value["type"].as_str().unwrap_or_default().to_owned();
        if let Some(state) = value["data"]["state"].as_str() {
            name = format!("{name} {state}");
        }
        if let Some(description) = value["data"]["description"].as_str() {
            name = format!("{name} {} {description}", value["data"]["errorCode"]);
        }
        let _ = lock(&self.0).try_send(name);
    }
}

struct Client {
    runtime: tokio::runtime::Runtime,
    call: Call,
    recordings: Recordings,
    timeline: Timeline,
    events: Receiver<String>,
    _sink: Arc<dyn EventSink>,
    recorder: String,
    pipeline: String,
}

impl Client {
    fn new(uri: &str) -> Client {
        let timeline = Timeline::start().expect("GStreamer");
        let recordings = Recordings::start(Storage::default()).expect("a thread");
        let mut registry = Registry::new();
        registry.module("elements", "Endpoints.");
        registry.class(class(&timeline, &recordings));
        let server = Server::new(registry, Settings::default());
        let session = server.new_session(&Tenant::Operator).expect("a session");
        let (sender, events) = sync_channel(100);
        let sink: Arc<dyn EventSink> = Arc::new(Events(Mutex::new(sender)));
        let weak: Weak<dyn EventSink> = Arc::downgrade(&sink);
        server.touch_session(&session, Some(weak)).expect("a session");
        let mut client = Client {
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
            call: Call { server, session },
            recordings,
            timeline,
            events,
            _sink: sink,
            recorder: String::new(),
            pipeline: String::new(),
        };
        client.pipeline = client.create("MediaPipeline", json!({})).expect("a pipeline");
        let parameters = json!({"mediaPipeline": client.pipeline, "uri": uri});
        client.recorder = client.create("RecorderEndpoint", parameters).expect("a recorder");
        for event in [
            "Recording",
            "Paused",
            "Stopped",
            "UriEndpointStateChanged",
            "Error",
        ] {
            client
                .verb("subscribe", json!({"object": client.recorder, "type": event}))
                .expect("subscribed");
        }
        client
    }

    fn verb(&self, name: &str, parameters: Value) -> Result<Value, protocol::Error> {
        let verb = VERBS.iter().find(|v| v.name == name).expect("a verb");
        let Value::Object(parameters) = parameters else {
            panic!("parameters")
        };
        let answer = self.runtime.block_on((verb.run)(self.call.clone(), parameters))?;
        Ok(answer.and_then(|a| a.get("value").cloned()).unwrap_or_default())
    }

    fn create(&self, class: &str, parameters: Value) -> Result<String, protocol::Error> {
        let id = self.verb("create", json!({"type": class, "constructorParams": parameters}))?;
        Ok(id.as_str().expect("an id").to_owned())
    }

    fn invoke(&self, operation: &str) -> Value {
        let parameters = json!({"object": self.recorder, "operation": operation});
        self.verb("invoke", parameters).expect(operation)
    }

    /// A camera, connected to the recorder.
    fn connect(&self) -> Arc<dyn Element> {
        self.connect_to(Live::video(&self.timeline, 320))
    }

    fn connect_to(&self, live: Live) -> Arc<dyn Element> {
        let (object, _) = self.call.find(&self.pipeline).expect("a pipeline");
        let pipeline: Arc<MediaPipeline> = object.into_any().downcast().expect("a pipeline");
        let camera = Camera {
            element: ElementCore::new(&pipeline, pipeline.core(), "kurento.Camera").expect("an element"),
            live,
        };
        let camera: Arc<dyn Element> = Arc::new(camera);
        pipeline.join(camera.clone());
        let (recorder, _) = self.call.find(&self.recorder).expect("a recorder");
        let recorder = recorder.into_element().expect("an element");
        pipeline
            .connect(&camera, &recorder, &[MediaType::Video], "default", "default")
            .expect("connected");
        camera
    }

    fn expect(&self, events: &[&str]) {
        for event in events {
            let got = self.events.recv_timeout(PATIENCE).expect(event);
            assert_eq!(&got, event);
        }
    }
}

#[test]
fn events_come_in_kurentos_order() {
    // Its name is percent-encoded, and its directory isn't there yet.
    let path = directory("events").join("new").join("a b.webm");
    let uri = format!("file://{}", path.display().to_string().replace(' ', "%20"));
    let client = Client::new(&uri);
    let _camera = client.connect();
    assert_eq!(client.invoke("getUri"), json!(uri));
    assert_eq!(client.invoke("getState"), json!("STOP"));
    client.invoke("record");
    client.expect(&["UriEndpointStateChanged START", "Recording"]);
    assert_eq!(client.invoke("getState"), json!("START"));
    client.invoke("pause");
    client.expect(&["Paused", "UriEndpointStateChanged PAUSE"]);
    assert_eq!(client.invoke("getState"), json!("PAUSE"));
    client.invoke("record");
    client.expect(&["Recording", "UriEndpointStateChanged START"]);
    pass(700);
    client.invoke("stopAndWait");
    let judged = judge(&path);
    assert_eq!(judged.errors, "");
    assert!(!judged.duration.is_nan(), "a closed file says how long it is");
    assert_eq!(client.invoke("getState"), json!("STOP"));
    client.expect(&["UriEndpointStateChanged STOP", "Stopped"]);

    // The same again, in place of the first file; stop answers at once.
    client.invoke("record");
    client.expect(&["UriEndpointStateChanged START", "Recording"]);
    client.invoke("stop");
    client.expect(&["UriEndpointStateChanged STOP", "Stopped"]);
    assert!(judge(&path).duration < judged.duration);
    client.invoke("stopAndWait");
    let _ = std::fs::remove_dir_all(path.parent().and_then(Path::parent).expect("a directory"));
}

#[test]
fn a_released_recorder_closes_its_file() {
    let path = directory("released").join("a.webm");
    let client = Client::new(&path.display().to_string());
    let _camera = client.connect();
    client.invoke("record");
    client.expect(&["UriEndpointStateChanged START", "Recording"]);
    pass(700);
    assert_eq!(
        client.recordings.wait_until_closed(Duration::ZERO),
        1,
        "it is open"
    );
    client.call.server.shut_down();
    assert_eq!(client.recordings.wait_until_closed(Duration::from_secs(10)), 0);
    let judged = judge(&path);
    assert_eq!(judged.errors, "");
    assert!(!judged.duration.is_nan(), "a closed file says how long it is");
    let _ = std::fs::remove_dir_all(path.parent().expect("a directory"));
}

#[test]
fn what_cannot_be_written_is_told_and_stops() {
    let path = directory("told").join("file");
    std::fs::write(&path, "not a directory").expect("a file");
    let client = Client::new(&path.join("a.webm").display().to_string());
    client.invoke("record");
    let error = client.events.recv_timeout(PATIENCE).expect("an event");
    assert!(error.starts_with("Error 40600 The file '"), "{error}");
    client.expect(&["UriEndpointStateChanged STOP", "Stopped"]);
    client.invoke("stopAndWait");
    let _ = std::fs::remove_dir_all(path.parent().expect("a directory"));
}

#[test]
fn what_cannot_be_recorded_is_refused_at_once() {
    let client = Client::new("/tmp/unused");
    let refused = |parameters: Value| {
        client
            .create("RecorderEndpoint", parameters)
            .expect_err("refused")
    };
    let error = refused(json!({"mediaPipeline": client.pipeline, "uri": "ftp://server/a.webm"}));
    assert!(error.message.contains("file:///absolute/path"), "{error}");
    let profile = json!({"mediaPipeline": client.pipeline, "uri": "/tmp/a", "mediaProfile": "AVI"});
    refused(profile);
}

#[test]
fn a_split_recorder_has_files_of_a_minute_unless_told_otherwise() {
    let client = Client::new("/tmp/unused");
    let duration = |more: Value| {
        let mut parameters = json!({"mediaPipeline": client.pipeline, "uri": "/tmp/a", "mediaProfile": "KURENTO_SPLIT_RECORDER"});
        let all = parameters.as_object_mut().expect("an object");
        all.extend(more.as_object().cloned().unwrap_or_default());
        let recorder = client.create("RecorderEndpoint", parameters).expect("a recorder");
        let get = json!({"object": recorder, "operation": "getSegmentDuration"});
        client.verb("invoke", get).expect("a number")
    };
    assert_eq!(duration(json!({})), 60_000);
    assert_eq!(duration(json!({"segmentDuration": 5_000})), 5_000);
    assert_eq!(duration(json!({"segmentSize": 1_000_000})), 0);
}

#[test]
fn what_kurentos_clients_do_not_know_is_set_by_name() {
    let client = Client::new("/tmp/unused");
    // Its JavaScript client sends as properties what the constructor doesn't have in its own description.
    let created = client.verb(
        "create",
        json!({
            "type": "RecorderEndpoint",
            "constructorParams": {"mediaPipeline": client.pipeline, "uri": "/tmp/{n}.mp4", "segmentSize": 1_000_000},
            "properties": {"segmentDuration": 60_000, "gapsFix": "GENPTS"},
        }),
    );
    let recorder = created.expect("a recorder");
    let get = |operation: &str| client.verb("invoke", json!({"object": recorder, "operation": operation}));
    assert_eq!(get("getSegmentDuration"), Ok(json!(60_000)));
    assert_eq!(get("getSegmentSize"), Ok(json!(1_000_000)));
    assert_eq!(get("getGapsFix"), Ok(json!("GENPTS")));
    let set = json!({"object": recorder, "operation": "setSegmentDuration", "operationParams": {"segmentDuration": 10}});
    let error = client.verb("invoke", set).expect_err("refused");
    assert_eq!(error.code, protocol::Code::IllegalParam);
    assert_eq!(get("getSegmentDuration"), Ok(json!(60_000)));
}

#[test]
fn the_first_picture_is_in_the_file_though_recorders_have_much_to_do() {
    let path = directory("first").join("a.mkv");
    let client = Client::new(&path.display().to_string());
    let (segment, native) = one_keyframe(&client.timeline);
    let live = Live {
        source: Source::new(&client.timeline, "file", MediaType::Video),
        _segment: None,
        _under: None,
    };
    let source = live.source.clone();
    let _camera = client.connect_to(live);
    client.invoke("record");
    let (idle, free) = sync_channel(0);
    client.recordings.soon(move || {
        let _ = free.recv();
    });
    source.set_native(Some(native.clone()));
    segment.play().expect("it plays");
    pass(1_000);
    idle.send(()).expect("a recorder that waits");
    client.expect(&["UriEndpointStateChanged START", "Recording"]);
    pass(500);
    client.invoke("stopAndWait");
    let judged = judge(&path);
    assert_eq!(judged.errors, "");
    assert!(judged.video().widths.len() > 10, "{judged:?}");
    let _ = std::fs::remove_dir_all(path.parent().expect("a directory"));
}

/// Video that begins with its one keyframe, whoever asks for more: as that of a file is.
fn one_keyframe(timeline: &Timeline) -> (Segment, Arc<Branch>) {
    let segment = Segment::new(timeline, "file", |_| {});
    let description = "videotestsrc is-live=true ! capsfilter caps=video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! vp8enc deadline=1 keyframe-max-dist=9000 ! capsfilter caps=video/x-vp8";
    let bin = segment.add(description).expect("elements");
    let sink = AppSink::builder().build();
    segment.pipeline().add(&sink).expect("a sink");
    bin.link(&sink).expect("a link");
    let way_back = bin.static_pad("src").expect("a way out");
    probe(&way_back, gst::PadProbeType::EVENT_UPSTREAM, |_, info| {
        let asks = info
            .event()
            .is_some_and(|e| e.type_() == gst::EventType::CustomUpstream);
        if asks {
            gst::PadProbeReturn::Drop
        } else {
            gst::PadProbeReturn::Ok
        }
    });
    let native = Branch::native(Format::Encoded(Codec::Vp8), &sink);
    (segment, native)
}
