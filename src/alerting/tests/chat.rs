//! Chat services that take, refuse, put off, and say so in their own ways.

use super::world::{World, config};
use crate::alerting::history::RecordState;
use crate::env::network::{BoxStream, Listener, Network};
use crate::sim::http;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::io::{BufReader, DuplexStream};

/// What was asked of a service.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Address and path.
    pub(super) url: String,
    headers: Vec<String>,
    pub(super) body: Value,
}

/// Services at every address. They answer what is next in the list, and 200 when it is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
}

impl Services {
    async fn serve(self, stream: DuplexStream, address: String) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(request) = http::request(&mut stream).await? {
            let body = serde_json::from_slice(&request.body)?;
            let asked = Asked { url: format!("{address}{}", request.path), headers: request.headers, body };
            self.asked.lock().expect("unpoisoned").push(asked);
            let next = self.answers.lock().expect("unpoisoned").pop_front();
            let (status, text) = next.unwrap_or((200, "ok"));
            http::answer(&mut stream, status, text).await?;
        }
        Ok(())
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("unpoisoned").clone()
    }

    pub(super) fn answer(&self, status: u16, text: &'static str) {
        self.answers.lock().expect("unpoisoned").push_back((status, text));
    }
}

impl Network for Services {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (this, address) = (self.clone(), address.to_owned());
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            #[expect(clippy::disallowed_methods, reason = "the server's side of a test")]
            drop(tokio::spawn(this.serve(theirs, address)));
            Ok(Box::new(ours) as BoxStream)
        })
    }

    fn listen(&self, _address: &str) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::Error::other("nothing listens here")) })
    }
}

/// A world in which one receiver has these integrations.
async fn world(integrations: &str) -> (World, Services) {
    let services = Services::default();
    let text = format!(
        r"
route: {{receiver: ops, group_by: [alertname], group_wait: 2s, group_interval: 4s, repeat_interval: 1h}}
receivers:
- name: ops
{integrations}
"
    );
    (World::start_in(config(&text), Some(Arc::new(services.clone()))).await, services)
}

/// Fires, and resolves ten seconds later. Returns what was asked.
async fn fired_and_resolved(integrations: &str) -> Vec<Asked> {
    let (world, services) = world(integrations).await;
    world.fire("Down", "db1").await;
    world.until(10.0).await;
    world.resolve("Down", "db1").await;
    world.until(20.0).await;
    let asked = services.asked();
    let states: Vec<_> = world.alerting.view().history.iter().map(|record| record.state).collect();
    assert!(states.iter().all(|state| *state == RecordState::Sent), "{states:?}");
    asked
}

#[tokio::test(start_paused = true)]
async fn slack_takes_an_attachment() {
    let more = "
  slack_configs:
  - api_url: http://slack.test/services/T/B/secret
    channel: '#ops'
    send_resolved: true
    fields: [{title: host, value: '{{ .CommonLabels.instance }}', short: true}]
    actions: [{type: button, text: Look, url: '{{ .ExternalURL }}'}]
";
    let asked = fired_and_resolved(more).await;
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].url, "slack.test:80/services/T/B/secret");
    let body = &asked[0].body;
    assert_eq!((&body["channel"], &body["username"]), (&json!("#ops"), &json!("Watchkeeper")));
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["title"], "[FIRING:1] Down (db1 critical)");
    assert_eq!(attachment["color"], "danger");
    assert_eq!(attachment["fields"], json!([{"title": "host", "value": "db1", "short": true}]));
    assert_eq!(attachment["actions"], json!([{"type": "button", "text": "Look", "url": "https://watch.example.org"}]));
    assert_eq!(attachment["mrkdwn_in"], json!(["fallback", "pretext", "text"]));
    assert_eq!(asked[1].body["attachments"][0]["color"], "good");
}

