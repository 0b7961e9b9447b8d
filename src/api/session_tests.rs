//! Sessions over the whole router: the login page, the cookie, what ends it, guessing.

use super::access::Peer;
use super::tests::{World, world_at};
use crate::config::Config;
use crate::config::values::Secret;
use crate::config::web::{ApiToken, Role};
use crate::env::Env;
use crate::env::clock::StillClock;
use crate::env::memory_disk::MemoryDisk;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

const SESSION: &str = "/api/watchkeeper/v1/session";
/// Of `sesame` and of `other`.
const SESAME: &str = "$2b$04$abcdefghijklmnopqrstuuinwY/tkBVrn3xrxQI/TgnMHhkvl85RW";
const OTHER: &str = "$2b$04$abcdefghijklmnopqrstuu0HtfOlPbTiymk5tcV.3TsFPDd3SYZqu";
const NOW_MS: i64 = 1_800_000_000_000;

fn config() -> Config {
    let mut config = Config::without_file();
    for user in ["li", "guest"] {
        config.web.basic_auth_users.insert(user.to_owned(), Secret::new(SESAME));
    }
    config.web.roles.insert("guest".to_owned(), Role::Viewer);
    let token = ApiToken { name: "ci".to_owned(), token: Secret::new("t0ken"), role: Role::Viewer, ..ApiToken::default() };
    config.web.api_tokens.push(token);
    config
}

struct Door {
    world: World,
    clock: Arc<StillClock>,
}

impl Door {
    fn new(config: Config) -> Self {
        let clock = Arc::new(StillClock::starting_at(NOW_MS));
        let env = Env { disk: Arc::new(MemoryDisk::new()), clock: Arc::clone(&clock) as _, ..Env::real() };
        Self { world: world_at(config, env), clock }
    }

    async fn ask(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &Value) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::builder().method(method).uri(uri).header(header::HOST, "localhost:9090");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(Peer("192.0.2.7:1000".parse().unwrap()));
        let (status, headers, body) = self.world.ask(request).await;
        (status, headers, String::from_utf8_lossy(&body).into_owned())
    }

    async fn get(&self, uri: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
        self.ask("GET", uri, headers, &Value::Null).await
    }

    /// Logs in and returns the cookie as a browser sends it back, and as it was set.
    async fn login(&self, shown: &Value) -> (String, String) {
        let (status, headers, body) = self.ask("POST", SESSION, &[], shown).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let set = headers[header::SET_COOKIE].to_str().unwrap().to_owned();
        (set.split(';').next().unwrap().to_owned(), set)
    }

    async fn user(&self, cookie: &str) -> Value {
        let (status, _, body) = self.get(SESSION, &[("cookie", cookie)]).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["data"]["user"].clone()
    }

    fn change(&self, change: impl FnOnce(&mut Config)) {
        let mut config = Config::clone(&self.world.config.borrow());
        change(&mut config);
        self.world.config.send_replace(Arc::new(config));
    }
}

fn li() -> Value {
    json!({"user": "li", "password": "sesame"})
}

#[tokio::test]
async fn who_is_not_known_gets_the_page_and_its_files_and_nothing_else() {
    let door = Door::new(config());
    let html = [("accept", "text/html,application/xhtml+xml")];
    for path in ["/", "/alerts/0123456789abcdef", "/dashboards/x"] {
        let (status, headers, body) = door.get(path, &html).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(body.contains("<html") && !headers.contains_key(header::WWW_AUTHENTICATE), "{path}: {body}");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert!(headers.contains_key(header::CONTENT_SECURITY_POLICY));
    }
    // Old addresses lead to the page's own first.
    let (status, headers, _) = door.get("/graph?g0.expr=up", &html).await;
    assert_eq!((status, &headers[header::LOCATION]), (StatusCode::TEMPORARY_REDIRECT, &"/explore?q=up".parse().unwrap()));
    for (path, headers, challenge) in [
        ("/api/v1/query?query=up", &[][..], true),
        ("/metrics", &html[..], true),
        ("/api/v1/query?query=up", &html[..], true),
        ("/", &[("accept", "*/*")][..], true),
        ("/api/v1/query?query=up", &[("x-watchkeeper", "dashboard")][..], false),
        ("/api/watchkeeper/v1/events", &[("accept", "text/event-stream")][..], false),
        ("/api/v1/query?query=up", &[("sec-fetch-site", "same-origin")][..], false),
    ] {
        let (status, answer, body) = door.get(path, headers).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {body}");
        assert_eq!(answer.contains_key(header::WWW_AUTHENTICATE), challenge, "{path} {headers:?}");
    }
    // A file that is not there is none, with or without a name.
    assert_eq!(door.get("/assets/none.js", &html).await.0, StatusCode::NOT_FOUND);
    assert_eq!(door.ask("POST", "/assets/none.js", &[], &Value::Null).await.0, StatusCode::UNAUTHORIZED);
    let (status, _, body) = door.get(SESSION, &[]).await;
    let nobody = json!({"status": "success", "data": {"authentication": true, "user": null, "role": null}});
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (StatusCode::OK, nobody));
    // Where nobody has to log in nobody does.
    let open = Door::new(Config::without_file());
    assert_eq!(open.get("/", &html).await.0, StatusCode::OK);
    let (_, headers, body) = open.ask("POST", SESSION, &[], &li()).await;
    assert!(body.contains("\"authentication\":false") && !headers.contains_key(header::SET_COOKIE), "{body}");
}

