//! A client: requests over kept connections, redirects, unpacking.

use super::body::{Encoding, read, unpack};
use super::budget::{Budget, Claim};
use super::connection::{Connection, Server};
use super::error::ClientError;
use super::oauth2::TokenSource;
use super::options::ClientOptions;
use crate::env::Env;
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use http::{Method, StatusCode, Uri};
use http_body_util::Full;
use std::sync::{Arc, Mutex, PoisonError};

/// What we call ourselves.
pub const USER_AGENT_TEXT: &str = concat!("Watchkeeper/", env!("CARGO_PKG_VERSION"));
/// How many idle connections a client keeps.
const IDLE_MAX: usize = 8;
const REDIRECTS_MAX: usize = 10;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST, ...
    pub method: Method,
    /// The whole URL.
    pub url: Uri,
    /// Headers beside those of the options.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The longest answer, packed or unpacked.
    pub body_limit: u64,
    /// Where the answer's memory counts, beside its own limit.
    pub budget: Option<Budget>,
}

impl Request {
    /// Returns a GET.
    ///
    /// # Errors
    /// When `url` is none.
    pub fn get(url: &str, body_limit: u64) -> Result<Self, ClientError> {
        let url: Uri = url.parse().map_err(|error| ClientError::Url(url.to_owned(), format!("{error}")))?;
        Ok(Self { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new(), body_limit, budget: None })
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, unpacked.
    pub body: Vec<u8>,
    /// How many bytes came over the wire for it.
    pub wire_bytes: u64,
    /// What the body holds of the request's budget.
    pub claim: Option<Claim>,
}

impl Response {
    /// Returns a header's text, or the empty one.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// A client. Cheap to clone; clones share options and connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    env: Env,
    options: ClientOptions,
    tokens: Option<TokenSource>,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    /// Returns a client without connections.
    #[must_use]
    pub fn new(env: &Env, options: ClientOptions) -> Self {
        let tokens = options.oauth2.as_ref().map(|oauth2| TokenSource::new(env, oauth2));
        Self(Arc::new(Shared { env: env.clone(), options, tokens, idle: Mutex::new(Vec::new()) }))
    }

    /// Sends a request and reads the whole answer, whatever its status. The caller sets the deadline around it.
    ///
    /// # Errors
    /// When there is no answer or it passes a bound.
    pub async fn send(&self, request: Request) -> Result<Response, ClientError> {
        self.send_into(request, Vec::new()).await
    }

    /// Does the same and puts the body into `buffer`, whose memory is used again.
    ///
    /// # Errors
    /// As [`Client::send`]; the buffer is lost then.
    pub async fn send_into(&self, mut request: Request, mut buffer: Vec<u8>) -> Result<Response, ClientError> {
        let home = Server::of(&request.url)?;
        self.0.options.add_headers(&self.0.env, &mut request.headers).await?;
        if let Some(tokens) = &self.0.tokens {
            request.headers.insert(AUTHORIZATION, tokens.header().await?);
        }
        for _ in 0..=REDIRECTS_MAX {
            let response = self.once(&request, buffer).await?;
            let Some(next) = self.redirect(&request, &response)? else {
                if let (StatusCode::UNAUTHORIZED, Some(tokens)) = (response.status, &self.0.tokens) {
                    tokens.forget();
                }
                return Ok(response);
            };
            buffer = response.body;
            if Server::of(&next)? != home {
                // Secrets stay with the server that they were meant for.
                request.headers.remove(AUTHORIZATION);
                request.headers.remove(COOKIE);
            }
            if response.status == StatusCode::SEE_OTHER && request.method != Method::HEAD {
                request.method = Method::GET;
                request.body = Bytes::new();
            }
            request.url = next;
        }
        Err(ClientError::Redirects)
    }

