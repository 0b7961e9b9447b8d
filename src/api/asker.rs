//! Who asks, for what is written down about a change.

use super::access::{Peer, User};
use super::error::ApiError;
use axum::extract::Request;

/// The longest name of an author, in characters.
const AUTHOR_CHARS_MAX: usize = 100;

/// A user whose password or token was right, else whoever they say they are, and from where.
pub(in crate::api) struct Asker {
    user: Option<String>,
    from: String,
}

impl Asker {
    /// Looks at a request.
    pub(in crate::api) fn of(request: &Request) -> Self {
        let user = request.extensions().get::<User>().map(|user| user.0.clone()).filter(|user| !user.is_empty());
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical().to_string());
        Self { user, from: peer.unwrap_or_else(|| "unknown".to_owned()) }
    }

    /// Returns the name to write down; `author` is who they say they are.
    pub(in crate::api) fn who(self, author: &str) -> Result<String, ApiError> {
        let author = line(author);
        if author.chars().count() > AUTHOR_CHARS_MAX {
            return Err(ApiError::bad_data(format!("author: more than {AUTHOR_CHARS_MAX} characters")));
        }
        let said = if author.is_empty() { "somebody" } else { author.as_str() };
        Ok(self.user.unwrap_or_else(|| format!("{said}@{}", self.from)))
    }
}

/// Makes one line of a text.
pub(in crate::api) fn line(text: &str) -> String {
    text.split(char::is_control).collect::<Vec<_>>().join(" ").trim().to_owned()
}
