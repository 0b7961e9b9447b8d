//! Saving, deleting, ordering.

use super::{body, dashboards, znode};
use crate::api::answer::success_value;
use crate::api::asker::Asker;
use crate::api::error::ApiError;
use crate::api::params::Params;
use crate::api::state::ApiState;
use crate::dashboards::Save;
use crate::dashboards::read::NotADashboard;
use crate::dashboards::{DashboardError, Origin};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// The largest body of an order.
const ORDER_BYTES_MAX: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    id: Option<String>,
    /// A dashboard; or a text that is one, whose errors then have its lines.
    dashboard: Box<RawValue>,
    base: Option<String>,
    #[serde(default)]
    to: Place,
    #[serde(default)]
    author: String,
    #[serde(default)]
    overwrite: bool,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Place {
    #[default]
    Own,
    Zookeeper,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    ids: Vec<String>,
}

fn not_json(error: &serde_json::Error) -> ApiError {
    let words = error.to_string();
    let message = words.rsplit_once(" at line ").map_or(words.as_str(), |(message, _)| message);
    let (line, column) = (error.line(), error.column());
    NotADashboard::NotJson { line, column, message: message.to_owned() }.into()
}

/// Reads what is to be saved.
fn read(bytes: &[u8]) -> Result<(Wish, String), ApiError> {
    let mut wish: Wish = serde_json::from_slice(bytes).map_err(|error| not_json(&error))?;
    let given = std::mem::replace(&mut wish.dashboard, RawValue::NULL.to_owned());
    let text = match given.get().starts_with('"') {
        true => serde_json::from_str(given.get()).map_err(|error| not_json(&error))?,
        false => given.get().to_owned(),
    };
    Ok((wish, text))
}

/// `POST dashboards`.
pub(in crate::api) async fn save(State(api): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let kept = dashboards(&api)?.clone();
    let asker = Asker::of(&request);
    let bytes = body::read(request).await?;
    let read = api.env.tasks.blocking(move || read(&bytes)).await;
    let (wish, text) = read.map_err(|error| ApiError::new(crate::api::ErrorKind::Internal, error.to_string()))??;
    let by = asker.who(&wish.author)?;
    let (id, version) = match wish.to {
        Place::Own => {
            let save = Save { id: wish.id, text: text.into(), base: wish.base, overwrite: wish.overwrite, by };
            kept.save(save).await?
        }
        Place::Zookeeper => {
            let save = Save { id: wish.id, text: text.into(), base: wish.base, overwrite: wish.overwrite, by };
            let world = api.clone();
            let saving = async move { Box::pin(znode::save(&world, &kept, save)).await };
            let saved = api.env.tasks.spawn("dashboard-save", saving).await;
            saved.map_err(|error| ApiError::new(crate::api::ErrorKind::Internal, error.to_string()))??
        }
    };
    Ok(success_value(&json!({"id": id, "version": version})))
}

/// `DELETE dashboards/{id}?base=VERSION`.
pub(in crate::api) async fn delete(
    State(api): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let kept = dashboards(&api)?.clone();
    let base = Some(params.get("base").to_owned()).filter(|base| !base.is_empty());
    let catalogue = kept.catalogue();
    let entry = catalogue.get(&id).ok_or_else(|| ApiError::from(DashboardError::NotFound(id.clone())))?;
    if let Origin::Znode(_) = &entry.origin {
        Box::pin(znode::delete(&api, &kept, entry, base)).await?;
    } else {
        kept.delete(id, base).await?;
    }
    Ok(success_value(&json!({})))
}

/// `POST dashboards/order`.
pub(in crate::api) async fn order(State(api): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let kept = dashboards(&api)?.clone();
    let bytes = axum::body::to_bytes(request.into_body(), ORDER_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| ApiError::bad_data(format!("the body has more than {ORDER_BYTES_MAX} bytes")))?;
    let order: Order = serde_json::from_slice(&bytes).map_err(|error| not_json(&error))?;
    kept.order(order.ids).await?;
    Ok(success_value(&json!({})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dashboard_comes_as_it_is_or_as_a_text() {
        let text = |body: &str| read(body.as_bytes()).map(|(_, text)| text).map_err(|error| error.message);
        assert_eq!(text(r#"{"dashboard": {"b": 1, "a": [ ]}}"#).unwrap(), r#"{"b": 1, "a": [ ]}"#);
        assert_eq!(text(r#"{"dashboard": "{\n\"a\"", "to": "zookeeper"}"#).unwrap(), "{\n\"a\"");
        assert!(text("{\n\"dashboard\": [}").unwrap_err().starts_with("line 2, column 15: "));
        assert!(text(r#"{"dashboard": {}, "to": "moon"}"#).unwrap_err().contains("unknown variant `moon`"));
        let deep = format!("{{\"dashboard\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(text(&deep).unwrap().len(), 200_000);
    }
}
