//! Images by URI: fetched once, beside the stream, within limits, and decoded.

mod drawing;

use std::io::Cursor;
use std::path::PathBuf;
use std::time::Duration;

use ::image::imageops::{self, FilterType};
use ::image::{ImageReader, Limits, RgbaImage};
use futures_util::StreamExt;
use kms_core::Reach;
use kms_core::media::{Fetching, Images, Planes};
use protocol::error::clip;
use protocol::{Code, Error};
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of a file.
const LARGEST: usize = 16 * 1024 * 1024;
/// Pixels each way, and in all: 64 MiB of them.
const WIDEST: u32 = 8_192;
const MOST_PIXELS: u64 = 16 * 1024 * 1024;
/// Bytes that decoding one may take.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;
/// So many are fetched at once, and so many are decoded and made use of; others wait for their turn.
static FETCHED: Semaphore = Semaphore::const_new(16);
static DECODED: Semaphore = Semaphore::const_new(2);
/// How long others may take before it is.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a server may take for all of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// An image: red, green, blue and opacity.
pub(crate) struct Image {
    pub(crate) pixels: RgbaImage,
}

impl Image {
    /// The image at a URI: `file://` or an absolute path, `http(s)://`, `data:`; PNG, JPEG, WebP or SVG. Error 40107 with the reason if
    /// it can't be had.
    pub(crate) async fn load(uri: &str, reach: &Reach) -> Result<Image, Error> {
        Image::load_for(uri, reach, |image| image).await
    }

    /// The same, with what is made of it at once, which may take long: while it does, others wait.
    pub(crate) async fn load_for<T: Send + 'static>(
        uri: &str,
        reach: &Reach,
        make: impl FnOnce(Image) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let refused = |why| {
            Error::new(
                Code::IllegalParam,
                format!("The image '{}' can't be used: {why}", shown(uri)),
            )
        };
        let _fetching = turn(&FETCHED).await?;
        let bytes = fetch(uri, reach).await.map_err(refused)?;
        let turn = turn(&DECODED).await?;
        let made = tokio::task::spawn_blocking(move || {
            // Until it is done, whether anybody waits for it or not.
            let _turn = turn;
            decode(&bytes).map(make)
        });
        made.await
            .unwrap_or_else(|_| Err("it is broken".into()))
            .map_err(refused)
    }
}

impl Image {
    /// The image in a file. Takes long.
    pub(crate) fn open(path: &str) -> Result<Image, String> {
        decode(&std::fs::read(path).map_err(|e| e.to_string())?)
    }
}