#[tokio::test]
async fn a_cookie_stands_for_its_user_until_something_ends_it() {
    let door = Door::new(config());
    let (cookie, set) = door.login(&li()).await;
    assert!(set.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"), "{set}");
    assert!(!set.contains("sesame") && !set.contains(SESAME), "{set}");
    assert_eq!(door.user(&format!("a=b; {cookie}; c=d")).await, "li");
    assert_eq!(door.get("/api/v1/status/buildinfo", &[("cookie", &cookie)]).await.0, StatusCode::OK);
    assert_eq!(door.ask("POST", "/-/quit", &[("cookie", &cookie)], &Value::Null).await.0, StatusCode::OK);
    // A page of another site acts with nobody's cookie.
    let foreign = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    assert_eq!(door.ask("POST", "/-/quit", &foreign, &Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(door.ask("POST", SESSION, &foreign[1..], &li()).await.0, StatusCode::FORBIDDEN);
    // Changed in one place it is nobody's.
    for at in 0..cookie.len() {
        let mut forged = cookie.clone().into_bytes();
        forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
        assert_eq!(door.user(&String::from_utf8(forged).unwrap()).await, Value::Null, "{at}");
    }
    let (_, headers, _) = door.ask("DELETE", SESSION, &[("cookie", &cookie)], &Value::Null).await;
    assert!(headers[header::SET_COOKIE].to_str().unwrap().starts_with("watchkeeper_session=; Path=/; Max-Age=0; "));

    // Another password, nobody of that name, or 30 days end it.
    door.change(|config| drop(config.web.basic_auth_users.insert("li".to_owned(), Secret::new(OTHER))));
    assert_eq!(door.user(&cookie).await, Value::Null);
    door.change(|config| drop(config.web.basic_auth_users.insert("li".to_owned(), Secret::new(SESAME))));
    assert_eq!(door.user(&cookie).await, "li");
    door.change(|config| drop(config.web.basic_auth_users.remove("li")));
    assert_eq!(door.user(&cookie).await, Value::Null);
    door.change(|config| drop(config.web.basic_auth_users.insert("li".to_owned(), Secret::new(SESAME))));
    door.clock.advance(30 * 86_400_000 - 1);
    assert_eq!(door.user(&cookie).await, "li");
    door.clock.advance(1);
    assert_eq!(door.user(&cookie).await, Value::Null);
}

#[tokio::test]
async fn viewers_change_nothing_and_roles_are_looked_up_anew() {
    let door = Door::new(config());
    let (guest, _) = door.login(&json!({"user": "guest", "password": "sesame"})).await;
    let quit = async |cookie: &str| door.ask("POST", "/-/quit", &[("cookie", cookie)], &Value::Null).await.0;
    assert_eq!(quit(&guest).await, StatusCode::FORBIDDEN);
    // They may log out, and in as somebody else.
    assert_eq!(door.ask("DELETE", SESSION, &[("cookie", &guest)], &Value::Null).await.0, StatusCode::OK);
    assert_eq!(door.ask("POST", SESSION, &[("cookie", &guest)], &li()).await.0, StatusCode::OK);
    door.change(|config| config.web.roles.extend([("guest".to_owned(), Role::Operator)]));
    assert_eq!(quit(&guest).await, StatusCode::OK);
    let (ci, _) = door.login(&json!({"token": "t0ken"})).await;
    assert_eq!((door.user(&ci).await, quit(&ci).await), (json!("ci"), StatusCode::FORBIDDEN));
    door.change(|config| config.web.api_tokens[0].token = Secret::new("another"));
    assert_eq!(door.user(&ci).await, Value::Null);
    // With an address that is reached by TLS the cookie goes no other way, and stays below its path.
    door.change(|config| {
        config.web.external_url = crate::config::values::Url::parse("https://watch.example.org/mon/").unwrap();
    });
    assert!(door.login(&li()).await.1.ends_with("; Path=/mon; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure"));
}

#[tokio::test]
async fn guessing_has_to_wait_and_who_knows_does_not() {
    let door = Door::new(config());
    let (cookie, _) = door.login(&li()).await;
    let wrong = json!({"user": "guest", "password": "guess"});
    let told = async |shown: &Value| {
        let (status, headers, body) = door.ask("POST", SESSION, &[], shown).await;
        let words = serde_json::from_str::<Value>(&body).unwrap()["error"].as_str().unwrap_or_default().to_owned();
        (status.as_u16(), words, headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned()))
    };
    for _ in 0..6 {
        assert_eq!(told(&wrong).await, (401, "This name and password do not fit together.".to_owned(), None));
    }
    let wait = "Too many attempts with a wrong password. Try again in 1 s.";
    assert_eq!(told(&wrong).await, (429, wait.to_owned(), Some("1".to_owned())));
    // Nor by the other way in, nor with the right one; whoever was right before does not notice.
    let right = json!({"user": "guest", "password": "sesame"});
    assert_eq!(told(&right).await.0, 429);
    let basic = [("authorization", "Basic Z3Vlc3Q6c2VzYW1l")];
    assert_eq!(door.get("/api/v1/status/buildinfo", &basic).await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((door.user(&cookie).await, told(&li()).await.0), (json!("li"), 200));
    door.clock.advance(1000);
    assert_eq!(told(&right).await.0, 200);
    assert_eq!(door.get("/api/v1/status/buildinfo", &basic).await.0, StatusCode::OK);
    // Names that nobody has and tokens that nobody knows are no better.
    assert_eq!(told(&json!({"user": "nobody", "password": ""})).await.0, 401);
    assert_eq!(told(&json!({"token": ""})).await.1, "This token is not known.");
    for bad in [json!({"pasword": "sesame"}), json!([]), json!("sesame")] {
        let (status, words, _) = told(&bad).await;
        assert!(status == 400 && !words.contains("sesame"), "{words}");
    }
}
