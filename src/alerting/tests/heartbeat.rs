//! Signs of life: given while all is well, withheld where it is not, neither doubled nor delayed by a restart.

use super::chat::Services;
use super::world::{World, config};
use crate::alerting::heartbeat::{self, Health, HeartbeatDeps};
use crate::alerting::history::RecordState;
use crate::env::tasks::TaskHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn start(world: &World, is_ill: &Arc<AtomicBool>) -> TaskHandle<()> {
    let is_ill = Arc::clone(is_ill);
    let deps = HeartbeatDeps {
        env: world.env.clone(),
        alerting: world.alerting.clone(),
        state: Arc::clone(&world.state),
        health: Health::new(
            move || if is_ill.load(Ordering::Relaxed) { vec!["the rules stand still".to_owned()] } else { Vec::new() },
        ),
        registry: world.registry.clone(),
    };
    world.env.tasks.spawn("heartbeat", heartbeat::run(deps, world.config.subscribe()))
}

#[tokio::test(start_paused = true)]
async fn a_url_hears_while_all_is_well() {
    let services = Services::default();
    let yaml = "route: {receiver: none}\nreceivers: [{name: none}]\nheartbeat: [{url: 'http://alive.example.org/ping/secret', interval: 1m}]\n";
    let world = World::start_in(config(yaml), Some(Arc::new(services.clone()))).await;
    let is_ill = Arc::new(AtomicBool::new(false));
    let beating = start(&world, &is_ill);
    let heard = || services.asked().len();
    world.until(1.0).await;
    assert_eq!((heard(), services.asked()[0].url.as_str()), (1, "alive.example.org:80/ping/secret"));
    assert_eq!(services.asked()[0].body["at"], "2023-11-14T22:13:20.000Z");
    world.until(185.0).await;
    assert_eq!(heard(), 4, "once a minute");
    is_ill.store(true, Ordering::Relaxed);
    world.until(400.0).await;
    assert_eq!(heard(), 4, "it would be a lie");
    is_ill.store(false, Ordering::Relaxed);
    world.until(431.0).await;
    assert_eq!(heard(), 5, "soon after all is well again");
    // Who refuses hears again soon; a standby says nothing.
    services.answer(500, "no");
    world.until(525.0).await;
    assert_eq!(heard(), 7);
    world.may_send.send_replace(false);
    world.until(700.0).await;
    assert_eq!(heard(), 7);
    // A restart neither doubles nor delays.
    world.may_send.send_replace(true);
    world.until(731.0).await;
    let before = heard();
    beating.abort();
    drop(start(&world, &is_ill));
    world.until(735.0).await;
    assert_eq!(heard(), before);
    world.until(800.0).await;
    assert_eq!(heard(), before + 1);
    let metrics = world.registry.snapshot();
    assert!(metrics.iter().any(|family| format!("{family:?}").contains("watchkeeper_heartbeats_total")));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_gets_a_mail_each_day() {
    let yaml = r"
global: {smtp_smarthost: 'mail.example.org:25', smtp_from: watch@example.org, smtp_require_tls: false}
route: {receiver: ops}
receivers: [{name: ops, email_configs: [{to: ops@example.org}]}]
heartbeat: [{receiver: ops, interval: 1d}]
";
    let world = World::start(config(yaml)).await;
    drop(start(&world, &Arc::new(AtomicBool::new(false))));
    world.until(90_000.0).await;
    world.want(&[(0.0, 1.0, &["WatchkeeperAlive"]), (86_400.0, 86_401.0, &["WatchkeeperAlive"])]);
    assert!(world.mail.taken()[0].text.contains("sign of life"));
    let view = world.alerting.view();
    assert_eq!((view.history.len(), view.history[0].state, view.history[0].why.as_str()), (2, RecordState::Sent, "sign of life"));
    assert!(view.alerts.is_empty() && view.log.is_empty() && view.groups.is_empty(), "it is no alert");
}
