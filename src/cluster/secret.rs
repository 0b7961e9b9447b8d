//! The secret that members share: they sign what they ask each other, and what they answer.
//!
//! A signature is an HMAC-SHA-256 over purpose, time, a number used once and the body. A request is good for a minute around its
//! time; an answer carries the request's number, so that an old one cannot be shown again.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt::Write as _;
use std::sync::Arc;

/// How far the clocks of members may be apart.
const SKEW_MAX_MS: i64 = 60_000;

/// The secret. Never shown; cheap to clone.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

impl Secret {
    /// Takes the content of a file, without the white space around it; `None` where it is empty.
    #[must_use]
    pub fn new(content: &[u8]) -> Option<Self> {
        let content = content.trim_ascii();
        (!content.is_empty()).then(|| Self(Arc::from(content)))
    }

    fn mac(&self, purpose: &str, parts: [&[u8]; 3]) -> Hmac<Sha256> {
        // A key of any length is good.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
        for part in [purpose.as_bytes(), parts[0], parts[1], parts[2]] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }

    fn signature(&self, purpose: &str, parts: [&[u8]; 3]) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.mac(purpose, parts).finalize().into_bytes() {
            // Writing to a text cannot fail.
            let _done = write!(text, "{byte:02x}");
        }
        text
    }

    fn is_good(&self, purpose: &str, parts: [&[u8]; 3], signature: &str) -> bool {
        let digits = (0..signature.len()).step_by(2);
        let bytes: Option<Vec<u8>> =
            digits.map(|at| signature.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok())).collect();
        // Compares in a time that does not tell how much was right.
        bytes.is_some_and(|bytes| self.mac(purpose, parts).verify_slice(&bytes).is_ok())
    }

    /// Signs a request: the header `time:nonce:signature`.
    #[must_use]
    pub fn sign_request(&self, target: &str, now_ms: i64, nonce: &str, body: &[u8]) -> String {
        let signature = self.signature("request", [target.as_bytes(), format!("{now_ms}:{nonce}").as_bytes(), body]);
        format!("{now_ms}:{nonce}:{signature}")
    }

    /// Checks a request's header; returns its number used once.
    #[must_use]
    pub fn check_request<'a>(&self, header: &'a str, target: &str, now_ms: i64, body: &[u8]) -> Option<&'a str> {
        let (time, rest) = header.split_once(':')?;
        let (nonce, signature) = rest.split_once(':')?;
        let is_near = time.parse::<i64>().ok()?.abs_diff(now_ms) <= SKEW_MAX_MS.unsigned_abs();
        let said = format!("{time}:{nonce}");
        (is_near && self.is_good("request", [target.as_bytes(), said.as_bytes(), body], signature)).then_some(nonce)
    }

    /// Signs the answer to a request.
    #[must_use]
    pub fn sign_answer(&self, target: &str, nonce: &str, body: &[u8]) -> String {
        self.signature("answer", [target.as_bytes(), nonce.as_bytes(), body])
    }

    /// Checks the answer to a request.
    #[must_use]
    pub fn check_answer(&self, target: &str, nonce: &str, body: &[u8], signature: &str) -> bool {
        self.is_good("answer", [target.as_bytes(), nonce.as_bytes(), body], signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_secret_signs() {
        let (ours, theirs) = (Secret::new(b"one\n").unwrap(), Secret::new(b"two").unwrap());
        assert!(Secret::new(b" \n").is_none());
        let header = ours.sign_request("/role", 1_000_000, "n1", b"body");
        assert_eq!(ours.check_request(&header, "/role", 1_050_000, b"body"), Some("n1"));
        assert_eq!(theirs.check_request(&header, "/role", 1_050_000, b"body"), None);
        assert_eq!(ours.check_request(&header, "/role", 1_070_000, b"body"), None);
        assert_eq!(ours.check_request(&header, "/write", 1_050_000, b"body"), None);
        assert_eq!(ours.check_request(&header, "/role", 1_050_000, b"bodY"), None);
        assert_eq!(ours.check_request("1:2", "/role", 1_050_000, b"body"), None);
        let answer = ours.sign_answer("/role", "n1", b"{}");
        assert!(ours.check_answer("/role", "n1", b"{}", &answer));
        assert!(!ours.check_answer("/role", "n2", b"{}", &answer));
        assert!(!theirs.check_answer("/role", "n1", b"{}", &answer));
        assert!(!ours.check_answer("/role", "n1", b"{}", "zz"));
        assert!(!ours.check_answer("/role", "n1", b"{}", ""));
    }
}