async fn turn(of: &'static Semaphore) -> Result<SemaphorePermit<'static>, Error> {
    match tokio::time::timeout(LONGEST_WAIT, of.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => Err(Error::new(
            Code::NotEnoughResources,
            "Too many images are being read just now: try again",
        )),
    }
}

/// Fetches images for others than filters.
pub(crate) struct Fetcher;

impl Images for Fetcher {
    fn fill(&self, uri: String, reach: Reach, (width, height): (u32, u32)) -> Fetching {
        Box::pin(async move {
            Image::load_for(&uri, &reach, move |image| {
                let scaled =
                    imageops::resize(&image.part((width, height)), width, height, FilterType::Triangle);
                Planes::of_rgba((width as usize, height as usize), &scaled)
            })
            .await
        })
    }
}

impl Image {
    /// The middle part that has the shape of this size.
    fn part(&self, (width, height): (u32, u32)) -> RgbaImage {
        let (from_width, from_height) = self.pixels.dimensions();
        // Of a by b and c by d: a * d against b * c.
        let (wide, high) = (
            u64::from(from_width) * u64::from(height),
            u64::from(from_height) * u64::from(width),
        );
        let side = |length: u64, by: u32| u32::try_from(length / u64::from(by.max(1))).unwrap_or(1).max(1);
        let (part_width, part_height) = if wide > high {
            (side(high, height), from_height)
        } else {
            (from_width, side(wide, width))
        };
        let (x, y) = ((from_width - part_width) / 2, (from_height - part_height) / 2);
        imageops::crop_imm(&self.pixels, x, y, part_width, part_height).to_image()
    }
}

/// A URI as it may be told: without a password, and not all of a long one.
fn shown(uri: &str) -> String {
    let mut text = uri.to_owned();
    if let Ok(mut url) = url::Url::parse(uri)
        && (url.password().is_some() || !url.username().is_empty())
    {
        let _ = url.set_password(None);
        let _ = url.set_username("");
        text = url.into();
    }
    clip(&text).to_string()
}

async fn fetch(uri: &str, reach: &Reach) -> Result<Vec<u8>, String> {
    let file = |path: PathBuf| reach.file(&path).map_err(|e| e.message);
    if uri.starts_with('/') {
        return read(file(uri.into())?).await;
    }
    let url =
        url::Url::parse(uri).map_err(|_| "it should be a URI, such as file:///images/hat.png".to_owned())?;
    match url.scheme() {
        "file" => {
            let path = url
                .to_file_path()
                .map_err(|()| "it names no file of this machine".to_owned())?;
            read(file(path)?).await
        }
        "http" | "https" => download(url, reach).await,
        "data" => {
            let data = data_url::DataUrl::process(uri).map_err(|e| e.to_string())?;
            let (bytes, _) = data.decode_to_vec().map_err(|e| e.to_string())?;
            within_bounds(bytes)
        }
        other => Err(format!(
            "'{other}' is not supported; file, http, https and data are"
        )),
    }
}

fn too_large() -> String {
    format!("it is larger than {} MiB", LARGEST / 1024 / 1024)
}

fn within_bounds(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if bytes.len() > LARGEST {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

async fn read(path: PathBuf) -> Result<Vec<u8>, String> {
    // Asked before it is opened: others than files may wait for somebody then.
    let meta = tokio::fs::metadata(&path).await.map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("it is not a file".into());
    }
    let file = tokio::fs::File::open(&path).await.map_err(|e| e.to_string())?;
    // Some files have more in them than they say.
    let mut bytes = Vec::new();
    let read = file.take(LARGEST as u64 + 1).read_to_end(&mut bytes).await;
    read.map_err(|e| e.to_string())?;
    within_bounds(bytes)
}

async fn download(url: url::Url, reach: &Reach) -> Result<Vec<u8>, String> {
    let failed = |e: reqwest::Error| match e.is_timeout() {
        true => format!("its server took longer than {} s", PATIENCE.as_secs()),
        // Without the URL, which may have a password.
        false => e.without_url().to_string(),
    };
    let mut client = reqwest::Client::builder().timeout(PATIENCE);
    if let Some(proxy) = reach.proxy() {
        client = client.proxy(reqwest::Proxy::all(proxy).map_err(failed)?);
    }
    let client = client.build().map_err(failed)?;
    let answer = client.get(url).send().await.map_err(failed)?;
    let answer = answer.error_for_status().map_err(failed)?;
    let mut bytes = Vec::new();
    let mut parts = answer.bytes_stream();
    while let Some(part) = parts.next().await {
        bytes.extend_from_slice(&part.map_err(failed)?);
        if bytes.len() > LARGEST {
            return Err(too_large());
        }
    }
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Image, String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|e| e.to_string())?;
    let Some(format) = reader.format() else {
        return drawing::draw(bytes);
    };
    let (width, height) = ImageReader::with_format(Cursor::new(bytes), format)
        .into_dimensions()
        .map_err(|e| e.to_string())?;
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!(
            "it has {width}x{height} pixels, and {} million are the most",
            MOST_PIXELS / 1_000_000
        ));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(WIDEST);
    limits.max_image_height = Some(WIDEST);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let pixels = reader.decode().map_err(|e| e.to_string())?.into_rgba8();
    Ok(Image { pixels })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(uri: &str) -> String {
        let error = Image::load(uri, &Reach::default())
            .await
            .map(|_| ())
            .expect_err(uri);
        assert_eq!(error.code, Code::IllegalParam);
        error.message
    }

    #[tokio::test]
    async fn what_is_no_image_is_refused_with_the_reason() {
        for (uri, why) in [
            ("", "should be a URI"),
            ("hat.png", "should be a URI"),
            ("/nowhere/hat.png", "No such file"),
            ("/", "not a file"),
            ("ftp://host/hat.png", "'ftp' is not supported"),
            ("data:text/plain,hello", "none of PNG, JPEG, WebP and SVG"),
            ("http://127.0.0.1:1/hat.png", "error"),
        ] {
            let message = refused(uri).await;
            assert!(message.contains(why), "{uri}: {message}");
        }
        let message = refused("http://me:s3cret@127.0.0.1:1/hat.png").await;
        assert!(!message.contains("s3cret"), "{message}");
        let long = refused(&format!("data:text/plain,{}", "x".repeat(100_000))).await;
        assert!(long.len() < 1_000, "{}", long.len());
    }

    #[tokio::test]
    async fn images_that_are_too_much_are_refused() {
        // A small file with many pixels.
        let mut png = Vec::new();
        let black = ::image::GrayImage::new(8_000, 4_000);
        black
            .write_to(&mut Cursor::new(&mut png), ::image::ImageFormat::Png)
            .expect("a PNG");
        let why = decode(&png).map(|_| ()).expect_err("too many pixels");
        assert!(why.contains("8000x4000 pixels, and 16 million"), "{why}");
    }

    #[test]
    fn the_middle_part_has_the_shape_that_is_wanted() {
        for (size, wanted, part) in [
            ((100, 100), (800, 600), (100, 75)),
            ((100, 100), (600, 800), (75, 100)),
            ((1, 8_192), (4_096, 4_096), (1, 1)),
            ((8_192, 1), (16, 4_096), (1, 1)),
            ((640, 480), (640, 480), (640, 480)),
        ] {
            let image = Image {
                pixels: RgbaImage::new(size.0, size.1),
            };
            assert_eq!(image.part(wanted).dimensions(), part, "{size:?} for {wanted:?}");
        }
    }

    #[tokio::test]
    async fn files_that_lie_about_their_size_are_not_read_for_ever() {
        let why = refused("/proc/self/pagemap").await;
        assert!(
            why.contains("larger than 16 MiB") || why.contains("error"),
            "{why}"
        );
    }

    #[tokio::test]
    async fn a_drawing_is_drawn_and_reads_no_files() {
        let svg = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 10'><rect width='10' height='10' fill='red' opacity='0.5'/>\
                   <image href='/etc/passwd' width='5' height='5'/></svg>";
        let uri = format!(
            "data:image/svg+xml,{}",
            svg.replace('#', "%23").replace(' ', "%20")
        );
        let image = Image::load(&uri, &Reach::default()).await.expect("an image");
        assert_eq!(image.pixels.dimensions(), (1_024, 512));
        let pixel = image.pixels.get_pixel(200, 200).0;
        assert!(
            pixel[0] > 250 && pixel[1] < 5 && pixel[3].abs_diff(128) < 4,
            "{pixel:?}"
        );
        assert_eq!(image.pixels.get_pixel(900, 200).0[3], 0);
    }
}
