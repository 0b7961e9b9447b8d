//! Two servers that act as one, on real parts: whatever happens to one of them or to ZooKeeper, people are told, and told once; what
//! cannot but be told twice has the same Message-ID.

use crate::support::ensemble::{Ensemble, SERVERS};
use crate::support::exporters::Application;
use crate::support::mail::{MailServer, header};
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::zookeeper::OtherClient;
use crate::support::{Scratch, free_port, http, wait_for, wait_until};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

const BOUND: Duration = Duration::from_secs(40);
const SESSION: Duration = Duration::from_secs(4);
const GROUP_WAIT: Duration = Duration::from_secs(4);
/// How long nothing more must come: longer than a group's interval.
const QUIET: Duration = Duration::from_secs(3);
/// Each length is an alert of its own: one that goes on and off would be told less often.
const RULES: &str = "groups:
- name: queues
  interval: 500ms
  rules:
  - {alert: QueueLong, expr: app_queue_length > 10, labels: {length: '{{ $value }}'}}
";
const ROLE: &str = "/api/watchkeeper/v1/cluster/role";

/// Two servers with an exporter and a mail server of their own, in a chroot of their own.
struct Pair {
    servers: [Server; 2],
    /// In front of the ensemble, for each of them.
    proxies: [Vec<Proxy>; 2],
    application: Application,
    mail: MailServer,
    /// How many alerts fired so far.
    fired: Cell<u32>,
    _scratch: Scratch,
}

/// Puts all away and back.
fn each(proxies: &[Proxy], act: impl Fn(&Proxy)) {
    proxies.iter().for_each(act);
}

impl Pair {
    /// Starts them one after the other: the first leads.
    fn start(name: &str, ensemble: &Ensemble, secrets: Option<[&str; 2]>) -> Self {
        let scratch = Scratch::new(name);
        let (application, mail) = (Application::start(&scratch), MailServer::start(&scratch));
        OtherClient::connect(format!("{}/{name}", ensemble.direct())).put("/watchkeeper/rules/queues.yml", RULES.as_bytes());
        let proxies = [(); 2].map(|()| (0..SERVERS).map(|place| Proxy::start(ensemble.address(place))).collect::<Vec<_>>());
        let started = ["a", "b"].map(|id| {
            let place = usize::from(id == "b");
            let address = format!("127.0.0.1:{}", free_port());
            let secret = secrets.map_or(String::new(), |secrets| {
                let file = scratch.write(&format!("{id}/secret"), secrets[place]);
                format!(", secret_file: {}", file.display())
            });
            let connect = proxies[place].iter().map(Proxy::address).collect::<Vec<_>>().join(",");
            let config = format!(
                "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}
scrape_configs: [{{job_name: app, static_configs: [{{targets: ['127.0.0.1:{application}']}}]}}]
zookeeper: {{connect: '{connect}/{name}', session_timeout: 4s}}
cluster: {{name: {id}, advertise: '{address}'{secret}}}
alertmanager:
  global: {{smtp_smarthost: '127.0.0.1:{mail}', smtp_from: watchkeeper@example.org, smtp_auth_username: wk, smtp_auth_password: secret}}
  route: {{receiver: ops, group_by: [alertname, length], group_wait: 4s, group_interval: 2s, repeat_interval: 4h}}
  receivers: [{{name: ops, email_configs: [{{to: ops@example.org, send_resolved: true, tls_config: {{ca_file: {ca}}}}}]}}]
",
                application = application.port,
                mail = mail.port,
                ca = mail.ca_file().display(),
            );
            let config = scratch.write(&format!("{id}/watchkeeper.yml"), &config);
            let folder = config.parent().unwrap();
            let server = Server::start_at(&address, &folder.join("data"), Some(&config), &folder.join("watchkeeper.log"));
            let wanted = ["leader", "standby"][place];
            wait_until(&format!("{id} of {name} to be {wanted}"), BOUND, || {
                role(&server) == wanted && zookeeper(&server)["connected"] == true
            });
            server
        });
        let pair = Self { servers: started, proxies, application, mail, fired: Cell::new(0), _scratch: scratch };
        pair.settled(0);
        pair
    }

