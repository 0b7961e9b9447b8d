//! HTTP in, JSON out. The only module that names axum.
