//! Asks the other members how they stand, when ZooKeeper cannot be asked.

use crate::cluster::leadership::Ask;
use crate::cluster::peers::{Answer, Peer};
use crate::cluster::secret::Secret;
use crate::env::Env;
use crate::net::client::{Client, Request};
use crate::net::options::ClientOptions;
use crate::net::tls::TlsOptions;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// What is asked.
pub(super) const ROLE_PATH: &str = "/api/watchkeeper/v1/cluster/role";
/// The request's signature.
const MEMBER_HEADER: &str = "watchkeeper-member";
/// The answer's.
const SIGNATURE_HEADER: &str = "watchkeeper-signature";
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(1);
const ANSWER_BYTES: u64 = 16 * 1024;

/// Returns who asks.
pub(super) fn asker(env: &Env, secret: Option<Secret>) -> Ask {
    // The secret proves who answers, better than a certificate does: members are dialled by address.
    let tls = TlsOptions { insecure_skip_verify: secret.is_some(), ..TlsOptions::default() };
    let client = Client::new(env, ClientOptions { tls, follow_redirects: false, ..ClientOptions::default() });
    let env = env.clone();
    Arc::new(move |peers: Vec<Peer>| {
        let (env, client, secret) = (env.clone(), client.clone(), secret.clone());
        Box::pin(async move {
            let questions = peers.iter().map(|peer| async {
                let asked = env.clock.timeout(LIMIT, ask(&env, &client, secret.as_ref(), peer)).await;
                match asked {
                    Ok(Ok(answer)) => Some(answer),
                    Ok(Err(error)) => {
                        tracing::debug!(member = peer.id, error, "a member does not answer");
                        None
                    }
                    Err(_) => None,
                }
            });
            join_all(questions).await.into_iter().flatten().collect()
        })
    })
}

async fn ask(env: &Env, client: &Client, secret: Option<&Secret>, peer: &Peer) -> Result<Answer, String> {
    let url = format!("{}{ROLE_PATH}", peer.url);
    let mut request = Request::get(&url, ANSWER_BYTES).map_err(|error| error.to_string())?;
    let nonce = env.random.uuid();
    if let Some(secret) = secret {
        let header = secret.sign_request(ROLE_PATH, env.clock.now_ms(), &nonce, b"");
        let header = header.parse().map_err(|_| "the signature cannot stand in a header".to_owned())?;
        request.headers.insert(MEMBER_HEADER, header);
    }
    let response = client.send(request).await.map_err(|error| error.to_string())?;
    if !response.status.is_success() {
        return Err(format!("status {}", response.status));
    }
    if let Some(secret) = secret
        && !secret.check_answer(ROLE_PATH, &nonce, &response.body, response.header(SIGNATURE_HEADER))
    {
        return Err("the answer is not signed with the members' secret".to_owned());
    }
    let value = serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
    let answer = Answer::of(&value).ok_or("the answer cannot be understood")?;
    if answer.id != peer.id {
        return Err(format!("{} answers there", answer.id));
    }
    Ok(answer)
}