    /// Waits until one leads, the other stands by, and they know each other.
    fn settled(&self, leader: usize) {
        let id = |place: usize| if place == 0 { "a" } else { "b" };
        wait_until(&format!("{} to lead and the other to stand by", id(leader)), BOUND, || {
            [0, 1].iter().all(|place| {
                let view = zookeeper(&self.servers[*place]);
                let members: BTreeSet<(String, String)> = view["members"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|member| (text(&member["id"]), text(&member["role"])))
                    .collect();
                let wanted = [0, 1].map(|of| (id(of).to_owned(), if of == leader { "leader" } else { "standby" }.to_owned()));
                view["role"] == wanted[*place].1 && view["leader"] == id(leader) && members == BTreeSet::from(wanted)
            })
        });
        let began = Instant::now();
        // What was just seen is remembered with the next confirmation, a sixth of the session later at most.
        wait_until("them to remember each other", BOUND, || began.elapsed() > SESSION / 4);
    }

    /// Makes an alert fire; returns when each of them saw it.
    fn fire(&self) -> [SystemTime; 2] {
        self.fired.set(self.fired.get() + 1);
        let length = 10 + self.fired.get();
        self.application.set_queue_length(f64::from(length));
        let mut seen = [None, None];
        wait_for("both to see the alert", BOUND, || {
            for (seen, server) in seen.iter_mut().zip(&self.servers) {
                if seen.is_none() && sees(server, length) {
                    *seen = Some(SystemTime::now());
                }
            }
            Some([seen[0]?, seen[1]?])
        })
    }

    /// Ends the alert and waits for the one mail that says so.
    fn end(&self, mails_before: usize) {
        self.application.set_queue_length(1.0);
        let mails = self.wait_mails(mails_before + 1);
        assert!(header(mails.last().unwrap(), "subject").contains("RESOLVED"), "{mails:?}");
        self.nothing_more(mails_before + 1);
    }

    fn wait_mails(&self, count: usize) -> Vec<String> {
        wait_for(&format!("mail {count}"), BOUND, || Some(self.mail.mails()).filter(|mails| mails.len() >= count))
    }

    /// Only so many mails came, and none more comes.
    fn nothing_more(&self, count: usize) {
        let began = Instant::now();
        wait_until("silence", BOUND, || {
            let mails = self.mail.mails();
            assert_eq!(mails.len(), count, "{:?}", mails.iter().map(|mail| header(mail, "message-id")).collect::<Vec<_>>());
            began.elapsed() > QUIET
        });
    }

