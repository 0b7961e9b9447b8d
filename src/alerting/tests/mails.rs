//! What a mail says: charts, links that act, what changed, and in which language.

use super::world::{World, config, simple};
use crate::alerting::links::{LinkAction, Links};
use crate::alerting::notify::chart::{CHARTS_MAX, ChartFeed};
use crate::model::chart::{ChartData, Threshold};
use crate::model::labels::Labels;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Knows a line that rises above 90, for each alert; counts how often it is asked.
fn rising(asked: &Arc<AtomicUsize>) -> ChartFeed {
    let asked = Arc::clone(asked);
    ChartFeed::new(move |ask| {
        asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let step_ms = (ask.to_ms - ask.from_ms) / 120;
            let points = (0..=120).map(|place| (ask.from_ms + place * step_ms, place as f64)).collect();
            Some(ChartData {
                points,
                step_ms,
                threshold: Some(Threshold { value: 90.0, operator: ">" }),
                expression: "disk_used".to_owned(),
                ended_value: ask.ended_ms.map(|_| 12.5),
            })
        })
    })
}

/// The parts of a mail by their type, decoded; long lines joined.
fn part(mail: &str, kind: &str) -> String {
    let at = mail.find(&format!("Content-Type: {kind}")).unwrap_or_else(|| panic!("no {kind} in {mail}"));
    let (head, body) = mail.get(at..).and_then(|rest| rest.split_once("\r\n\r\n")).expect("a body");
    let body = body.split("\r\n--wk-").next().expect("a part");
    if head.contains("quoted-printable") {
        let joined = body.replace("=\r\n", "");
        let mut bytes = Vec::new();
        let mut rest = joined.as_bytes();
        while let Some((first, behind)) = rest.split_first() {
            match (first, behind) {
                (b'=', [a, b, ..]) => {
                    let digits = [*a, *b];
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).expect("ascii"), 16).expect("hex"));
                    rest = &behind[2..];
                }
                _ => {
                    bytes.push(*first);
                    rest = behind;
                }
            }
        }
        return String::from_utf8(bytes).expect("utf-8");
    }
    if head.contains("base64") && kind.starts_with("text/") {
        let packed: String = body.split_whitespace().collect();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut word, mut bits, mut bytes) = (0_u32, 0, Vec::new());
        for digit in packed.trim_end_matches('=').chars() {
            word = (word << 6) | u32::try_from(alphabet.find(digit).expect("a digit")).expect("small");
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push((word >> bits) as u8);
                word &= (1 << bits) - 1;
            }
        }
        return String::from_utf8(bytes).expect("utf-8");
    }
    body.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_mail_has_a_chart_inside_and_says_what_ended_it() {
    let asked = Arc::new(AtomicUsize::new(0));
    let world = World::start_with(simple(""), None, rising(&asked)).await;
    world.fire("DiskFull", "db1").await;
    world.until(3.0).await;
    let mail = world.mail.taken()[0].text.clone();
    let (html, text) = (part(&mail, "text/html"), part(&mail, "text/plain"));
    let id = html.split("cid:").nth(1).and_then(|rest| rest.split('"').next()).expect("an image");
    assert!(mail.contains(&format!("Content-ID: <{id}>")), "{id}");
    assert!(mail.contains("multipart/related"), "{mail}");
    let png: String = part(&mail, "image/png").split_whitespace().collect();
    assert!(png.starts_with("iVBORw0KGgo"), "{png}");
    for text in [&html, &text] {
        assert!(text.replace("&gt;", ">").contains("value: 42.5 (alerts when > 90)"), "{text}");
    }
    assert!(html.contains("chart of disk_used from"), "{html}");
    // The dashboard shows the same, with the picture in it.
    let record = world.alerting.view().history[0].id;
    let shown = String::from_utf8(world.alerting.content_html(record).await.expect("kept")).expect("text");
    assert!(shown.contains("src=\"data:image/png;base64,iVBORw0KGgo") && !shown.contains("cid:"), "{shown}");

    world.resolve("DiskFull", "db1").await;
    world.until(8.0).await;
    let mail = world.mail.taken()[1].text.clone();
    let text = part(&mail, "text/plain");
    assert!(text.contains("value at the end: 12.5 (alerts when > 90)"), "{text}");
    assert!(!text.contains("/act/"), "nothing is left to be done: {text}");
}

#[tokio::test(start_paused = true)]
async fn only_the_first_alerts_have_charts_and_a_slow_one_keeps_no_mail_back() {
    let asked = Arc::new(AtomicUsize::new(0));
    let world = World::start_with(simple(""), None, rising(&asked)).await;
    for place in 0..30 {
        world.fire("DiskFull", &format!("db{place}")).await;
    }
    world.until(3.0).await;
    let mail = world.mail.taken()[0].text.clone();
    assert_eq!((asked.load(Ordering::Relaxed), mail.matches("Content-ID: <chart").count()), (CHARTS_MAX, CHARTS_MAX));

    let world = World::start_with(simple(""), None, ChartFeed::new(|_| Box::pin(std::future::pending()))).await;
    world.fire("DiskFull", "db1").await;
    world.until(6.0).await;
    world.want(&[(2.5, 3.5, &["FIRING", "DiskFull"])]);
    assert!(!world.mail.taken()[0].text.contains("image/png"));
}

