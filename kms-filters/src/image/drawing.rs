//! Drawings (SVG). Everybody may give one: so what it may cost is bounded before it is read, and again before it is drawn.

use ::image::RgbaImage;
use resvg::{tiny_skia, usvg};

use super::{Image, WIDEST};

/// Bytes; elements one in another; and shapes and groups when what refers to others was replaced by them.
const LARGEST: usize = 512 * 1024;
const DEEPEST: usize = 128;
const MOST_SHAPES: usize = 10_000;
/// Groups one in another that are drawn by themselves first, such as those that are transparent as a whole: each takes memory for a picture.
const MOST_LAYERS: usize = 8;
/// Bytes of stack, of which only what is used is taken: what reads drawings calls itself for what refers to others.
const STACK: usize = 512 * 1024 * 1024;
/// The longer side that drawings are made at, which have no size in pixels of their own: sharp also when they fill a picture.
const SIDE: f32 = 1_024.0;

/// The image that a drawing is, within bounds. What it refers to, other files among it, is left out.
pub(super) fn draw(bytes: &[u8]) -> Result<Image, String> {
    let text = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.contains("<svg"));
    let text = text.ok_or("it is none of PNG, JPEG, WebP and SVG")?;
    if text.len() > LARGEST {
        return Err("it is a drawing (SVG) of more than 512 KiB".into());
    }
    check(text)?;
    std::thread::scope(|scope| {
        let artist = std::thread::Builder::new()
            .name("drawing".into())
            .stack_size(STACK);
        let drawn = artist
            .spawn_scoped(scope, || render(text))
            .map_err(|e| e.to_string())?;
        drawn.join().unwrap_or_else(|_| Err("it is broken".into()))
    })
}

/// Looks at the XML before it is read, for what reads it calls itself for each element that is in another.
fn check(xml: &str) -> Result<(), String> {
    let unclosed = || "the drawing is not well-formed".to_owned();
    let mut depth = 0_usize;
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let until = |end: &str| rest.find(end).map(|at| at + end.len()).ok_or_else(unclosed);
        let length = if rest.starts_with("!--") {
            until("-->")?
        } else if rest.starts_with("![") {
            until("]]>")?
        } else if rest.starts_with('?') {
            until("?>")?
        } else if rest.starts_with('!') {
            // The type of the document. With a part of its own it may name other texts.
            let length = until(">")?;
            if rest[..length].contains('[') {
                return Err("the drawing defines a document type of its own, which is not read".into());
            }
            length
        } else if rest.starts_with('/') {
            depth = depth.saturating_sub(1);
            until(">")?
        } else {
            let length = tag(rest).ok_or_else(unclosed)?;
            if !rest[..length].ends_with("/>") {
                depth += 1;
            }
            if depth > DEEPEST {
                return Err(format!(
                    "more than {DEEPEST} elements of the drawing are one in another"
                ));
            }
            length
        };
        rest = &rest[length..];
    }
    Ok(())
}

/// How long the tag is that begins here: its end is not within quotes, where there is no `<` either.
fn tag(xml: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in xml.bytes().enumerate() {
        match (byte, quote) {
            (b'<', _) => return None,
            (b'>', None) => return Some(at + 1),
            (b'"' | b'\'', None) => quote = Some(byte),
            (_, Some(open)) if byte == open => quote = None,
            _ => {}
        }
    }
    None
}

/// Counts what is to be drawn; `None`: more than may be. What groups are cut to is drawn for each of them.
fn count(group: &usvg::Group, layers: usize, left: &mut usize) -> Option<()> {
    let layers = layers + usize::from(group.should_isolate());
    if layers > MOST_LAYERS {
        return None;
    }
    let mut clip = group.clip_path();
    while let Some(path) = clip {
        count(path.root(), layers, left)?;
        clip = path.clip_path();
    }
    for node in group.children() {
        *left = left.checked_sub(1)?;
        if let usvg::Node::Group(group) = node {
            count(group, layers, left)?;
        }
    }
    Some(())
}

