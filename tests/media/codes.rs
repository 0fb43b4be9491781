//! Codes that are seen: QR by the crate `qrcode`, EAN by its rules; ffmpeg makes films of them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kms_client::api::types::MediaProfileSpecType;
use kms_client::api::*;
use qrcode::{Color, QrCode};

use crate::daemon::Daemon;
use crate::files::{Folder, uri};
use crate::player::{WEBM, pipeline, within};
use crate::recorder::judge;

const WIDTH: usize = 640;
const HEIGHT: usize = 480;

/// A picture in grey, white at first.
struct Picture(Vec<u8>);

impl Picture {
    fn new() -> Picture {
        Picture(vec![255; WIDTH * HEIGHT])
    }

    fn black(&mut self, (left, top): (usize, usize), (width, height): (usize, usize)) {
        for row in self.0.chunks_exact_mut(WIDTH).skip(top).take(height) {
            row[left..left + width].fill(0);
        }
    }

    /// A QR code, six pixels a module.
    fn with_qr(mut self, value: &str, (left, top): (usize, usize)) -> Picture {
        const SIZE: usize = 6;
        let code = QrCode::new(value).unwrap();
        for (index, color) in code.to_colors().into_iter().enumerate() {
            let (x, y) = (index % code.width(), index / code.width());
            if color == Color::Dark {
                self.black((left + x * SIZE, top + y * SIZE), (SIZE, SIZE));
            }
        }
        self
    }

    /// EAN-13 (GS1 General Specifications, section 5.2), two pixels a module. The last digit is the check digit.
    fn with_ean(mut self, digits: &str, (left, top): (usize, usize)) -> Picture {
        const ODD: [u8; 10] = [0x0d, 0x19, 0x13, 0x3d, 0x23, 0x31, 0x2f, 0x3b, 0x37, 0x0b];
        const PARITY: [u8; 10] = [0x00, 0x0b, 0x0d, 0x0e, 0x13, 0x19, 0x1c, 0x15, 0x16, 0x1a];
        let digits: Vec<usize> = digits.bytes().map(|d| usize::from(d - b'0')).collect();
        let mut modules = vec![1, 0, 1];
        let put = |modules: &mut Vec<u8>, bits: u8| modules.extend((0..7).rev().map(|b| bits >> b & 1));
        for (place, digit) in digits[1..7].iter().enumerate() {
            let odd = ODD[*digit];
            let is_even = PARITY[digits[0]] >> (5 - place) & 1 == 1;
            // An even code is the right-hand one mirrored.
            let bits = if is_even {
                (!odd & 0x7f).reverse_bits() >> 1
            } else {
                odd
            };
            put(&mut modules, bits);
        }
        modules.extend([0, 1, 0, 1, 0]);
        digits[7..]
            .iter()
            .for_each(|digit| put(&mut modules, !ODD[*digit] & 0x7f));
        modules.extend([1, 0, 1]);
        for (place, _) in modules.iter().enumerate().filter(|(_, module)| **module == 1) {
            self.black((left + place * 2, top), (2, 80));
        }
        self
    }

    fn write(&self, path: &Path) {
        let head = format!("P5 {WIDTH} {HEIGHT} 255\n");
        std::fs::write(path, [head.as_bytes(), &self.0].concat()).unwrap();
    }
}

/// A film of pictures, each shown for so many seconds.
fn film(folder: &Folder, name: &str, pictures: &[(Picture, &str)]) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]);
    for (number, (picture, seconds)) in pictures.iter().enumerate() {
        let path = folder.path(&format!("{number}.pgm"));
        picture.write(&path);
        command
            .args(["-loop", "1", "-framerate", "25", "-t", seconds, "-i"])
            .arg(path);
    }
    let concat = format!("concat=n={}", pictures.len());
    let made = command
        .args(["-filter_complex", &concat, "-pix_fmt", "yuv420p"])
        .args(&WEBM[..WEBM.len()])
        .arg(folder.path(name))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test]
async fn each_code_is_told_once_until_it_was_away() {
    const ADDRESS: &str = "https://example.org/?a=1&b=\"Grüße aus Köln\"";
    const BOOK: &str = "9783161484100";
    let folder = Folder::new();
    let qr = || Picture::new().with_qr(ADDRESS, (40, 40));
    let pictures = [
        (Picture::new(), "1"),
        (qr(), "2.5"),
        (Picture::new(), "3"),
        (qr().with_ean(BOOK, (330, 300)), "2.5"),
    ];
    film(&folder, "codes.webm", &pictures);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("codes.webm")))
        .await
        .unwrap();
    let filter = ZBarFilter::create(&client, &pipeline).await.unwrap();
    let file = folder.path("out.webm");
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&file))
        .media_profile(MediaProfileSpecType::WebmVideoOnly)
        .await
        .unwrap();
    player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    let mut codes = filter.on_code_found().await.unwrap();
    let mut ends = player.on_end_of_stream().await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();

    let first = within("a code", codes.next()).await;
    assert_eq!((&*first.code_type, &*first.value), ("QR-Code", ADDRESS));
    let mut then = Vec::new();
    for _ in 0..2 {
        let code = within("a code", codes.next()).await;
        then.push((code.code_type, code.value));
    }
    then.sort();
    let expected = [("EAN-13", BOOK), ("QR-Code", ADDRESS)];
    assert_eq!(
        then,
        expected.map(|(kind, value)| (kind.to_owned(), value.to_owned()))
    );
    within("the end", ends.next()).await;
    let more = tokio::time::timeout(Duration::from_millis(500), codes.next()).await;
    assert!(more.is_err(), "told twice: {more:?}");
    recorder.stop_and_wait().await.unwrap();
    // The video went through as it is, all of it.
    let (_, seconds) = judge(&file);
    assert!((8.5..9.5).contains(&seconds), "{seconds} s of 9");
}
