//! Images by URI: fetched once, beside the stream, within limits, and decoded.

use std::io::Cursor;
use std::time::Duration;

use ::image::{ImageReader, Limits, RgbaImage};
use futures_util::StreamExt;
use protocol::error::clip;
use protocol::{Code, Error};

/// Bytes of a file.
const LARGEST: usize = 16 * 1024 * 1024;
/// Pixels each way.
const WIDEST: u32 = 8_192;
/// How long a server may take for all of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longer side that drawings (SVG) are made at, which have no size in pixels of their own: sharp also when they fill a picture.
const DRAWING: f32 = 1_024.0;

/// An image: red, green, blue and opacity.
pub(crate) struct Image {
    pub(crate) pixels: RgbaImage,
}

impl Image {
    /// The image at a URI: `file://` or an absolute path, `http(s)://`, `data:`; PNG, JPEG, WebP or SVG. Error 40107 with the reason if
    /// it can't be had.
    pub(crate) async fn load(uri: &str) -> Result<Image, Error> {
        let bytes = fetch(uri).await;
        let image = match bytes {
            Ok(bytes) => tokio::task::spawn_blocking(move || decode(&bytes))
                .await
                .unwrap_or_else(|_| Err("it is broken".into())),
            Err(why) => Err(why),
        };
        let refused = |why| {
            Error::new(
                Code::IllegalParam,
                format!("The image '{}' can't be used: {why}", shown(uri)),
            )
        };
        image.map_err(refused)
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

async fn fetch(uri: &str) -> Result<Vec<u8>, String> {
    if uri.starts_with('/') {
        return read(uri.into()).await;
    }
    let url =
        url::Url::parse(uri).map_err(|_| "it should be a URI, such as file:///images/hat.png".to_owned())?;
    match url.scheme() {
        "file" => {
            let path = url
                .to_file_path()
                .map_err(|()| "it names no file of this machine".to_owned())?;
            read(path).await
        }
        "http" | "https" => download(url).await,
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

async fn read(path: std::path::PathBuf) -> Result<Vec<u8>, String> {
    let meta = tokio::fs::metadata(&path).await.map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("it is not a file".into());
    }
    if meta.len() > LARGEST as u64 {
        return Err(too_large());
    }
    within_bounds(tokio::fs::read(&path).await.map_err(|e| e.to_string())?)
}

async fn download(url: url::Url) -> Result<Vec<u8>, String> {
    let failed = |e: reqwest::Error| match e.is_timeout() {
        true => format!("its server took longer than {} s", PATIENCE.as_secs()),
        // Without the URL, which may have a password.
        false => e.without_url().to_string(),
    };
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .map_err(failed)?;
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
    if reader.format().is_none() {
        return draw(bytes);
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(WIDEST);
    limits.max_image_height = Some(WIDEST);
    reader.limits(limits);
    let pixels = reader.decode().map_err(|e| e.to_string())?.into_rgba8();
    Ok(Image { pixels })
}

/// An SVG. What it refers to, other files among it, is left out.
fn draw(bytes: &[u8]) -> Result<Image, String> {
    use resvg::{tiny_skia, usvg};
    let options = usvg::Options {
        image_href_resolver: usvg::ImageHrefResolver {
            resolve_data: Box::new(|_, _, _| None),
            resolve_string: Box::new(|_, _| None),
        },
        ..usvg::Options::default()
    };
    let unknown = |_| "it is none of PNG, JPEG, WebP and SVG".to_owned();
    let tree = usvg::Tree::from_data(bytes, &options).map_err(unknown)?;
    let scale = DRAWING / tree.size().width().max(tree.size().height());
    let side = |length: f32| ((length * scale).round() as u32).clamp(1, WIDEST);
    let size = (side(tree.size().width()), side(tree.size().height()));
    let mut canvas = tiny_skia::Pixmap::new(size.0, size.1).ok_or("it has no size")?;
    resvg::render(
        &tree,
        tiny_skia::Transform::from_scale(scale, scale),
        &mut canvas.as_mut(),
    );
    let pixels = canvas.pixels().iter().flat_map(|pixel| {
        let straight = pixel.demultiply();
        [
            straight.red(),
            straight.green(),
            straight.blue(),
            straight.alpha(),
        ]
    });
    let pixels = RgbaImage::from_raw(size.0, size.1, pixels.collect());
    Ok(Image {
        pixels: pixels.ok_or("it has no size")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(uri: &str) -> String {
        let error = Image::load(uri).await.map(|_| ()).expect_err(uri);
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
    async fn a_drawing_is_drawn_and_reads_no_files() {
        let svg = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 10'><rect width='10' height='10' fill='red' opacity='0.5'/>\
                   <image href='/etc/passwd' width='5' height='5'/></svg>";
        let uri = format!(
            "data:image/svg+xml,{}",
            svg.replace('#', "%23").replace(' ', "%20")
        );
        let image = Image::load(&uri).await.expect("an image");
        assert_eq!(image.pixels.dimensions(), (1_024, 512));
        let pixel = image.pixels.get_pixel(200, 200).0;
        assert!(
            pixel[0] > 250 && pixel[1] < 5 && pixel[3].abs_diff(128) < 4,
            "{pixel:?}"
        );
        assert_eq!(image.pixels.get_pixel(900, 200).0[3], 0);
    }
}