fn render(text: &str) -> Result<Image, String> {
    let options = usvg::Options {
        image_href_resolver: usvg::ImageHrefResolver {
            resolve_data: Box::new(|_, _, _| None),
            resolve_string: Box::new(|_, _| None),
        },
        ..usvg::Options::default()
    };
    let tree = usvg::Tree::from_str(text, &options).map_err(|e| format!("the drawing can't be read: {e}"))?;
    // A line of text is enough to make these take for ever.
    if !(tree.filters().is_empty() && tree.masks().is_empty() && tree.patterns().is_empty()) {
        return Err("the drawing has filters, masks or patterns, which are not drawn".into());
    }
    count(tree.root(), 0, &mut MOST_SHAPES.clone()).ok_or_else(|| {
        format!("the drawing has more than {MOST_SHAPES} shapes, or more than {MOST_LAYERS} transparent groups one in another")
    })?;
    let scale = SIDE / tree.size().width().max(tree.size().height());
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

    #[test]
    fn drawings_that_are_too_much_are_refused() {
        let svg = |inside: &str| {
            let svg = format!("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'>{inside}</svg>");
            draw(svg.as_bytes()).map(|_| ())
        };
        let rect = "<rect width='9' height='9'/>";
        let nested = |depth| format!("{}{rect}{}", "<g>".repeat(depth), "</g>".repeat(depth));
        // Each refers to the next.
        let chain = |length: usize| {
            let link = |n: usize| format!("<g id='a{n}'><use href='#a{}'/></g>", n + 1);
            let links: String = (0..length).map(link).collect();
            format!("<defs>{links}<g id='a{length}'>{rect}</g></defs><use href='#a0'/>")
        };
        // Each shows the next ten times.
        let bomb = |levels: usize| {
            let level = |n: usize| {
                let uses = format!("<use href='#b{}'/>", n + 1).repeat(10);
                format!("<g id='b{n}'>{uses}</g>")
            };
            let all: String = (0..levels).map(level).collect();
            format!("<defs>{all}<g id='b{levels}'>{rect}</g></defs><use href='#b0'/>")
        };
        for (what, inside, why) in [
            ("large", " ".repeat(LARGEST), "more than 512 KiB"),
            ("nested", nested(50_000), "one in another"),
            ("unclosed", "<g>".repeat(100_000), "one in another"),
            ("a bomb", bomb(8), ""),
            ("tags", "<".repeat(500_000), "not well-formed"),
            ("comments", "<!--".repeat(100_000), "not well-formed"),
            ("quotes", "<a '>".to_owned(), "not well-formed"),
            ("noise", "<filter id='f'><feTurbulence numOctaves='4000000000'/></filter><rect width='9' height='9' filter='url(#f)'/>".to_owned(), "filters"),
            ("glass", format!("{}{rect}{rect}{}", "<g opacity='.9'>".repeat(100), "</g>".repeat(100)), "one in another"),
            ("shapes", rect.repeat(10_001), "10000 shapes"),
        ] {
            let error = svg(&inside).expect_err(what);
            assert!(error.contains(why), "{what}: {error}");
        }
        assert_eq!(svg(&nested(100)), Ok(()));
        assert_eq!(
            svg("<!-- <g> > --><style>/* > */</style><path d='M0 0' id='>'/>"),
            Ok(())
        );
        // Whatever becomes of it, it harms nobody.
        let _ = svg(&chain(10_000));
        let typed = "<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'svg11.dtd'><svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'/>";
        assert!(draw(typed.as_bytes()).is_ok());
        let named = "<!DOCTYPE svg [<!ENTITY x \"<a '\">]><svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'/>";
        let why = draw(named.as_bytes())
            .map(|_| ())
            .expect_err("a document type of its own");
        assert!(why.contains("document type"), "{why}");
        // Compressed, it would be larger than it seems.
        assert!(draw(&[0x1f, 0x8b, 8, 0]).is_err());
    }
}
