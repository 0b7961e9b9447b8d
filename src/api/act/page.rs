//! The pages behind the links of mails: plain HTML, all text from outside escaped.

use crate::alerting::links::LinkAction;
use crate::alerting::notify::mail::escape;
use crate::alerting::view::AlertView;
use crate::model::number;
use crate::template::Time;
use axum::http::{HeaderMap, header};

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Chinese,
}

impl Language {
    /// Returns the one that a browser asks for.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if wanted.trim_start().to_ascii_lowercase().starts_with("zh") { Self::Chinese } else { Self::English }
    }

    const fn pick<'a>(self, english: &'a str, chinese: &'a str) -> &'a str {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }
}

/// Why nothing is done.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The link is not from here.
    Forged,
    /// It is too old; about this alert.
    Expired(u64),
    /// The alert is not known any more.
    Gone,
    /// It was tried.
    NotDone(String),
}

/// Writes pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
    pub(super) language: Language,
    /// In front of our addresses.
    pub(super) base: &'a str,
}

const STYLE: &str = "body{font:16px/1.5 system-ui,-apple-system,sans-serif;margin:0;padding:16px;color:#1a1f26;background:#f5f7f9}\
main{max-width:560px;margin:0 auto;background:#fff;border:1px solid #dfe4ea;border-radius:8px;padding:20px}\
h1{font-size:20px;margin:0 0 12px}p{margin:0 0 12px}.quiet{color:#56606c;font-size:14px;word-break:break-word}\
label{display:block;margin:0 0 12px}input{display:block;width:100%;box-sizing:border-box;font:inherit;padding:8px;border:1px solid #8b949e;border-radius:4px}\
button{font:inherit;font-weight:600;padding:10px 18px;border:0;border-radius:4px;background:#0a5bb0;color:#fff;cursor:pointer}\
a{color:#0a5bb0}ul{padding-left:20px}\
@media(prefers-color-scheme:dark){body{background:#14181d;color:#e6eaef}main{background:#1c2127;border-color:#343b44}.quiet{color:#a4adb8}input{background:#14181d;color:#e6eaef}a{color:#6cb2ff}button{background:#6cb2ff;color:#14181d}}";

