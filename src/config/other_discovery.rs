//! Kinds of discovery that are judged as Prometheus judges them, but that the server does not do: clouds and orchestrators.

use super::error::ConfigError;
use super::show::Shown;
use super::yaml::Node;

/// Reads the value of a key of such a kind; `None` where it is not one.
pub(crate) fn read(_key: &str, _value: &Node) -> Result<Option<Shown>, ConfigError> {
    Ok(None)
}
