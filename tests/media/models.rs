//! Filters that run models.

use kms_client::api::types::{MediaProfileSpecType, MosaicStyle};
use kms_client::api::*;

use crate::daemon::Daemon;
use crate::files::{Folder, uri};
use crate::hubs::{film, pictures};
use crate::player::{pipeline, within};

const WIDTH: usize = 640;
const HEIGHT: usize = 480;

fn path(name: &str) -> String {
    format!("{}/tests/media/models/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn what_a_model_finds_is_told_and_drawn() {
    let folder = Folder::new();
    // A grey wall with a white square of 80 pixels, at 240, 160: a cell of the model.
    film(
        &folder.path("film.webm"),
        "color=c=gray:size=640x480:rate=25,drawbox=x=240:y=160:w=80:h=80:color=white:t=fill",
        440.0,
        0.1,
    );
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("film.webm")))
        .await
        .unwrap();
    let filter = OnnxFilter::create(&client, &pipeline, &path("yolo.onnx"))
        .draw(true)
        .await
        .unwrap();
    assert_eq!(filter.labels().await.unwrap(), ["dark", "bright"]);
    assert_eq!(filter.every_nth().await.unwrap(), 1);
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&folder.path("out.webm")))
        .media_profile(MediaProfileSpecType::WebmVideoOnly)
        .await
        .unwrap();
    let mut found = filter.on_objects_detected().await.unwrap();
    player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    let begun = std::time::SystemTime::now();
    player.play().await.unwrap();
    for _ in 0..10 {
        let event = within("ObjectsDetected", found.next()).await;
        let [square] = event.detections.as_slice() else {
            panic!("{event:?}");
        };
        assert_eq!((square.label.as_str(), square.class_number), ("bright", 1));
        assert!((0.9..=1.0).contains(&square.score), "{square:?}");
        let is = [square.x, square.y, square.width, square.height];
        assert_eq!(is, [240, 160, 80, 80]);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(event.frame_time as u64);
        let after = time
            .duration_since(begun)
            .expect("a picture from after it was begun");
        assert!(after.as_secs() < 10, "{after:?}");
    }
    // So that some of it is in the file for sure.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    recorder.stop_and_wait().await.unwrap();
    let of = pictures(&folder.path("out.webm"), (WIDTH, HEIGHT));
    // Orange at the box's left, upper, right and low side; what is in it stays.
    let orange = |picture: &[u8], (x, y): (usize, usize)| {
        let [r, g, b] = [0, 1, 2].map(|c| i32::from(picture[(y * WIDTH + x) * 3 + c]));
        r > g + 40 && g > b + 40
    };
    let sides = [(242, 200), (280, 162), (317, 200), (280, 237)];
    let is_drawn = |picture: &&Vec<u8>| {
        let inside = orange(picture, (280, 200)) || orange(picture, (100, 100));
        !inside && sides.iter().all(|side| orange(picture, *side))
    };
    let drawn = of.iter().filter(is_drawn).count();
    // Where a look takes longer than what was seen is drawn for, it is drawn now and then.
    assert!(drawn >= 3, "the box is drawn in {drawn} of {} pictures", of.len());
}

#[tokio::test]
async fn faces_are_found_by_the_configured_model() {
    let folder = Folder::new();
    // What the model of the test takes for a face, and no cascade does; with a pattern that it can be followed by.
    film(
        &folder.path("film.webm"),
        "color=c=black:size=640x480:rate=25,\
         geq=lum='if(between(X,192,255)*between(Y,128,191),235-70*mod(floor(X/16)+floor(Y/16),2),16)':cb=128:cr=128",
        440.0,
        0.1,
    );
    let config = format!("[filters]\nface_detector_model = \"{}\"\n", path("yunet.onnx"));
    let daemon = Daemon::with_config(&config);
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("film.webm")))
        .await
        .unwrap();
    let filter = MosaicFilter::create(&client, &pipeline).await.unwrap();
    filter.set_style(MosaicStyle::Solid).await.unwrap();
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&folder.path("out.webm")))
        .media_profile(MediaProfileSpecType::WebmVideoOnly)
        .await
        .unwrap();
    let mut entered = filter.on_face_entered().await.unwrap();
    player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    let face = within("FaceEntered", entered.next()).await;
    assert!((0.7..0.9).contains(&face.confidence), "{face:?}");
    let is = [
        face.region.x,
        face.region.y,
        face.region.width,
        face.region.height,
    ];
    for (is, wanted) in is.into_iter().zip([192, 128, 64, 64]) {
        assert!((is - wanted).abs() <= 4, "{face:?}");
    }
    recorder.stop_and_wait().await.unwrap();
    let of = pictures(&folder.path("out.webm"), (WIDTH, HEIGHT));
    assert!(
        of.last().unwrap().iter().all(|n| *n < 60),
        "the bright square is hidden"
    );
}

#[tokio::test]
async fn a_model_that_does_not_fit_is_refused_with_the_reason() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path(name), text).unwrap();
        folder.path(name).to_str().unwrap().to_owned()
    };
    let small = r#"{"input": {"width": 32, "height": 48}, "output": {"kind": "YOLO"}}"#;
    for (model, description, why) in [
        (
            path("nothing.onnx"),
            path("yolo.json"),
            "nothing.onnx can't be used: No such file",
        ),
        (
            "yolo.onnx".into(),
            String::new(),
            "modelPath should be an absolute path",
        ),
        (
            "http://127.0.0.1/yolo.onnx".into(),
            String::new(),
            "modelPath should be an absolute path",
        ),
        (
            path("yolo.onnx"),
            path("nothing.json"),
            "nothing.json can't be used: No such file",
        ),
        (
            path("yolo.onnx"),
            write("broken.json", "{\"input\": 5}"),
            "broken.json can't be used: invalid type",
        ),
        (
            path("yolo.onnx"),
            write("small.json", small),
            "input 'images' is 1x3x48x64, and the description makes it 1x3x48x32",
        ),
        (
            write("text.onnx", "no model"),
            path("yolo.json"),
            "text.onnx can't be used",
        ),
        (
            path("colours.onnx"),
            path("yolo.json"),
            "'output' is 1x3, which is not boxes",
        ),
    ] {
        let refused = OnnxFilter::create(&client, &pipeline, &model)
            .description_path(&description)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains(why), "{refused}");
    }
    // The daemon is well.
    OnnxFilter::create(&client, &pipeline, &path("yolo.onnx"))
        .await
        .unwrap();
}