impl Page<'_> {
    fn whole(self, title: &str, body: &str) -> String {
        let tag = self.language.pick("en", "zh-CN");
        let title = escape(title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"{tag}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
             initial-scale=1\"><meta name=\"robots\" content=\"noindex\"><title>{title}</title><style>{STYLE}</style></head>\n\
             <body><main><h1>{title}</h1>\n{body}</main></body></html>\n"
        )
    }

    fn alert_link(self, fingerprint: u64) -> String {
        let word = self.language.pick("Open the alert", "查看告警");
        format!("<p><a href=\"{}/alerts/{fingerprint:016x}\">{word}</a></p>", escape(self.base))
    }

    /// Says why nothing is done.
    pub(super) fn refused(self, why: Refusal) -> String {
        let (title, words, link) = match why {
            Refusal::Forged => (
                self.language.pick("This link does nothing", "此链接无效"),
                self.language
                    .pick("It is not from this server, or was cut off on its way.", "它不是由本服务器生成的，或在传递中被截断。")
                    .to_owned(),
                String::new(),
            ),
            Refusal::Expired(fingerprint) => (
                self.language.pick("This link has expired", "此链接已过期"),
                self.language.pick("Links in mails are good for 24 hours.", "邮件中的链接 24 小时内有效。").to_owned(),
                self.alert_link(fingerprint),
            ),
            Refusal::Gone => (
                self.language.pick("This alert is over", "该告警已结束"),
                self.language.pick("It ended a while ago and is not kept any more.", "它已结束一段时间，不再保留。").to_owned(),
                String::new(),
            ),
            Refusal::NotDone(error) => (self.language.pick("This was not done", "操作未完成"), error, String::new()),
        };
        let all = self.language.pick("All alerts", "全部告警");
        let base = escape(self.base);
        self.whole(title, &format!("<p>{}</p>{link}<p><a href=\"{base}/alerts\">{all}</a></p>", escape(&words)))
    }

    fn action(self, action: LinkAction) -> &'static str {
        let (english, chinese) = match action {
            LinkAction::Acknowledge => ("Acknowledge", "确认"),
            LinkAction::SilenceHour => ("Silence for 1 hour", "静默 1 小时"),
            LinkAction::SilenceUntilResolved => ("Silence until resolved", "静默到恢复"),
            LinkAction::SilenceUntilMonday => ("Silence until Monday 8:00", "静默到周一 8:00"),
        };
        match self.language {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }

    fn about(self, alert: &AlertView, now_ms: i64) -> String {
        let stored = &alert.alert;
        let summary = stored.annotations.get("summary").or_else(|| stored.annotations.get("description")).unwrap_or("");
        let labels: Vec<String> = stored.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let state = match stored.is_resolved_at(now_ms) {
            true => self.language.pick("resolved", "已恢复"),
            false => self.language.pick("firing", "触发中"),
        };
        let since = Time::from_ms(stored.starts_at_ms).format("2006-01-02 15:04:05 MST");
        let value = stored.value.map(|value| format!(", {}", number::format_g(value))).unwrap_or_default();
        let quiet = |out: &mut String, text: &str| out.extend(["<p class=\"quiet\">", &escape(text), "</p>"]);
        let mut out = format!("<p><strong>{}</strong> ({state}, {since}{value})</p>", escape(stored.name()));
        if !summary.is_empty() {
            out.extend(["<p>", &escape(summary), "</p>"]);
        }
        quiet(&mut out, &labels.join(", "));
        if let Some(ack) = &alert.ack {
            let word = self.language.pick("Acknowledged by", "确认人");
            quiet(&mut out, &format!("{word} {}", ack.by));
        }
        if !alert.silenced_by.is_empty() {
            quiet(&mut out, self.language.pick("A silence covers it already.", "已有静默覆盖该告警。"));
        }
        out
    }

    fn until(self, until_ms: Option<i64>) -> String {
        let Some(until_ms) = until_ms else { return String::new() };
        let zone = jiff::tz::TimeZone::system();
        let at = jiff::Timestamp::from_millisecond(until_ms).unwrap_or_default().to_zoned(zone);
        let word = self.language.pick("Until at most", "最晚至");
        format!("<p class=\"quiet\">{word} {}</p>", escape(&at.strftime("%Y-%m-%d %H:%M %Z").to_string()))
    }

    /// Asks whether it shall be done.
    pub(super) fn question(
        self,
        action: LinkAction,
        alert: &AlertView,
        path: &str,
        until_ms: Option<i64>,
        others: &[(LinkAction, String)],
        now_ms: i64,
    ) -> String {
        let word = self.action(action);
        let (name, comment) = (self.language.pick("Your name", "您的名字"), self.language.pick("Comment", "备注"));
        let instead = self.language.pick("Or instead:", "或者：");
        let others: String = others
            .iter()
            .map(|(action, path)| format!("<li><a href=\"{}\">{}</a></li>", escape(path), self.action(*action)))
            .collect();
        let body = format!(
            "{}{}<form method=\"post\" action=\"{}\"><label>{name}<input name=\"by\" maxlength=\"100\" autocomplete=\"name\"></label>\
             <label>{comment}<input name=\"comment\" maxlength=\"500\"></label><button type=\"submit\">{word}</button></form>\
             <p style=\"margin-top:16px\">{instead}</p><ul>{others}</ul>{}",
            self.about(alert, now_ms),
            self.until(until_ms),
            escape(path),
            self.alert_link(alert.alert.fingerprint),
        );
        self.whole(&format!("{word}?"), &body)
    }

    /// Says that it was done.
    pub(super) fn done(self, action: LinkAction, alert: &AlertView, until_ms: Option<i64>) -> String {
        let (title, list) = match action {
            LinkAction::Acknowledge => (self.language.pick("Acknowledged", "已确认"), String::new()),
            _ => {
                let word = self.language.pick("All silences", "全部静默");
                let link = format!("<p><a href=\"{}/silences\">{word}</a></p>", escape(self.base));
                (self.language.pick("Silenced", "已静默"), link)
            }
        };
        let name = escape(alert.alert.name());
        let labels: Vec<String> = alert.alert.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let body = format!(
            "<p><strong>{name}</strong></p><p class=\"quiet\">{}</p>{}{}{list}",
            escape(&labels.join(", ")),
            self.until(until_ms),
            self.alert_link(alert.alert.fingerprint),
        );
        self.whole(title, &body)
    }
}
