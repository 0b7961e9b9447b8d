//! HTTP in, JSON out. The only module that names axum.
//!
//! [`ApiState`] holds the handles of everyone that is asked or told something; [`router`] makes the routes on it, and
//! [`serve()`] runs them on a listener of `env::network`. Handlers read immutable snapshots and run queries on threads of
//! their own; nothing here decides anything.

mod access;
mod act;
mod alert_states;
mod answer;
mod asker;
mod assets;
mod cluster;
mod compress;
mod connections;
mod dashboards;
mod encode;
mod ensemble;
mod error;
mod events;
mod federate;
mod front;
mod heads;
#[cfg(test)]
mod heads_tests;
#[cfg(test)]
mod http_tests;
mod json;
mod licences;
mod lifecycle;
mod methods;
mod observe;
mod openapi;
mod overview;
mod params;
mod prefix;
mod queries;
mod replay;
mod routes;
mod rule_store;
mod serve;
#[cfg(test)]
mod serve_tests;
#[cfg(test)]
mod session_tests;
mod state;
mod v1;
mod v2;
mod watchkeeper;
mod why;

#[cfg(test)]
mod tests;

pub use alert_states::ALERT_STATE;
pub use connections::ConnectionBounds;
pub use error::{ApiError, ErrorKind};
pub use events::{EventHub, LiveEvent};
pub use front::Front;
pub use observe::observe;
pub use params::Params;
pub use routes::router;
pub use serve::{Encryption, ServeOptions, serve};
pub use state::{ApiLimits, ApiParts, ApiState, Lifecycle, MembersWrite, RoleAnswer, Views};