    fn redirect(&self, request: &Request, response: &Response) -> Result<Option<Uri>, ClientError> {
        let is_redirect = matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let Some(location) = response.headers.get(LOCATION).filter(|_| is_redirect && self.0.options.follow_redirects) else {
            return Ok(None);
        };
        let wrong = || ClientError::Url(String::from_utf8_lossy(location.as_bytes()).into_owned(), "redirect".to_owned());
        let location = location.to_str().map_err(|_| wrong())?;
        if location.starts_with("http://") || location.starts_with("https://") {
            return location.parse().map(Some).map_err(|_| wrong());
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let folder = request.url.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{location}")
        };
        let mut parts = request.url.clone().into_parts();
        parts.path_and_query = Some(path.parse().map_err(|_| wrong())?);
        Uri::from_parts(parts).map(Some).map_err(|_| wrong())
    }

    /// Sends on a kept connection where there is one; if that turns out to be dead, once more on a new one.
    async fn once(&self, request: &Request, buffer: Vec<u8>) -> Result<Response, ClientError> {
        let server = Server::of(&request.url)?;
        if let Some(connection) = self.take_idle(&server) {
            let repeatable = matches!(request.method, Method::GET | Method::HEAD);
            match self.exchange(connection, request, buffer).await {
                Err(ClientError::Http(_) | ClientError::Io(_)) if repeatable => {}
                Err(ClientError::Http(words))
                    if ["not ready", "canceled", "channel closed"].iter().any(|one| words.contains(one)) => {}
                other => return other,
            }
            return self.fresh(&server, request, Vec::new()).await;
        }
        self.fresh(&server, request, buffer).await
    }

    async fn fresh(&self, server: &Server, request: &Request, buffer: Vec<u8>) -> Result<Response, ClientError> {
        let connection = Connection::open(&self.0.env, server, &self.0.options).await?;
        self.exchange(connection, request, buffer).await
    }

    fn take_idle(&self, server: &Server) -> Option<Connection> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connection::is_open);
        let place = idle.iter().position(|connection| connection.goes_to(server))?;
        Some(idle.swap_remove(place))
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        request: &Request,
        mut buffer: Vec<u8>,
    ) -> Result<Response, ClientError> {
        let mut message = http::Request::new(Full::new(request.body.clone()));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = request.url.clone();
        *message.headers_mut() = request.headers.clone();
        let authority = request.url.authority().map_or("", http::uri::Authority::as_str);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = HeaderValue::from_str(host).map_err(|_| ClientError::Header("Host".to_owned()))?;
        message.headers_mut().insert(HOST, host);
        message.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT_TEXT));
        let (limit, budget) = (request.body_limit, request.budget.clone());
        let response = connection
            .exchange(message, async |response| {
                let (parts, body) = response.into_parts();
                // What a refusal says is worth reading, whatever its headers promise: Go's servers leave those of the answer it
                // replaces in place.
                let refused = !parts.status.is_success();
                let encoding = match Encoding::of(&parts.headers) {
                    Err(_) if refused => Encoding::Identity,
                    encoding => encoding?,
                };
                let mut claim = budget.as_ref().map(Budget::claim);
                let wire_bytes;
                if encoding == Encoding::Identity {
                    read(body, &mut buffer, limit, &mut claim).await?;
                    wire_bytes = buffer.len() as u64;
                } else {
                    let mut packed = Vec::new();
                    let mut packed_claim = budget.as_ref().map(Budget::claim);
                    read(body, &mut packed, limit, &mut packed_claim).await?;
                    wire_bytes = packed.len() as u64;
                    match unpack(encoding, &packed, &mut buffer, limit, &mut claim).await {
                        Err(ClientError::Unpack { .. }) if refused => buffer = packed,
                        unpacked => unpacked?,
                    }
                }
                Ok(Response { status: parts.status, headers: parts.headers, body: buffer, wire_bytes, claim })
            })
            .await?;
        if connection.is_open() {
            let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
        Ok(response)
    }

    /// Closes the kept connections.
    pub fn close_idle(&self) {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
