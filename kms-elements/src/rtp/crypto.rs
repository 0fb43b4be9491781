//! SDES (RFC 4568): keys of SRTP in session descriptions.

use std::fmt;

use openssl::base64::{decode_block, encode_block};
use protocol::{Code, Error, record, remote_enum};

remote_enum! { "kurento"
    /// Cipher and authentication of SRTP (RFC 3711, RFC 6188).
    pub enum CryptoSuite {
        /// AES with keys of 128 bits; tags of 32 bits on media, 80 on RTCP.
        Aes128CmHmacSha1_32 = "AES_128_CM_HMAC_SHA1_32",
        /// AES with keys of 128 bits; tags of 80 bits.
        Aes128CmHmacSha1_80 = "AES_128_CM_HMAC_SHA1_80",
        /// AES with keys of 256 bits; tags of 32 bits on media, 80 on RTCP.
        Aes256CmHmacSha1_32 = "AES_256_CM_HMAC_SHA1_32",
        /// AES with keys of 256 bits; tags of 80 bits.
        Aes256CmHmacSha1_80 = "AES_256_CM_HMAC_SHA1_80",
    }
}

record! { "kurento"
    /// How an endpoint encrypts (SDES, RFC 4568).
    pub struct SDES {
        /// Master key and salt as a text: 30 characters for the suites with AES_128, 46 for those with AES_256.
        key "key": Option<String>,
        /// The same as Base64. Takes the place of `key`. With neither, a key is made up.
        key_base64 "keyBase64": Option<String>,
        /// The suite. None: media is sent as it is, unless the remote offers it encrypted.
        crypto "crypto": Option<CryptoSuite>,
    }
}

/// Longest `a=crypto` that is read. One with the longest key and all that may follow it has some 150 bytes.
const LONGEST: usize = 512;

/// All suites, with their names in descriptions (RFC 4568, section 6.2; RFC 6188, section 4).
const SUITES: [(CryptoSuite, &str); 4] = [
    (CryptoSuite::Aes128CmHmacSha1_80, "AES_CM_128_HMAC_SHA1_80"),
    (CryptoSuite::Aes128CmHmacSha1_32, "AES_CM_128_HMAC_SHA1_32"),
    (CryptoSuite::Aes256CmHmacSha1_80, "AES_256_CM_HMAC_SHA1_80"),
    (CryptoSuite::Aes256CmHmacSha1_32, "AES_256_CM_HMAC_SHA1_32"),
];

impl CryptoSuite {
    fn name(self) -> &'static str {
        let found = SUITES.iter().find(|(suite, _)| *suite == self);
        found.map_or("", |(_, name)| name)
    }

    /// Bytes of master key and salt.
    pub(super) fn key_length(self) -> usize {
        match self {
            CryptoSuite::Aes128CmHmacSha1_32 | CryptoSuite::Aes128CmHmacSha1_80 => 30,
            CryptoSuite::Aes256CmHmacSha1_32 | CryptoSuite::Aes256CmHmacSha1_80 => 46,
        }
    }

    /// GStreamer's name of the cipher.
    pub(super) fn cipher(self) -> &'static str {
        match self.key_length() {
            30 => "aes-128-icm",
            _ => "aes-256-icm",
        }
    }

    /// GStreamer's name of the authentication of media. That of RTCP has 80 bits always (RFC 4568, section 6.2.2).
    pub(super) fn authentication(self) -> &'static str {
        match self {
            CryptoSuite::Aes128CmHmacSha1_32 | CryptoSuite::Aes256CmHmacSha1_32 => "hmac-sha1-32",
            CryptoSuite::Aes128CmHmacSha1_80 | CryptoSuite::Aes256CmHmacSha1_80 => "hmac-sha1-80",
        }
    }
}

/// A suite and the key of one direction. Printed, it shows no key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) suite: CryptoSuite,
    /// Master key and salt, as long as the suite wants them.
    pub(super) bytes: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.suite).finish()
    }
}

impl Key {
    /// The key that a client chose, or one that is made up. `None`: no suite was chosen.
    pub(super) fn chosen(sdes: &SDES) -> Result<Option<Key>, Error> {
        let refused = |why: &str| Error::new(Code::IllegalParam, why);
        let Some(suite) = sdes.crypto else {
            return match (&sdes.key, &sdes.key_base64) {
                (None, None) => Ok(None),
                _ => Err(refused("crypto: a key needs a suite, in crypto.crypto")),
            };
        };
        let bytes = match (&sdes.key_base64, &sdes.key) {
            (Some(text), _) => decode_block(text)
                .map_err(|_| refused("Master key is not valid Base64 (crypto.keyBase64)"))?,
            (None, Some(text)) => text.clone().into_bytes(),
            (None, None) => return Key::random(suite).map(Some),
        };
        if bytes.len() != suite.key_length() {
            return Err(refused(&format!(
                "Master key size is wrong: it has {} bytes, and this suite's keys have {}",
                bytes.len(),
                suite.key_length()
            )));
        }
        Ok(Some(Key { suite, bytes }))
    }

    /// A key that nobody knows.
    pub(super) fn random(suite: CryptoSuite) -> Result<Key, Error> {
        let mut bytes = vec![0; suite.key_length()];
        openssl::rand::rand_bytes(&mut bytes).map_err(|error| {
            tracing::error!(%error, "a key can't be made");
            Error::new(Code::Unexpected, "A key can't be made; the server's log has more")
        })?;
        Ok(Key { suite, bytes })
    }
}

