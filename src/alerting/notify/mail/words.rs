//! The words of our own mail, by language.

use crate::alerting::dedup::Due;
use crate::alerting::links::LinkAction;

/// A language of our own mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// 简体中文.
    Chinese,
}

impl Language {
    /// Chooses between the two.
    const fn pick(self, english: &'static str, chinese: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }

    /// Returns the tag of RFC 5646.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        self.pick("en", "zh-CN")
    }

    pub(super) fn subject_head(self, firing: usize) -> String {
        match (self, firing) {
            (Self::English, 0) => "[RESOLVED]".to_owned(),
            (Self::English, firing) => format!("[FIRING:{firing}]"),
            (Self::Chinese, 0) => "[已恢复]".to_owned(),
            (Self::Chinese, firing) => format!("[告警:{firing}]"),
        }
    }

    /// Says how many there are of each.
    pub(super) fn counts(self, firing: usize, resolved: usize) -> String {
        let fires = format!("{firing} {}", self.pick("firing", "条告警触发中"));
        let ended = format!("{resolved} {}", self.pick("resolved", "条告警已恢复"));
        match (firing, resolved) {
            (0, _) => ended,
            (_, 0) => fires,
            _ => format!("{fires}{}{ended}", self.pick(", ", "，")),
        }
    }

    /// Says how many more of a name there are.
    pub(super) fn more(self, count: usize, resolved: bool, name: &str) -> String {
        match self {
            Self::English => format!("{count} more {}: {name}", if resolved { "resolved" } else { "firing" }),
            Self::Chinese => format!("另有 {count} 条{}：{name}", if resolved { "已恢复" } else { "触发中" }),
        }
    }

    pub(super) const fn state(self, resolved: bool) -> &'static str {
        if resolved { self.pick("RESOLVED", "已恢复") } else { self.pick("FIRING", "触发中") }
    }

    pub(super) const fn new_word(self) -> &'static str {
        self.pick("NEW", "新")
    }

    pub(super) fn title(self, name: &str, place: &str) -> String {
        match self {
            _ if place.is_empty() => name.to_owned(),
            Self::English => format!("{name} on {place}"),
            Self::Chinese => format!("{name}（{place}）"),
        }
    }

    pub(super) fn since(self, at: &str, length: &str) -> String {
        match self {
            Self::English => format!("since {at} ({length})"),
            Self::Chinese => format!("自 {at} 起（已持续 {length}）"),
        }
    }

    pub(super) fn lasted(self, from: &str, to: &str, length: &str) -> String {
        match self {
            Self::English => format!("from {from} to {to} ({length})"),
            Self::Chinese => format!("{from} 至 {to}（持续 {length}）"),
        }
    }

    pub(super) fn value(self, value: &str, limit: Option<&str>) -> String {
        match (self, limit) {
            (Self::English, None) => format!("value: {value}"),
            (Self::English, Some(limit)) => format!("value: {value} (alerts when {limit})"),
            (Self::Chinese, None) => format!("当前值：{value}"),
            (Self::Chinese, Some(limit)) => format!("当前值：{value}（告警条件 {limit}）"),
        }
    }

    pub(super) fn ended_value(self, value: &str, limit: Option<&str>) -> String {
        match (self, limit) {
            (Self::English, None) => format!("value at the end: {value}"),
            (Self::English, Some(limit)) => format!("value at the end: {value} (alerts when {limit})"),
            (Self::Chinese, None) => format!("恢复时的值：{value}"),
            (Self::Chinese, Some(limit)) => format!("恢复时的值：{value}（告警条件 {limit}）"),
        }
    }

    /// Says that an alert goes on and off.
    pub(super) fn flapping(self, times: usize, quiet: &str) -> String {
        match self {
            Self::English => {
                format!(
                    "goes on and off: began {times} times within an hour; its end is told once it has stayed away for {quiet}"
                )
            }
            Self::Chinese => format!("反复触发：一小时内第 {times} 次；恢复持续 {quiet} 后才会通知"),
        }
    }

    /// Says what a chart shows, for who does not see it.
    pub(super) fn chart(self, expression: &str, from: &str, to: &str) -> String {
        match self {
            Self::English => format!("chart of {expression} from {from} to {to}"),
            Self::Chinese => format!("{expression} 从 {from} 至 {to} 的曲线"),
        }
    }

    pub(super) const fn word(self, word: Word) -> &'static str {
        match word {
            Word::Labels => self.pick("labels: ", "标签："),
            Word::Alert => self.pick("Open alert", "查看告警"),
            Word::Silence => self.pick("Silence", "静默"),
            Word::Runbook => self.pick("Runbook", "处理手册"),
            Word::Source => self.pick("Source", "来源"),
            Word::AllAlerts => self.pick("All alerts", "全部告警"),
            Word::Note => self.pick("NOTE: ", "注意："),
        }
    }

    /// Returns the name of what a link does.
    pub(super) const fn action(self, action: LinkAction) -> &'static str {
        match action {
            LinkAction::Acknowledge => self.pick("Acknowledge", "确认"),
            LinkAction::SilenceHour => self.pick("Silence 1 h", "静默 1 小时"),
            LinkAction::SilenceUntilResolved => self.pick("Silence until resolved", "静默到恢复"),
            LinkAction::SilenceUntilMonday => self.pick("Silence until Monday 8:00", "静默到周一 8:00"),
        }
    }

    pub(super) fn foot(self, receiver: &str, due: Due) -> String {
        match self {
            Self::English => format!("Receiver {receiver}. {}.", due.as_str()),
            Self::Chinese => format!("接收者 {receiver}。{}。", chinese(due)),
        }
    }
}

const fn chinese(due: Due) -> &'static str {
    match due {
        Due::First => "首次通知",
        Due::NewFiring => "组内有新告警",
        Due::AllResolved => "全部告警已恢复",
        Due::NewResolved => "组内有告警恢复",
        Due::Repeat => "到了重复通知的时间",
        Due::EndedUntold => "无法通知期间发生并已结束",
        Due::Escalated => "无人确认，升级通知",
        Due::NeverTold => "从未通知过",
        Due::Unchanged => "没有变化",
    }
}

/// A word that needs nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Labels,
    Alert,
    Silence,
    Runbook,
    Source,
    AllAlerts,
    Note,
}