    /// When the mail of this number came, after `since`.
    fn came_after(&self, number: usize, since: SystemTime) -> f64 {
        let came = self.mail.came_at(number);
        came.duration_since(since).map_or_else(|early| -early.duration().as_secs_f64(), |late| late.as_secs_f64())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn zookeeper(server: &Server) -> Value {
    server.get("/api/watchkeeper/v1/zookeeper").json()["data"].clone()
}

fn role(server: &Server) -> String {
    text(&zookeeper(server)["role"])
}

fn tells(server: &Server) -> bool {
    matches!(role(server).as_str(), "leader" | "acting")
}

fn alerts(server: &Server) -> Vec<Value> {
    server.get("/api/v2/alerts").json().as_array().cloned().unwrap_or_default()
}

fn sees(server: &Server, length: u32) -> bool {
    let length = length.to_string();
    alerts(server).iter().any(|alert| alert["labels"]["length"] == *length)
}

#[test]
fn two_servers_tell_people_once_whatever_happens() {
    let scratch = Scratch::new("cluster");
    let mut ensemble = Ensemble::start(&scratch);
    let ensemble_ref = &ensemble;
    let cut_off = std::thread::scope(|scope| {
        let lane = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let stops = lane("stops").spawn_scoped(scope, || the_leader_stops_and_the_next_one_is_killed(ensemble_ref)).unwrap();
        let stands =
            lane("stands still").spawn_scoped(scope, || the_leader_stands_still_or_dies_within_a_mail(ensemble_ref)).unwrap();
        let cut = lane("cut off").spawn_scoped(scope, || silences_hold_and_a_leader_is_cut_off(ensemble_ref)).unwrap();
        let cut_off = cut.join();
        stands.join().unwrap();
        stops.join().unwrap();
        cut_off.unwrap()
    });
    a_follower_is_cut_off_with_the_leader(&ensemble, &cut_off);
    let strangers = Pair::start("strangers", &ensemble, Some(["one secret", "another"]));
    zookeeper_is_down(&mut ensemble, &cut_off, &strangers);
}

/// In good order, then not.
fn the_leader_stops_and_the_next_one_is_killed(ensemble: &Ensemble) {
    let mut pair = Pair::start("stops", ensemble, None);
    // Just before the mail is due.
    let [_, seen] = pair.fire();
    let due = seen + GROUP_WAIT;
    wait_until("the mail to be nearly due", BOUND, || SystemTime::now() + Duration::from_millis(300) >= due);
    let stop = SystemTime::now();
    pair.servers[0].process.signal("TERM");
    wait_until("the other to lead", BOUND, || role(&pair.servers[1]) == "leader");
    let leads = stop.elapsed().unwrap().as_secs_f64();
    pair.wait_mails(1);
    let (after_stop, after_due) = (pair.came_after(1, stop), pair.came_after(1, due));
    let status = pair.servers[0].process.wait(BOUND);
    println!(
        "(a) clean stop: the other leads {leads:.2} s after SIGTERM; the mail came {after_stop:.2} s after SIGTERM, {after_due:.2} s after it was due; {status}"
    );
    assert!(leads < 1.0, "the other led only after {leads} s");
    // Half a second of it is the mail itself, with its chart, in an unoptimised build.
    assert!(after_stop.min(after_due) < 2.0, "{after_stop} s after the stop, {after_due} s after it was due");
    pair.nothing_more(1);
    pair.end(1);

    // The other leads now. It is killed with a mail pending.
    pair.servers[0].kill_and_restart();
    pair.settled(1);
    pair.fire();
    let killed = SystemTime::now();
    pair.servers[1].process.kill();
    pair.wait_mails(3);
    let took = pair.came_after(3, killed);
    println!("(b) kill -9 with a mail pending: the mail came {took:.2} s after it");
    assert!(took <= (SESSION + GROUP_WAIT).as_secs_f64(), "{took} s after the kill");
    pair.nothing_more(3);
    pair.servers[1].kill_and_restart();
    pair.settled(0);
    pair.end(3);
}

/// A leader that slept thinks that it still leads; one that dies before the mail server's 250 cannot know whether it was taken.
fn the_leader_stands_still_or_dies_within_a_mail(ensemble: &Ensemble) {
    let mut pair = Pair::start("stands", ensemble, Some(["the members' secret"; 2]));
    pair.fire();
    let paused = SystemTime::now();
    pair.servers[0].process.signal("STOP");
    pair.wait_mails(1);
    println!("(c) SIGSTOP with a mail pending: the other's mail came {:.2} s after it", pair.came_after(1, paused));
    pair.servers[0].process.signal("CONT");
    pair.settled(1);
    pair.nothing_more(1);
    pair.end(1);

    pair.mail.hold(true);
    pair.fire();
    pair.wait_mails(3);
    let killed = SystemTime::now();
    pair.servers[1].process.kill();
    pair.mail.hold(false);
    let mails = pair.wait_mails(4);
    println!("(d) kill -9 before the mail server's 250: the other's mail came {:.2} s after it", pair.came_after(4, killed));
    let ids = [2, 3].map(|number: usize| header(&mails[number], "message-id"));
    assert!(!ids[0].is_empty() && ids[0] == ids[1], "{ids:?}");
    assert_eq!(header(&mails[2], "subject"), header(&mails[3], "subject"));
    pair.nothing_more(4);
    pair.end(4);
}

fn silences_hold_and_a_leader_is_cut_off(ensemble: &Ensemble) -> Pair {
    let pair = Pair::start("cut", ensemble, Some(["the members' secret"; 2]));

    // Somebody tidies up what looks empty.
    let other = OtherClient::connect(format!("{}/cut", ensemble.direct()));
    other.delete("/watchkeeper/silences");
    other.delete("/watchkeeper/notified");

    // A silence that the standby took holds on the leader.
    let now = jiff::Timestamp::now();
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "QueueLong", "isRegex": false, "isEqual": true}],
        "startsAt": now.to_string(), "endsAt": (now + Duration::from_secs(3600)).to_string(), "createdBy": "li", "comment": "known",
    });
    let made = pair.servers[1].post("/api/v2/silences", "application/json", silence.to_string().as_bytes());
    assert_eq!(made.status, 200, "{}", made.body);
    let id = text(&made.json()["silenceID"]);
    let is_there = |server: &Server| {
        let silences = server.get("/api/v2/silences").json();
        silences.as_array().is_some_and(|all| all.iter().any(|one| one["id"] == *id && one["status"]["state"] == "active"))
    };
    wait_until("the leader to know the silence", Duration::from_secs(2), || is_there(&pair.servers[0]));
    let [seen, _] = pair.fire();
    wait_until("the group's time to pass", BOUND, || SystemTime::now() > seen + GROUP_WAIT + Duration::from_secs(2));
    assert_eq!(pair.mail.mails().len(), 0);
    assert!(alerts(&pair.servers[0]).iter().all(|alert| alert["status"]["state"] == "suppressed"));
    let gone = http::request(&pair.servers[1].address, "DELETE", &format!("/api/v2/silence/{id}"), &[], &[]).unwrap();
    assert_eq!(gone.status, 200, "{}", gone.body);
    pair.wait_mails(1);
    assert!(other.get("/watchkeeper/notified").is_some(), "it went out without a word to the others");
    pair.end(1);

    // Nobody else is told who leads.
    assert_eq!(pair.servers.each_ref().map(|server| server.get(ROLE).status), [403, 403]);

    // The leader alone is cut off from ZooKeeper, and both see each other.
    let cut = Instant::now();
    each(&pair.proxies[0], Proxy::cut);
    wait_until("the other to lead", BOUND, || {
        let both = pair.servers.each_ref().map(tells);
        assert_ne!(both, [true, true], "both tell people {:?} after the cut", cut.elapsed());
        both[1]
    });
    println!("(f) cut off from ZooKeeper: the other leads {:.2} s after it", cut.elapsed().as_secs_f64());
    wait_until("the first to know of it", BOUND, || text(&zookeeper(&pair.servers[0])["roleWhy"]) == "ZooKeeper answers b");
    pair.fire();
    pair.wait_mails(3);
    pair.nothing_more(3);
    each(&pair.proxies[0], Proxy::heal);
    pair.settled(1);
    pair.end(3);
    pair
}