/// An `a=crypto` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CryptoLine {
    /// The number that the answer names it by.
    pub(super) tag: u32,
    /// Its key.
    pub(super) key: Key,
}

impl CryptoLine {
    /// Reads "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^31". `None`: it can't be used, such as one with a key identifier (MKI) or with
    /// session parameters, which must not be taken if they are not understood (RFC 4568, section 6.3).
    pub(super) fn parse(value: &str) -> Option<CryptoLine> {
        if value.len() > LONGEST {
            return None;
        }
        let mut words = value.split_whitespace();
        let tag = words.next()?;
        let tag = tag.parse().ok().filter(|_| tag.len() <= 9)?;
        let name = words.next()?;
        let (suite, _) = SUITES.iter().find(|(_, n)| n.eq_ignore_ascii_case(name))?;
        let mut parts = words.next()?.strip_prefix("inline:")?.split('|');
        let bytes = decode_block(parts.next()?).ok()?;
        // A lifetime is no more than what is sent before it ends; an identifier, "1:4", would stand in every packet.
        let has_identifier = parts.any(|part| part.contains(':'));
        let understood = words.all(|parameter| parameter.starts_with("WSH="));
        let fits = bytes.len() == suite.key_length();
        (fits && understood && !has_identifier).then_some(CryptoLine {
            tag,
            key: Key { suite: *suite, bytes },
        })
    }
}

impl fmt::Display for CryptoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = encode_block(&self.key.bytes);
        write!(f, "{} {} inline:{key}", self.tag, self.key.suite.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdes(crypto: Option<CryptoSuite>, key: Option<&str>, base64: Option<&str>) -> SDES {
        SDES {
            crypto,
            key: key.map(str::to_owned),
            key_base64: base64.map(str::to_owned),
        }
    }

    #[test]
    fn keys_are_as_long_as_their_suite_wants_them() {
        for (suite, name) in SUITES {
            let length = suite.key_length();
            let key = Key::chosen(&sdes(Some(suite), Some(&"k".repeat(length)), None)).expect("a key");
            assert_eq!(key.expect("a key").bytes, vec![b'k'; length]);
            for wrong in [0, length - 1, length + 1] {
                let refused = Key::chosen(&sdes(Some(suite), Some(&"k".repeat(wrong)), None));
                let error = refused.expect_err("a refusal");
                assert_eq!(error.code, Code::IllegalParam);
                assert!(error.message.starts_with("Master key size is wrong"), "{error}");
            }
            let made = Key::chosen(&sdes(Some(suite), None, None))
                .expect("a key")
                .expect("a key");
            assert_eq!(made.bytes.len(), length);
            let line = CryptoLine { tag: 7, key: made };
            assert!(line.to_string().starts_with(&format!("7 {name} inline:")));
            assert_eq!(CryptoLine::parse(&line.to_string()), Some(line));
        }
    }

    #[test]
    fn a_key_as_base64_comes_first_and_one_without_a_suite_is_refused() {
        let suite = CryptoSuite::Aes128CmHmacSha1_80;
        let text = "NDMyMVpZWFdWVVRTUlFQT05NTEtKSUhHRkVEQ0JB";
        let key = Key::chosen(&sdes(Some(suite), Some("short"), Some(text))).expect("a key");
        assert_eq!(key.expect("a key").bytes, b"4321ZYXWVUTSRQPONMLKJIHGFEDCBA");
        assert!(Key::chosen(&sdes(Some(suite), None, Some("&&&"))).is_err());
        assert!(Key::chosen(&sdes(None, Some("k"), None)).is_err());
        assert_eq!(Key::chosen(&sdes(None, None, None)).expect("none"), None);
    }

    #[test]
    fn what_is_not_understood_is_not_taken() {
        let key = "inline:NDMyMVpZWFdWVVRTUlFQT05NTEtKSUhHRkVEQ0JB";
        let good = format!("1 AES_CM_128_HMAC_SHA1_80 {key}");
        assert!(CryptoLine::parse(&good).is_some());
        assert!(CryptoLine::parse(&format!("{good}|2^20")).is_some());
        assert!(CryptoLine::parse(&format!("{good} WSH=64")).is_some());
        for wrong in [
            String::new(),
            "1".into(),
            format!("x AES_CM_128_HMAC_SHA1_80 {key}"),
            format!("1 F8_128_HMAC_SHA1_80 {key}"),
            format!("1 AES_256_CM_HMAC_SHA1_80 {key}"),
            "1 AES_CM_128_HMAC_SHA1_80".into(),
            "1 AES_CM_128_HMAC_SHA1_80 inline:".into(),
            "1 AES_CM_128_HMAC_SHA1_80 uri:x".into(),
            format!("{good}|2^20|1:4"),
            format!("{good}|1:4"),
            format!("{good} UNENCRYPTED_SRTP"),
            format!("{good}{}", "x".repeat(LONGEST)),
        ] {
            assert_eq!(CryptoLine::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let line =
            CryptoLine::parse("1 AES_CM_128_HMAC_SHA1_80 inline:NDMyMVpZWFdWVVRTUlFQT05NTEtKSUhHRkVEQ0JB");
        let printed = format!("{line:?}");
        assert!(!printed.contains("4321") && !printed.contains("52"), "{printed}");
    }
}
