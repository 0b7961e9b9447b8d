//! HTTP over the injected network: client and listener.