/// What the leader reads of its server still looks right, but the quorum does not know of it.
fn a_follower_is_cut_off_with_the_leader(ensemble: &Ensemble, pair: &Pair) {
    let before = pair.mail.mails().len();
    let follower = Ensemble::others(ensemble.leader())[0];
    for place in Ensemble::others(follower) {
        pair.proxies[1][place].cut();
    }
    pair.settled(1);
    let cut = Instant::now();
    ensemble.isolate(follower);
    wait_until("the other to lead", BOUND, || {
        let both = pair.servers.each_ref().map(tells);
        assert_ne!(both, [true, true], "both tell people {:?} after the cut", cut.elapsed());
        both[0]
    });
    println!("(f) cut off together with its follower: the other leads {:.2} s after it", cut.elapsed().as_secs_f64());
    pair.fire();
    pair.wait_mails(before + 1);
    pair.nothing_more(before + 1);
    ensemble.rejoin(follower);
    each(&pair.proxies[1], Proxy::heal);
    ensemble.leader();
    pair.settled(0);
    pair.end(before + 1);
}

/// Whoever led last goes on. Who does not believe the other goes on as well: rather two mails than none.
fn zookeeper_is_down(ensemble: &mut Ensemble, pair: &Pair, strangers: &Pair) {
    let before = pair.mail.mails().len();
    ensemble.kill_all();
    let down = Instant::now();
    wait_until("the last leader to go on", BOUND, || role(&pair.servers[0]) == "acting");
    println!("(e) ZooKeeper is down: the last leader goes on {:.2} s after it", down.elapsed().as_secs_f64());
    pair.fire();
    strangers.fire();
    let mails = pair.wait_mails(before + 1);
    assert!(header(mails.last().unwrap(), "subject").contains("FIRING"), "{mails:?}");
    wait_until("who has another secret to be nobody", BOUND, || strangers.servers.iter().all(|server| role(server) == "acting"));
    assert_eq!(strangers.servers.each_ref().map(|server| server.get(ROLE).status), [403, 403]);
    let why = strangers.servers.each_ref().map(|server| text(&zookeeper(server)["roleWhy"]));
    assert_eq!(why, ["no other member answers", "no other member answers"]);
    strangers.wait_mails(2);
    assert_eq!(pair.servers.each_ref().map(role), ["acting", "standby"]);
    pair.nothing_more(before + 1);
    ensemble.start_all();
    wait_until("one of them to lead again", BOUND, || {
        let both = pair.servers.each_ref().map(role);
        both.contains(&"leader".to_owned()) && both.contains(&"standby".to_owned())
    });
    pair.nothing_more(before + 1);
    pair.end(before + 1);
}