#[tokio::test(start_paused = true)]
async fn slack_says_no_with_a_200() {
    let more = "
  slack_configs:
  - app_token: xoxb-1
    app_url: http://slack.test/api/chat.postMessage
    channel: nowhere
";
    let (world, services) = world(more).await;
    services.answer(200, r#"{"ok":false,"error":"ratelimited"}"#);
    for _ in 0..20 {
        services.answer(200, r#"{"ok":false,"error":"channel_not_found"}"#);
    }
    world.fire("Down", "db1").await;
    world.until(5.5).await;
    let asked = services.asked();
    assert_eq!(asked.len(), 2, "put off once, then refused");
    assert!(asked[0].headers.contains(&"authorization: Bearer xoxb-1".to_owned()), "{:?}", asked[0].headers);
    let view = world.alerting.view();
    let record = &view.history[0];
    assert_eq!(record.state, RecordState::Failed, "{record:?}");
    assert!(format!("{record:?}").contains("channel_not_found") && !format!("{record:?}").contains("xoxb-1"), "{record:?}");
}

#[tokio::test(start_paused = true)]
async fn pagerduty_opens_and_closes_an_incident() {
    let more = "
  pagerduty_configs:
  - routing_key: 0123456789abcdef
    url: http://pagerduty.test/v2/enqueue
    severity: '{{ .CommonLabels.severity }}'
    details: {host: '{{ .CommonLabels.instance }}'}
    links: [{href: 'https://runbook.test/{{ .CommonLabels.alertname }}', text: runbook}]
";
    let asked = fired_and_resolved(more).await;
    assert_eq!(asked.len(), 2);
    let (fired, resolved) = (&asked[0].body, &asked[1].body);
    assert_eq!(asked[0].url, "pagerduty.test:80/v2/enqueue");
    assert_eq!((&fired["event_action"], &resolved["event_action"]), (&json!("trigger"), &json!("resolve")));
    assert_eq!((&fired["routing_key"], &fired["dedup_key"]), (&json!("0123456789abcdef"), &resolved["dedup_key"]));
    assert_eq!(fired["dedup_key"].as_str().map(str::len), Some(64));
    assert_eq!(fired["payload"]["summary"], "[FIRING:1] Down (db1 critical)");
    assert_eq!((&fired["payload"]["severity"], &fired["payload"]["source"]), (&json!("critical"), &json!("Watchkeeper")));
    let details = &fired["payload"]["custom_details"];
    assert_eq!((&details["host"], &details["num_firing"]), (&json!("db1"), &json!("1")));
    assert_eq!(details["firing"][0]["labels"]["instance"], "db1", "JSON in a detail is what it says: {details}");
    assert_eq!(fired["links"], json!([{"href": "https://runbook.test/Down", "text": "runbook"}]));
}

#[tokio::test(start_paused = true)]
async fn telegram_takes_markup_that_no_label_can_break() {
    let more = "
  telegram_configs:
  - bot_token: '1:secret'
    api_url: http://telegram.test
    chat_id: -100
    message: '<b>{{ .CommonLabels.instance }}</b>'
";
    let (world, services) = world(more).await;
    services.answer(502, "bad gateway");
    world.fire("Down", "<db1 & co>").await;
    world.until(30.0).await;
    let asked = services.asked();
    assert_eq!(asked.len(), 2, "tried again");
    assert_eq!(asked[1].url, "telegram.test:80/bot1:secret/sendMessage");
    let body = &asked[1].body;
    assert_eq!(body["text"], "<b>&lt;db1 &amp; co&gt;</b>");
    assert_eq!((&body["chat_id"], &body["parse_mode"]), (&json!(-100), &json!("HTML")));
    let history = format!("{:?}", world.alerting.view().history);
    assert!(!history.contains("1:secret"), "the token is told nobody: {history}");
}

#[tokio::test(start_paused = true)]
async fn discord_takes_an_embed() {
    let asked = fired_and_resolved(
        "
  discord_configs:
  - webhook_url: http://discord.test/api/webhooks/1/secret
    username: watch
",
    )
    .await;
    assert_eq!(asked.len(), 2);
    let embed = &asked[0].body["embeds"][0];
    assert_eq!((&asked[0].body["username"], &embed["title"]), (&json!("watch"), &json!("[FIRING:1] Down (db1 critical)")));
    let description = embed["description"].as_str().unwrap_or("");
    assert!(description.starts_with("Alerts Firing:\nLabels:\n - alertname = Down\n"), "{description}");
    assert_eq!((&embed["color"], &asked[1].body["embeds"][0]["color"]), (&json!(0x99_2d_22), &json!(0x2e_cc_71)));
}

#[tokio::test(start_paused = true)]
async fn teams_takes_cards() {
    let asked = fired_and_resolved(
        "
  msteams_configs:
  - webhook_url: http://teams.test/one
  msteamsv2_configs:
  - webhook_url: http://teams.test/two
",
    )
    .await;
    assert_eq!(asked.len(), 4);
    let of = |path: &str| asked.iter().filter(|one| one.url.ends_with(path)).map(|one| one.body.clone()).collect::<Vec<_>>();
    let (cards, flows) = (of("/one"), of("/two"));
    assert_eq!((&cards[0]["@type"], &cards[0]["themeColor"]), (&json!("MessageCard"), &json!("8C1A1A")));
    assert_eq!((&cards[0]["title"], &cards[1]["themeColor"]), (&json!("[FIRING:1] Down (db1 critical)"), &json!("2DC72D")));
    assert!(cards[0]["text"].as_str().is_some_and(|text| text.starts_with("# Alerts Firing:")), "{}", cards[0]);
    let content = &flows[0]["attachments"][0]["content"];
    assert_eq!((&content["type"], &content["body"][0]["color"]), (&json!("AdaptiveCard"), &json!("Attention")));
    assert_eq!(flows[1]["attachments"][0]["content"]["body"][0]["color"], "Good");
}

#[tokio::test(start_paused = true)]
async fn a_template_that_fails_loses_no_message() {
    let (world, services) = world(
        "
  discord_configs:
  - webhook_url: http://discord.test/1
    title: '{{ template \"nobody wrote this\" . }}'
",
    )
    .await;
    world.fire("Down", "db1").await;
    world.until(10.0).await;
    let asked = services.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].body["embeds"][0]["title"], "[FIRING:1] Down (db1 critical)");
    let view = world.alerting.view();
    let record = &view.history[0];
    assert!(format!("{record:?}").contains("the template of the title failed"), "{record:?}");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_sends_what_is_configured() {
    let asked = fired_and_resolved(
        "
  webhook_configs:
  - url: http://hook.test/x
    payload: {text: '{{ .Status }} on {{ .CommonLabels.instance }}', count: 3, labels: '{{ .CommonLabels | toJson }}'}
",
    )
    .await;
    let labels = json!({"alertname": "Down", "instance": "db1", "severity": "critical"});
    assert_eq!(asked[0].body, json!({"text": "firing on db1", "count": 3, "labels": labels}));
    assert_eq!(asked[1].body["text"], "resolved on db1");
}