#[tokio::test(start_paused = true)]
async fn what_is_new_is_marked_and_comes_first() {
    let world = World::start(simple("")).await;
    world.fire("DiskFull", "db1").await;
    world.until(3.0).await;
    world.fire("DiskFull", "db2").await;
    world.until(8.0).await;
    let (first, second) = (part(&world.mail.taken()[0].text, "text/plain"), part(&world.mail.taken()[1].text, "text/plain"));
    assert!(first.contains("[FIRING] DiskFull on db1"), "nothing stands out where all is new: {first}");
    let (new, old) = (second.find("[NEW FIRING] DiskFull on db2"), second.find("[FIRING] DiskFull on db1"));
    assert!(new.is_some() && new < old, "{second}");
    assert!(part(&world.mail.taken()[1].text, "text/html").contains(">NEW</span>"));
}

#[tokio::test(start_paused = true)]
async fn links_in_mails_are_good_for_their_alert() {
    let world = World::start(simple("")).await;
    world.fire("DiskFull", "db1").await;
    world.until(3.0).await;
    let text = part(&world.mail.taken()[0].text, "text/plain");
    let fingerprint =
        Labels::from_pairs([("alertname", "DiskFull"), ("instance", "db1"), ("severity", "critical")]).fingerprint();
    let links: Links = world.alerting.links().clone();
    for action in LinkAction::ALL {
        let line = text.lines().find_map(|line| line.split_once(&format!("/act/{}/", action.as_str())));
        let rest = line.unwrap_or_else(|| panic!("{action:?} in {text}")).1;
        let parts: Vec<&str> = rest.split('/').collect();
        assert_eq!(parts[0], format!("{fingerprint:016x}"));
        let expires_s = parts[1].parse().expect("seconds");
        assert_eq!(links.check(action, fingerprint, expires_s, parts[2], world.env.clock.now_ms()), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_mail_can_be_chinese() {
    let yaml = r#"
global: {smtp_smarthost: 'mail.example.org:25', smtp_from: watch@example.org, smtp_require_tls: false}
route: {receiver: ops, group_wait: 1s}
receivers:
- name: ops
  email_configs: [{to: ops@example.org, html: '{{ template "email.zh.html" . }}'}]
"#;
    let asked = Arc::new(AtomicUsize::new(0));
    let world = World::start_with(config(yaml), None, rising(&asked)).await;
    world.fire("DiskFull", "db1").await;
    world.until(2.0).await;
    let mail = world.mail.taken()[0].text.clone();
    let (html, text) = (part(&mail, "text/html"), part(&mail, "text/plain"));
    assert!(html.contains("lang=\"zh-CN\"") && html.contains("触发中") && html.contains("静默到恢复"), "{html}");
    assert!(html.contains("cid:chart0."), "{html}");
    assert!(text.contains("当前值：42.5（告警条件 > 90）"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_mail_can_be_plain_text() {
    let yaml = r#"
global: {smtp_smarthost: 'mail.example.org:25', smtp_from: watch@example.org, smtp_require_tls: false}
route: {receiver: ops, group_wait: 1s}
receivers:
- name: ops
  email_configs: [{to: ops@example.org, html: '', text: 'just {{ len .Alerts }} at {{ now | date "2006" }}'}]
"#;
    let world = World::start(config(yaml)).await;
    world.fire("DiskFull", "db1").await;
    world.until(2.0).await;
    let mail = world.mail.taken()[0].text.clone();
    assert!(mail.contains("Content-Type: text/plain") && mail.contains("just 1 at 2023"), "{mail}");
    assert!(!mail.contains("text/html") && !mail.contains("multipart"), "{mail}");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_said_by_xoauth2() {
    let yaml = r"
global: {smtp_smarthost: 'localhost:25', smtp_from: watch@example.org, smtp_require_tls: false, smtp_auth_username: li, smtp_auth_password: Bearer t0ken}
route: {receiver: ops, group_wait: 1s}
receivers:
- name: ops
  email_configs: [{to: ops@example.org}]
";
    let world = World::start(config(yaml)).await;
    world.mail.change(|script| script.mechanisms = "LOGIN PLAIN XOAUTH2");
    world.fire("DiskFull", "db1").await;
    world.until(2.0).await;
    assert_eq!(world.mail.taken().len(), 1);
    let said = world.mail.script.lock().expect("unpoisoned").auth.clone();
    // user=li^Aauth=Bearer t0ken^A^A
    assert_eq!(said, ["AUTH XOAUTH2 dXNlcj1saQFhdXRoPUJlYXJlciB0MGtlbgEB"]);
}
