//! `GET /api/watchkeeper/v1/cluster/role`: what this member says of itself, for the others. Where the members share a secret the
//! request must be signed with it, and the answer is; nobody's password is asked for.

use super::error::{ApiError, ErrorKind};
use super::state::ApiState;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};

/// Where the members ask each other; not behind passwords.
pub(super) const ROLE_PATH: &str = "/api/watchkeeper/v1/cluster/role";
/// Where they write each other's samples.
pub(super) const WRITE_PATH: &str = "/api/v1/write";
/// A request's signature.
pub(super) const MEMBER: &str = "watchkeeper-member";
/// The answer's.
const SIGNATURE: HeaderName = HeaderName::from_static("watchkeeper-signature");

/// `GET cluster/role`.
pub(super) async fn role(State(api): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    let said = headers.get(MEMBER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some((text, signature)) = (api.views.role)(said) else {
        let message = "this is for members of the cluster: the request must be signed with cluster.secret_file";
        return Err(ApiError::new(ErrorKind::Forbidden, message));
    };
    Ok(([(header::CONTENT_TYPE, "application/json".to_owned()), (SIGNATURE, signature)], text).into_response())
}
