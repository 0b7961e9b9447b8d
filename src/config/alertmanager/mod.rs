//! `alertmanager`: the body of an alertmanager.yml. Who is told, how often, and what keeps quiet about what.

pub(super) mod clients;
pub mod times;

use super::error::ConfigError;
use super::http_client::{HttpClientConfig, TlsConfig};
use super::receivers::{EmailConfig, OUTBOX, Receiver, Smarthost};
use super::section::{Value, section};
use super::show::Shown;
use super::values::{FilePath, Secret, SecretUrl, WebUrl};
use super::yaml::Node;
use crate::model::labels::is_legacy_name;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::matcher_text;
use crate::model::time_interval::NamedTimeInterval;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

section! {
    /// Defaults for receivers, under Alertmanager's keys.
    pub struct AlertmanagerGlobal "alertmanager global" {
        /// How long an alert without end lives after it was last told.
        resolve_timeout: Duration = Duration::from_secs(300),
        /// Default of `http_config`.
        http_config: HttpClientConfig = HttpClientConfig::default(),
        /// Default of email's `from`.
        smtp_from: String = String::new(),
        /// Default of email's `hello`.
        smtp_hello: String = "localhost".to_owned(),
        /// Default of email's `smarthost`.
        smtp_smarthost: Smarthost = Smarthost::default(),
        /// Default of email's `auth_username`.
        smtp_auth_username: String = String::new(),
        /// Default of email's `auth_password`.
        smtp_auth_password: Secret = Secret::default(),
        /// Default of email's `auth_password_file`.
        smtp_auth_password_file: FilePath = FilePath::default(),
        /// Default of email's `auth_secret`.
        smtp_auth_secret: Secret = Secret::default(),
        /// Default of email's `auth_secret_file`.
        smtp_auth_secret_file: FilePath = FilePath::default(),
        /// Default of email's `auth_identity`.
        smtp_auth_identity: String = String::new(),
        /// Default of email's `require_tls`.
        smtp_require_tls: bool = true,
        /// Default of email's `force_implicit_tls`.
        smtp_force_implicit_tls: Option<bool> = None,
        /// Default of email's `tls_config`.
        smtp_tls_config: Option<TlsConfig> = None,
        /// Default of slack's `api_url`.
        slack_api_url: SecretUrl = SecretUrl::default(),
        /// Default of slack's `api_url_file`.
        slack_api_url_file: FilePath = FilePath::default(),
        /// Default of slack's `app_token`.
        slack_app_token: Secret = Secret::default(),
        /// Default of slack's `app_token_file`.
        slack_app_token_file: FilePath = FilePath::default(),
        /// Default of slack's `app_url`.
        slack_app_url: WebUrl = web("https://slack.com/api/chat.postMessage"),
        /// Default of pagerduty's `url`.
        pagerduty_url: WebUrl = web("https://events.pagerduty.com/v2/enqueue"),
        /// Default of opsgenie's `api_url`.
        opsgenie_api_url: WebUrl = web("https://api.opsgenie.com/"),
        /// Default of opsgenie's `api_key`.
        opsgenie_api_key: Secret = Secret::default(),
        /// Default of opsgenie's `api_key_file`.
        opsgenie_api_key_file: FilePath = FilePath::default(),
        /// Default of wechat's `api_url`.
        wechat_api_url: WebUrl = web("https://qyapi.weixin.qq.com/cgi-bin/"),
        /// Default of wechat's `api_secret`.
        wechat_api_secret: Secret = Secret::default(),
        /// Default of wechat's `api_secret_file`.
        wechat_api_secret_file: FilePath = FilePath::default(),
        /// Default of wechat's `corp_id`.
        wechat_api_corp_id: String = String::new(),
        /// Default of victorops's `api_url`.
        victorops_api_url: WebUrl = web("https://alert.victorops.com/integrations/generic/20131114/alert/"),
        /// Default of victorops's `api_key`.
        victorops_api_key: Secret = Secret::default(),
        /// Default of victorops's `api_key_file`.
        victorops_api_key_file: FilePath = FilePath::default(),
        /// Default of telegram's `api_url`.
        telegram_api_url: WebUrl = web("https://api.telegram.org"),
        /// Default of telegram's `bot_token`.
        telegram_bot_token: Secret = Secret::default(),
        /// Default of telegram's `bot_token_file`.
        telegram_bot_token_file: FilePath = FilePath::default(),
        /// Default of webex's `api_url`.
        webex_api_url: WebUrl = web("https://webexapis.com/v1/messages"),
        /// Default of rocketchat's `api_url`.
        rocketchat_api_url: WebUrl = web("https://open.rocket.chat/"),
        /// Default of rocketchat's `token`.
        rocketchat_token: Secret = Secret::default(),
        /// Default of rocketchat's `token_file`.
        rocketchat_token_file: FilePath = FilePath::default(),
        /// Default of rocketchat's `token_id`.
        rocketchat_token_id: Secret = Secret::default(),
        /// Default of rocketchat's `token_id_file`.
        rocketchat_token_id_file: FilePath = FilePath::default(),
        /// Default of jira's `api_url`.
        jira_api_url: WebUrl = WebUrl::default(),
        /// Default of mattermost's `webhook_url`.
        mattermost_webhook_url: SecretUrl = SecretUrl::default(),
        /// Default of mattermost's `webhook_url_file`.
        mattermost_webhook_url_file: FilePath = FilePath::default(),
    } check super::receivers::defaults::check_global;

    /// Beyond Alertmanager: who is told as well when nobody has acknowledged.
    pub struct Escalation "escalate" {
        /// How long after the first notification.
        after: Duration = Duration::ZERO,
        /// Who.
        receiver: String = String::new(),
    } check check_escalation;

    /// Beyond Alertmanager: a sign of life, for whoever raises the alarm when it stays away.
    pub struct Heartbeat "heartbeat" {
        /// Where to POST it; may be empty.
        url: SecretUrl = SecretUrl::default(),
        /// How the request is made.
        http_config: HttpClientConfig = HttpClientConfig::default(),
        /// Who is told it; may be empty.
        receiver: String = String::new(),
        /// How often.
        interval: Duration = Duration::from_secs(60),
    } check check_heartbeat;

    /// The keys of a route.
    pub struct RouteKeys "route" {
        /// See [`Route`].
        receiver: String = String::new(),
        /// See [`Route`].
        group_by: Vec<String> = Vec::new(),
        /// Label -> value, the older form of matchers.
        matching "match": BTreeMap<String, String> = BTreeMap::new(),
        /// Label -> pattern, the older form of matchers.
        match_re: PatternMap = PatternMap::default(),
        /// Matchers.
        matchers: MatcherList = MatcherList::default(),
        /// See [`Route`].
        mute_time_intervals: Vec<String> = Vec::new(),
        /// See [`Route`].
        active_time_intervals: Vec<String> = Vec::new(),
        /// See [`Route`].
        continues "continue": bool = false,
        /// See [`Route`].
        routes: Vec<Route> = Vec::new(),
        /// See [`Route`].
        group_wait: Option<Duration> = None,
        /// See [`Route`].
        group_interval: Option<Duration> = None,
        /// See [`Route`].
        repeat_interval: Option<Duration> = None,
        /// See [`Route`].
        labels: BTreeMap<String, String> = BTreeMap::new(),
        /// See [`Route`].
        escalate: Option<Escalation> = None,
    } check check_route;

    /// The keys of an inhibition rule.
    pub struct InhibitKeys "inhibit_rule" {
        /// The rule's name, for people.
        name: String = String::new(),
        /// The older form of matchers.
        target_match: BTreeMap<String, String> = BTreeMap::new(),
        /// The older form of matchers.
        target_match_re: PatternMap = PatternMap::default(),
        /// See [`InhibitRule`].
        target_matchers: MatcherList = MatcherList::default(),
        /// The older form of matchers.
        source_match: BTreeMap<String, String> = BTreeMap::new(),
        /// The older form of matchers.
        source_match_re: PatternMap = PatternMap::default(),
        /// See [`InhibitRule`].
        source_matchers: MatcherList = MatcherList::default(),
        /// See [`InhibitRule`].
        equal: Vec<String> = Vec::new(),
    } check check_inhibit;

    /// The whole section.
    pub struct AlertmanagerConfig "alertmanager" {
        /// Defaults for receivers.
        global: AlertmanagerGlobal = AlertmanagerGlobal::default(),
        /// The routing tree; always `Some` after loading.
        route: Option<Route> = None,
        /// Signs of life, beyond Alertmanager.
        heartbeat: Vec<Heartbeat> = Vec::new(),
        /// What keeps quiet while something else is wrong.
        inhibit_rules: Vec<InhibitRule> = Vec::new(),
        /// Who can be told. After loading, defaults from `global` are filled in.
        receivers: Vec<Receiver> = Vec::new(),
        /// Files of templates; the last part may hold `*`.
        templates: Vec<FilePath> = Vec::new(),
        /// The older name of `time_intervals`.
        mute_time_intervals: Vec<NamedTimeInterval> = Vec::new(),
        /// Named times.
        time_intervals: Vec<NamedTimeInterval> = Vec::new(),
        /// Where Alertmanager sends its traces. Read and shown, without effect.
        tracing: Option<super::remote::TracingConfig> = None,
        /// Where Alertmanager keeps a record of what happened. Read and shown, without effect.
        event_recorder: Option<super::receivers::AnyValue> = None,
    } inline {
        /// Everything in it that is a template.
        templated: super::receivers::TemplatedTexts,
    } check check_alertmanager;
}

