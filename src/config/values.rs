//! Small kinds of values that configuration files hold: secrets, sizes, addresses.

use super::error::ConfigError;
use super::section::Value;
use super::show::Shown;
use super::yaml::Node;
use crate::model::regex::Regex;
use std::fmt;
use std::path::Path;

/// A text that is never printed, logged or shown.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret itself, for the one place that sends or compares it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns whether nothing was set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Value for Secret {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        node.text()?.clone_into(&mut self.0);
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Text(if self.0.is_empty() { String::new() } else { "<secret>".to_owned() })
    }
}

/// A path. Relative ones start from the folder of the file that names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

impl FilePath {
    /// Wraps a path as it is.
    pub fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl std::ops::Deref for FilePath {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Value for FilePath {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let text = node.text()?;
        if node.source.without_files && !text.is_empty() {
            return Err(node.error("a configuration in ZooKeeper may not name files"));
        }
        let alone = text.is_empty() || node.source.folder.as_os_str().is_empty();
        self.0 = if alone { text.to_owned() } else { node.source.folder.join(text).display().to_string() };
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Text(self.0.clone())
    }
}

/// A number of bytes, written `15MB`: powers of 1024 under the short names, as Prometheus reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u32); 7] = [("EB", 6), ("PB", 5), ("TB", 4), ("GB", 3), ("MB", 2), ("KB", 1), ("B", 0)];

impl Bytes {
    /// Reads `1GB`, `1.5MiB`, `1GB512MB`, `0`.
    ///
    /// # Errors
    /// In Prometheus's words, when a number or unit is missing or unknown.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self(0));
        }
        if text.is_empty() {
            return Err(format!("units: invalid {text}"));
        }
        let mut rest = text;
        let mut total = 0.0_f64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
            let (number, behind) = rest.split_at(digits);
            let letters = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
            let (unit, behind) = behind.split_at(letters);
            let number: f64 = number.parse().map_err(|_| format!("units: invalid {text}"))?;
            let power = UNITS.iter().find(|(name, _)| unit == *name || is_binary_name(unit, name)).map(|(_, power)| *power);
            let power = power.ok_or_else(|| format!("units: unknown unit {unit} in {text}"))?;
            total += number * 1024_f64.powi(power as i32);
            rest = behind;
        }
        if total >= 9.3e18 {
            return Err(format!("units: {text} is out of range"));
        }
        Ok(Self(total as u64))
    }
}

/// Returns whether `unit` is `KiB` for `KB` and so on.
fn is_binary_name(unit: &str, name: &str) -> bool {
    let mut letters = name.chars();
    let first = letters.next();
    letters.next().is_some() && unit.strip_suffix("iB").is_some_and(|prefix| prefix.chars().eq(first))
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B");
        }
        let exact = UNITS.iter().find(|(_, power)| self.0.is_multiple_of(1 << (10 * power)));
        let (name, power) = exact.copied().unwrap_or(("B", 0));
        let name = if power == 0 { "B".to_owned() } else { name.replace('B', "iB") };
        write!(f, "{}{name}", self.0 >> (10 * power))
    }
}

impl Value for Bytes {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let text = node.text()?;
        *self = if node.is_null() { Self(0) } else { Self::parse(text).map_err(|message| node.error(message))? };
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Word(self.to_string())
    }
}

