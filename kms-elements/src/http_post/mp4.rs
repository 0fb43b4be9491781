//! Where an MP4 file has its index (ISO/IEC 14496-12, section 4.2): without the box `moov` nothing of `mdat` can be played, and
//! what comes before it has to be kept.

/// Looks at the outermost boxes of a file as its bytes come.
pub(super) struct BoxOrder {
    /// Bytes of media that may come before the index.
    most: u64,
    /// The header of the next box, as far as it has come: 8 bytes, or 16 with a long size.
    header: Vec<u8>,
    /// Bytes to the next box.
    rest: u64,
    media: u64,
    /// No box has come yet.
    first: bool,
    /// The index was found, or this is no MP4.
    decided: bool,
}

/// More media than may be kept comes before the index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IndexTooLate;

/// What MP4 and QuickTime files begin with.
const FIRST: [&[u8; 4]; 6] = [b"ftyp", b"wide", b"free", b"skip", b"mdat", b"moov"];

impl BoxOrder {
    /// Before the first byte.
    pub(super) fn new(most: u64) -> BoxOrder {
        BoxOrder {
            most,
            header: Vec::with_capacity(16),
            rest: 0,
            media: 0,
            first: true,
            decided: false,
        }
    }

    /// The next bytes of the file.
    pub(super) fn see(&mut self, mut bytes: &[u8]) -> Result<(), IndexTooLate> {
        while !self.decided && !bytes.is_empty() {
            if self.rest > 0 {
                let skipped = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
                bytes = bytes.get(skipped..).unwrap_or_default();
                self.rest -= skipped as u64;
                continue;
            }
            let Some((byte, after)) = bytes.split_first() else {
                break;
            };
            self.header.push(*byte);
            bytes = after;
            if let Some((name, size)) = complete(&self.header) {
                let known = FIRST.contains(&&name);
                self.decided = &name == b"moov" || (self.first && !known);
                self.first = false;
                // Zero: to the end of the file, and no index comes after that.
                let size = if size == 0 { u64::MAX } else { size };
                self.rest = size.saturating_sub(self.header.len() as u64);
                self.header.clear();
                if &name == b"mdat" {
                    self.media = self.media.saturating_add(self.rest);
                    if self.media > self.most {
                        return Err(IndexTooLate);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Name and size of a box, once its header is complete.
fn complete(header: &[u8]) -> Option<([u8; 4], u64)> {
    let short = u32::from_be_bytes(header.get(..4)?.try_into().ok()?);
    let name = header.get(4..8)?.try_into().ok()?;
    match short {
        1 => Some((name, u64::from_be_bytes(header.get(8..16)?.try_into().ok()?))),
        size => Some((name, size.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_box(name: &str, content: usize) -> Vec<u8> {
        let mut bytes = ((content + 8) as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend(std::iter::repeat_n(b'm', content));
        bytes
    }

    fn see(file: &[u8], piece: usize) -> Result<(), IndexTooLate> {
        let mut order = BoxOrder::new(1_000);
        file.chunks(piece).try_for_each(|bytes| order.see(bytes))
    }

    #[test]
    fn media_before_the_index_is_taken_up_to_a_bound() {
        let cases = [
            (
                vec![a_box("ftyp", 20), a_box("moov", 300), a_box("mdat", 5_000)],
                true,
            ),
            (
                vec![a_box("ftyp", 20), a_box("mdat", 900), a_box("moov", 300)],
                true,
            ),
            (
                vec![a_box("ftyp", 20), a_box("mdat", 1_001), a_box("moov", 300)],
                false,
            ),
            (
                vec![a_box("ftyp", 20), a_box("mdat", 600), a_box("mdat", 600)],
                false,
            ),
            (vec![a_box("wide", 0), a_box("mdat", 1_001)], false),
            // No MP4 at all, and what is inside of a box is no box.
            (vec![a_box("junk", 5), a_box("mdat", 1_001)], true),
            (
                vec![a_box("free", 5_000), a_box("moov", 9), a_box("mdat", 1_001)],
                true,
            ),
        ];
        for (number, (boxes, playable)) in cases.iter().enumerate() {
            for piece in [1, 7, 100_000] {
                let seen = see(&boxes.concat(), piece);
                assert_eq!(seen.is_ok(), *playable, "case {number} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn sizes_of_a_remote_are_not_believed() {
        let long = |size: u64| [&[0, 0, 0, 1][..], b"mdat", &size.to_be_bytes()].concat();
        assert_eq!(see(&long(u64::MAX), 3), Err(IndexTooLate));
        assert_eq!(see(&long(500), 3), Ok(()));
        assert_eq!(see(&long(0), 3), Err(IndexTooLate));
        let to_the_end = [&[0; 4][..], b"mdat"].concat();
        assert_eq!(see(&to_the_end, 8), Err(IndexTooLate));
        // Smaller than its own header: each is a box of its own, and none is media.
        assert_eq!(
            see(&[[0, 0, 0, 2].as_slice(), b"free"].concat().repeat(500), 11),
            Ok(())
        );
        assert_eq!(see(b"<html>not media at all</html>", 2), Ok(()));
    }
}