fn web(text: &str) -> WebUrl {
    WebUrl(super::values::Url::parse(text).unwrap_or_default())
}

/// A node of the routing tree. What is empty or `None` is inherited from the parent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    /// Who is told.
    pub receiver: String,
    /// Labels by which alerts form groups; `None`: inherited.
    pub group_by: Option<Vec<String>>,
    /// Whether every label forms groups (`...`).
    pub group_by_all: bool,
    /// All must match: `match`, `match_re` and `matchers` together.
    pub matchers: Vec<Matcher>,
    /// Names of times when the route is quiet.
    pub mute_time_intervals: Vec<String>,
    /// Names of times outside of which the route is quiet.
    pub active_time_intervals: Vec<String>,
    /// Whether later siblings are asked too.
    pub continues: bool,
    /// Children, in order.
    pub routes: Vec<Self>,
    /// Before the first notification of a group.
    pub group_wait: Option<Duration>,
    /// Between notifications of a group that changed.
    pub group_interval: Option<Duration>,
    /// Between notifications of a group that did not.
    pub repeat_interval: Option<Duration>,
    /// Label -> template, inherited label by label.
    pub labels: BTreeMap<String, String>,
    /// Who is told as well when nobody has acknowledged.
    pub escalate: Option<Escalation>,
}