/// A URL as written. Reading checks what Go's `url.Parse` checks of it; printing hides a password.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Url(String);

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// In Go's words, where the text cannot be a URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err("invalid control character in URL".to_owned());
        }
        let url = Self(text.to_owned());
        if text.starts_with(':') {
            return Err("missing protocol scheme".to_owned());
        }
        if url.scheme().is_none() && url.before_path().contains(':') {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
        if url.host().contains(' ') || url.host().contains(['<', '>', '"']) {
            return Err("invalid character in host name".to_owned());
        }
        if url.port_text().is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err("invalid port after host".to_owned());
        }
        Ok(url)
    }

    /// Returns the URL as written, a password included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether nothing was set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn before_path(&self) -> &str {
        self.0.split(['/', '?', '#']).next().unwrap_or_default()
    }

    /// Returns the scheme, where there is one.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        let (scheme, _) = self.0.split_once(':')?;
        let mut bytes = scheme.bytes();
        let well_formed = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        well_formed.then_some(scheme)
    }

    fn authority(&self) -> &str {
        let behind = self.scheme().map_or(self.0.as_str(), |scheme| self.0.split_at(scheme.len() + 1).1);
        let Some(behind) = behind.strip_prefix("//") else { return "" };
        behind.split(['/', '?', '#']).next().unwrap_or_default()
    }

    /// Returns host and port, without user and password; empty where there is none.
    #[must_use]
    pub fn host_and_port(&self) -> &str {
        let authority = self.authority();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }

    /// Returns the host alone, without brackets; empty where there is none.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.host_and_port();
        if let Some((inside, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            return inside;
        }
        host.rsplit_once(':').map_or(host, |(host, _)| host)
    }

    fn port_text(&self) -> Option<&str> {
        let host = self.host_and_port();
        let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
        behind.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.is_empty())
    }

    /// Returns the port, written or usual for `http` and `https`.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self.port_text() {
            Some(text) => text.parse().ok(),
            None => match self.scheme() {
                Some("http") => Some(80),
                Some("https") => Some(443),
                _ => None,
            },
        }
    }

    /// Returns the path with query, from the first `/` after the host; empty where there is none.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        let behind = self.scheme().map_or(self.0.as_str(), |scheme| self.0.split_at(scheme.len() + 1).1);
        let Some(behind) = behind.strip_prefix("//") else { return behind };
        behind.find(['/', '?', '#']).map_or("", |at| behind.split_at(at).1)
    }

    /// Returns user and password, where the URL names them.
    #[must_use]
    pub fn user_info(&self) -> Option<(&str, Option<&str>)> {
        let (user_info, _) = self.authority().rsplit_once('@')?;
        Some(user_info.split_once(':').map_or((user_info, None), |(user, password)| (user, Some(password))))
    }
}

/// Hides the password, as Go's `URL.Redacted` does.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user_info() {
            Some((user, Some(_))) => {
                let scheme = self.scheme().unwrap_or_default();
                write!(f, "{scheme}://{user}:xxxxx@{}{}", self.host_and_port(), self.path_and_query())
            }
            Some((_, None)) | None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Value for Url {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        *self = Self::parse(node.text()?).map_err(|reason| node.error(format!("not a URL: {reason}")))?;
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

/// An absolute `http` or `https` URL of Alertmanager's configuration that is itself a secret, as those of webhooks are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Returns the URL, for the one place that calls it.
    #[must_use]
    pub const fn reveal(&self) -> &Url {
        &self.0
    }

    /// Returns whether nothing was set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Value for SecretUrl {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let text = node.text()?;
        // A configuration that was printed and is read again, as amtool does.
        let checked = if text == "<secret>" { Ok(Url(String::new())) } else { absolute(text) };
        self.0 = checked.map_err(|reason| node.error(reason))?;
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Text(if self.0.is_empty() { String::new() } else { "<secret>".to_owned() })
    }
}

/// An absolute `http` or `https` URL of Alertmanager's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebUrl(pub Url);

impl Value for WebUrl {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        self.0 = absolute(node.text()?).map_err(|reason| node.error(reason))?;
        Ok(())
    }

    fn show(&self) -> Shown {
        self.0.show()
    }
}

/// Checks as Alertmanager's `parseURL` does. The messages do not repeat the text: it may be a secret.
fn absolute(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|reason| format!("not a URL: {reason}"))?;
    match url.scheme() {
        Some("http" | "https") if url.host_and_port().is_empty() => Err("missing host for URL".to_owned()),
        Some("http" | "https") => Ok(url),
        Some(other) => Err(format!("unsupported scheme {other:?} for URL")),
        None => Err("unsupported scheme \"\" for URL".to_owned()),
    }
}

/// A regular expression of a configuration file, anchored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub Regex);

impl Default for Pattern {
    fn default() -> Self {
        let Ok(regex) = Regex::new("") else { unreachable!("the empty pattern compiles") };
        Self(regex)
    }
}

impl Value for Pattern {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        self.0 = Regex::new(node.text()?).map_err(|error| node.error(error.to_string()))?;
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Text(self.0.pattern().to_owned())
    }
}
