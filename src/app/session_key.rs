//! The key that signs the cookies of sessions: made once, kept in the state store, so that a restart logs nobody out.

use crate::env::Env;
use crate::state::{Change, State, StateError};
use std::sync::Arc;

const KEY: &[u8] = b"sessions/key";

/// Reads the key, or makes one where there is none.
///
/// # Errors
/// When the state cannot be read. A key that cannot be kept is good until the next start.
pub(super) async fn load(env: &Env, state: &Arc<dyn State>) -> anyhow::Result<[u8; 32]> {
    let (world, state) = (env.clone(), Arc::clone(state));
    let work = move || -> Result<[u8; 32], StateError> {
        if let Some(key) = state.get(KEY)?.and_then(|bytes| bytes.try_into().ok()) {
            return Ok(key);
        }
        let mut key = [0; 32];
        world.random.secret(&mut key);
        if let Err(error) = state.apply(&[Change::Put(KEY.to_vec(), key.to_vec())]).and_then(|()| state.sync()) {
            tracing::warn!(%error, "the key of sessions could not be kept: they are good until the next start");
        }
        Ok(key)
    };
    Ok(env.tasks.blocking(work).await??)
}