/// What keeps quiet about `target` while `source` fires.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InhibitRule {
    /// For people; may be empty.
    pub name: String,
    /// Alerts that are kept quiet.
    pub target_matchers: Vec<Matcher>,
    /// Alerts that do it.
    pub source_matchers: Vec<Matcher>,
    /// Labels in which both must agree.
    pub equal: Vec<String>,
}

/// Matchers as a configuration lists them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatcherList(pub Vec<Matcher>);

impl Value for MatcherList {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let lines = if node.is_scalar() && !node.is_null() { std::slice::from_ref(node) } else { node.items()? };
        for line in lines {
            self.0.extend(matcher_text::parse(line.text()?).map_err(|error| line.error(error.to_string()))?);
        }
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::List(self.0.iter().map(|matcher| Shown::Text(matcher_text::one_to_text(matcher))).collect())
    }
}

/// `match_re`: label -> pattern.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PatternMap(pub Vec<Matcher>);

impl Value for PatternMap {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        for (key, value) in node.entries()? {
            let name = key.text()?;
            if value.is_null() {
                return Err(value.error(format!("invalid regexp value for {name:?}")));
            }
            // Anchored in the text as Alertmanager does it: route keys hold the pattern.
            let pattern = format!("^(?:{})$", value.text()?);
            self.0.push(Matcher::new(MatchOp::Regex, name, pattern).map_err(|error| value.error(error.to_string()))?);
        }
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Map(self.0.iter().map(|matcher| (matcher.name().to_owned(), Shown::Text(matcher.value().to_owned()))).collect())
    }
}

/// Joins the three ways to write matchers, in Alertmanager's order.
fn all_matchers(equal: &BTreeMap<String, String>, patterns: PatternMap, list: MatcherList) -> Vec<Matcher> {
    let mut matchers: Vec<_> = equal.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
    matchers.extend(patterns.0);
    matchers.extend(list.0);
    matcher_text::sort(&mut matchers);
    matchers
}

