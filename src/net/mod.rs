//! HTTP over `env::network`: clients with TLS, authentication, proxies and limits.
//!
//! hyper and rustls are named here alone. A [`client::Client`] holds one keep-alive connection for each server that it
//! talks to; a scrape target has a client of its own. Every body has a bound, and every request a deadline that its caller
//! sets around it.

pub mod body;
pub mod budget;
pub mod client;
pub mod connection;
pub mod error;
mod from_config;
pub mod oauth2;
pub mod options;
pub mod proxy;
pub mod server_tls;
#[cfg(test)]
mod tests;
pub mod tls;
#[cfg(test)]
mod tls_tests;

pub use budget::{Budget, Claim};
pub use client::{Client, Request, Response};
pub use error::ClientError;
pub use options::ClientOptions;
