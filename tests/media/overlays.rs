//! Images over video, judged by the colours of its pictures.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kms_client::api::types::MediaProfileSpecType;
use kms_client::api::*;
use protocol::Code;

use crate::daemon::Daemon;
use crate::files::{Folder, uri};
use crate::hubs::{film, is, pictures};
use crate::player::{pipeline, within};

const WIDTH: usize = 320;
const HEIGHT: usize = 240;

/// Colours at two places of each picture, as parts of its width and height: red, green, blue.
fn colours(file: &Path, places: [(f64, f64); 2]) -> Vec<[[u8; 3]; 2]> {
    let at = |picture: &[u8], (x, y): (f64, f64)| {
        let at = ((y * HEIGHT as f64) as usize * WIDTH + (x * WIDTH as f64) as usize) * 3;
        [picture[at], picture[at + 1], picture[at + 2]]
    };
    pictures(file, (WIDTH, HEIGHT))
        .iter()
        .map(|picture| places.map(|place| at(picture, place)))
        .collect()
}

const BLUE: [u8; 3] = [0, 0, 254];
const RED: [u8; 3] = [254, 0, 0];
/// Half of each.
const BOTH: [u8; 3] = [127, 0, 127];

#[tokio::test]
async fn images_are_laid_over_video_and_taken_away_while_it_flows() {
    let folder = Folder::new();
    film(
        &folder.path("blue.webm"),
        "color=c=blue:size=320x240:rate=25",
        440.0,
        1.0,
    );
    let made = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "color=c=red@0.5:size=64x64,format=rgba",
            "-frames:v",
            "1",
        ])
        .arg(folder.path("half.png"))
        .status();
    assert!(made.unwrap().success());
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("blue.webm")))
        .await
        .unwrap();
    let filter = ImageOverlayFilter::create(&client, &pipeline).await.unwrap();
    let file = folder.path("out.mp4");
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&file))
        .media_profile(MediaProfileSpecType::Mp4)
        .await
        .unwrap();
    let half = uri(&folder.path("half.png"));
    filter
        .add_image("half", &half, 0.0, 0.0, 0.5, 0.5, false, false)
        .await
        .unwrap();
    player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    let mut begun = recorder.on_recording().await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("Recording", begun.next()).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let drawing = "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%202%201'%3E\
                   %3Crect%20width='2'%20height='1'%20fill='red'/%3E%3C/svg%3E";
    filter
        .add_image("box", drawing, 0.5, 0.5, 0.5, 0.5, true, true)
        .await
        .unwrap();
    filter.remove_image("half").await.unwrap();
    filter.remove_image("nobody").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    recorder.stop_and_wait().await.unwrap();

    let colours = colours(&file, [(0.25, 0.25), (0.75, 0.75)]);
    let (early, late) = (colours[5], colours[colours.len() - 1]);
    assert!(is(early[0], BOTH) && is(early[1], BLUE), "{early:?}");
    assert!(is(late[0], BLUE) && is(late[1], RED), "{late:?}");

    for (bad, why) in [
        (
            filter
                .add_image("a", "/nowhere.png", 0.0, 0.0, 0.5, 0.5, false, false)
                .await,
            "No such file",
        ),
        (
            filter
                .add_image("a", &uri(&file), 0.0, 0.0, 0.5, 0.5, false, false)
                .await,
            "none of PNG",
        ),
        (
            filter
                .add_image("a", drawing, 0.0, 0.0, 0.0, 0.5, false, false)
                .await,
            "above 0",
        ),
        (
            filter
                .add_image("a", drawing, 1.5, 0.0, 0.5, 0.5, false, false)
                .await,
            "0 to 1",
        ),
    ] {
        let refused = bad.unwrap_err();
        assert_eq!(refused.code(), Some(Code::IllegalParam), "{refused}");
        assert!(refused.to_string().contains(why), "{refused}");
    }
}