impl Value for Route {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let mut keys = RouteKeys::default();
        keys.read(node)?;
        let group_by_all = keys.group_by.iter().any(|name| name == "...");
        let said = node.get("group_by").is_some_and(|value| !value.is_null());
        *self = Self {
            receiver: keys.receiver,
            group_by: (said && !group_by_all).then_some(keys.group_by),
            group_by_all,
            matchers: all_matchers(&keys.matching, keys.match_re, keys.matchers),
            mute_time_intervals: keys.mute_time_intervals,
            active_time_intervals: keys.active_time_intervals,
            continues: keys.continues,
            routes: keys.routes,
            group_wait: keys.group_wait,
            group_interval: keys.group_interval,
            repeat_interval: keys.repeat_interval,
            labels: keys.labels,
            escalate: keys.escalate,
        };
        Ok(())
    }

    fn show(&self) -> Shown {
        let keys = RouteKeys {
            receiver: self.receiver.clone(),
            group_by: if self.group_by_all { vec!["...".to_owned()] } else { self.group_by.clone().unwrap_or_default() },
            matchers: MatcherList(self.matchers.clone()),
            mute_time_intervals: self.mute_time_intervals.clone(),
            active_time_intervals: self.active_time_intervals.clone(),
            continues: self.continues,
            routes: self.routes.clone(),
            group_wait: self.group_wait,
            group_interval: self.group_interval,
            repeat_interval: self.repeat_interval,
            labels: self.labels.clone(),
            escalate: self.escalate.clone(),
            ..RouteKeys::default()
        };
        keys.show()
    }

    fn null_item() -> Option<String> {
        Some("empty or null route".to_owned())
    }
}

impl Value for InhibitRule {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let mut keys = InhibitKeys::default();
        keys.read(node)?;
        *self = Self {
            name: keys.name,
            target_matchers: all_matchers(&keys.target_match, keys.target_match_re, keys.target_matchers),
            source_matchers: all_matchers(&keys.source_match, keys.source_match_re, keys.source_matchers),
            equal: keys.equal,
        };
        Ok(())
    }

    fn show(&self) -> Shown {
        let keys = InhibitKeys {
            name: self.name.clone(),
            target_matchers: MatcherList(self.target_matchers.clone()),
            source_matchers: MatcherList(self.source_matchers.clone()),
            equal: self.equal.clone(),
            ..InhibitKeys::default()
        };
        keys.show()
    }

    fn null_item() -> Option<String> {
        Some("empty or null inhibit_rule".to_owned())
    }
}

fn check_escalation(config: &mut Escalation, node: &Node) -> Result<(), ConfigError> {
    if config.after.is_zero() {
        return Err(node.error_at("after", "escalate needs `after`, how long to wait for an acknowledgement"));
    }
    if config.receiver.is_empty() {
        return Err(node.error("escalate needs a receiver"));
    }
    Ok(())
}

fn check_heartbeat(config: &mut Heartbeat, node: &Node) -> Result<(), ConfigError> {
    if config.url.is_empty() && config.receiver.is_empty() {
        return Err(node.error("a heartbeat needs a url or a receiver"));
    }
    if config.interval < Duration::from_secs(1) {
        return Err(node.error_at("interval", "the interval of a heartbeat must be at least 1s"));
    }
    Ok(())
}

fn check_names<'a>(node: &Node, names: impl IntoIterator<Item = &'a String>) -> Result<(), ConfigError> {
    match names.into_iter().find(|name| name.is_empty()) {
        Some(name) => Err(node.error(format!("invalid label name {name:?}"))),
        None => Ok(()),
    }
}

fn check_inhibit(config: &mut InhibitKeys, node: &Node) -> Result<(), ConfigError> {
    check_names(node, config.source_match.keys().chain(config.target_match.keys()))?;
    check_names(node, &config.equal)
}

fn check_route(config: &mut RouteKeys, node: &Node) -> Result<(), ConfigError> {
    check_names(node, config.matching.keys())?;
    let mut seen = BTreeSet::new();
    for name in &config.group_by {
        if name == "..." && config.group_by.len() > 1 {
            let message = "cannot have wildcard group_by (`...`) and other labels at the same time";
            return Err(node.error_at("group_by", message));
        }
        if name.is_empty() {
            return Err(node.error_at("group_by", format!("invalid label name {name:?} in group_by list")));
        }
        if !seen.insert(name) {
            return Err(node.error_at("group_by", format!("duplicated label {name:?} in group_by")));
        }
    }
    if config.group_interval.is_some_and(|interval| interval.is_zero()) {
        return Err(node.error_at("group_interval", "group_interval cannot be zero"));
    }
    if config.repeat_interval.is_some_and(|interval| interval.is_zero()) {
        return Err(node.error_at("repeat_interval", "repeat_interval cannot be zero"));
    }
    match config.labels.keys().find(|name| !is_legacy_name(name)) {
        Some(name) => Err(node.error_at("labels", format!("{name:?} is not a valid label name"))),
        None => Ok(()),
    }
}

fn check_alertmanager(config: &mut AlertmanagerConfig, node: &Node) -> Result<(), ConfigError> {
    let mut receivers = BTreeSet::new();
    for (receiver, place) in config.receivers.iter_mut().zip(node.get("receivers").map_or(Ok(&[][..]), Node::items)?) {
        if !receivers.insert(receiver.name.clone()) {
            return Err(place.error(format!("notification config name {:?} is not unique", receiver.name)));
        }
        super::receivers::defaults::fill_in(receiver, &config.global, place)?;
    }
    for (heartbeat, place) in config.heartbeat.iter().zip(node.get("heartbeat").map_or(Ok(&[][..]), Node::items)?) {
        if !heartbeat.receiver.is_empty() && !receivers.contains(&heartbeat.receiver) {
            return Err(place.error_at("receiver", format!("undefined receiver {:?} used in heartbeat", heartbeat.receiver)));
        }
    }
    let Some(route) = &config.route else { return Err(node.error("no routes provided")) };
    let place = node.get("route").unwrap_or(node);
    if route.receiver.is_empty() {
        return Err(place.error("root route must specify a default receiver"));
    }
    if !route.matchers.is_empty() {
        return Err(place.error("root route must not have any matchers"));
    }
    if !route.mute_time_intervals.is_empty() {
        return Err(place.error("root route must not have any mute time intervals"));
    }
    if !route.active_time_intervals.is_empty() {
        return Err(place.error("root route must not have any active time intervals"));
    }
    if route.continues {
        return Err(place.error_at("continue", "cannot have continue in root route"));
    }
    let mut intervals = BTreeSet::new();
    let named = [("mute_time_intervals", "mute time interval", &config.mute_time_intervals)];
    for (key, what, list) in named.into_iter().chain([("time_intervals", "time interval", &config.time_intervals)]) {
        for interval in list {
            if !intervals.insert(interval.name.clone()) {
                return Err(node.error_at(key, format!("{what} {:?} is not unique", interval.name)));
            }
        }
    }
    check_references(route, place, &receivers, &intervals)
}

/// Refuses routes that name receivers or times that nobody defines.
fn check_references(
    route: &Route,
    node: &Node,
    receivers: &BTreeSet<String>,
    intervals: &BTreeSet<String>,
) -> Result<(), ConfigError> {
    let escalates = route.escalate.as_ref().map(|escalation| &escalation.receiver);
    for name in [Some(&route.receiver), escalates].into_iter().flatten() {
        if !name.is_empty() && !receivers.contains(name) {
            return Err(node.error_at("receiver", format!("undefined receiver {name:?} used in route")));
        }
    }
    for name in route.mute_time_intervals.iter().chain(&route.active_time_intervals) {
        if !intervals.contains(name) {
            return Err(node.error(format!("undefined time interval {name:?} used in route")));
        }
    }
    let places = node.get("routes").map_or(Ok(&[][..]), Node::items)?;
    for (child, place) in route.routes.iter().zip(places) {
        check_references(child, place, receivers, intervals)?;
    }
    Ok(())
}

impl AlertmanagerConfig {
    /// Writes the section as YAML, secrets hidden.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        self.show().to_yaml()
    }

    /// Returns what holds without an `alertmanager` section: everything goes to the outbox, after five seconds.
    #[must_use]
    pub fn outbox() -> Self {
        let email = EmailConfig {
            to: "operator@localhost".to_owned(),
            from: "watchkeeper@localhost".to_owned(),
            smarthost: Smarthost { host: OUTBOX.to_owned(), port: String::new() },
            hello: "localhost".to_owned(),
            require_tls: Some(false),
            send_resolved: true,
            ..EmailConfig::default()
        };
        let receiver = Receiver { name: OUTBOX.to_owned(), email_configs: vec![email], ..Receiver::default() };
        let route = Route {
            receiver: OUTBOX.to_owned(),
            group_by: Some(vec!["alertname".to_owned()]),
            group_wait: Some(Duration::from_secs(5)),
            ..Route::default()
        };
        Self { route: Some(route), receivers: vec![receiver], ..Self::default() }
    }
}
