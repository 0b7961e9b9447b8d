//! A mail server that refuses, stays silent, cuts, puts off and is slow; a disk that is full.

use super::scene::{REFUSED, Told, config, expire, exporter, mail, silence, started, want};
use crate::sim::mail::Ending;
use crate::sim::network::Weather;
use crate::sim::world::MAIL;
use std::time::Duration;

fn told(world: &crate::sim::world::World, to: &str) -> Vec<Told> {
    world.mails().iter().map(Told::of).filter(|told| told.to == to).collect()
}

#[tokio::test(start_paused = true)]
async fn what_fired_and_ended_while_mail_was_down_is_told_once() {
    for death in [false, true] {
        let mut world = started(1).await;
        world.internet.weather(MAIL, REFUSED);
        exporter(&world, 0).set("heat", 20.0);
        world.until(40.0).await;
        exporter(&world, 0).set("heat", 1.0);
        if death {
            world.until(60.0).await;
            world.kill().await;
            world.start().await;
        }
        world.until(200.0).await;
        want(&world, "ops", &[]);
        world.internet.weather(MAIL, Weather::default());
        world.until(400.0).await;
        if death {
            // What was going out goes out as it was, and only then what is known since.
            want(&world, "ops", &[(200.0, 212.0, "F:Kept one R:"), (200.0, 222.0, "F: R:Kept one")]);
            want(&world, "dev", &[(200.0, 212.0, "F:Kept one R:")]);
        } else {
            want(&world, "ops", &[(200.0, 212.0, "F: R:Kept one")]);
            want(&world, "dev", &[(200.0, 212.0, "F: R:Kept one")]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_ended_untold_is_not_forgotten_over_what_fires_meanwhile() {
    let world = started(9).await;
    world.internet.weather(MAIL, REFUSED);
    exporter(&world, 0).set("heat", 20.0);
    world.until(40.0).await;
    exporter(&world, 0).set("heat", 1.0);
    world.until(100.0).await;
    exporter(&world, 1).set("heat", 20.0);
    world.until(140.0).await;
    exporter(&world, 1).set("heat", 1.0);
    world.until(200.0).await;
    exporter(&world, 2).set("heat", 20.0);
    world.until(240.0).await;
    world.internet.weather(MAIL, Weather::default());
    world.until(300.0).await;
    for to in ["ops", "dev"] {
        want(&world, to, &[(240.0, 252.0, "F:Kept three R:Kept one,Kept two")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_greets_holds_nobody_up_for_long() {
    let world = started(2).await;
    mail(&world, |script| script.is_silent = true);
    exporter(&world, 0).set("heat", 20.0);
    world.until(100.0).await;
    want(&world, "ops", &[]);
    mail(&world, |script| script.is_silent = false);
    world.until(150.0).await;
    want(&world, "ops", &[(100.0, 122.0, "F:Kept one R:")]);
}

#[tokio::test(start_paused = true)]
async fn a_mail_that_was_taken_before_the_cut_comes_again_with_its_id() {
    let world = started(3).await;
    mail(&world, |script| script.endings = [Ending::Cut, Ending::Cut].into());
    exporter(&world, 0).set("heat", 20.0);
    world.until(100.0).await;
    for to in ["ops", "dev"] {
        let told = told(&world, to);
        assert_eq!((told.len(), &told[0].id), (2, &told[1].id), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mail_put_off_comes_once() {
    let world = started(4).await;
    mail(&world, |script| script.endings = vec![Ending::Answer("451 later"); 4].into());
    exporter(&world, 0).set("heat", 20.0);
    world.until(100.0).await;
    want(&world, "ops", &[(22.0, 36.0, "F:Kept one R:")]);
    want(&world, "dev", &[(22.0, 36.0, "F:Kept one R:")]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_recipient_does_not_keep_the_other_from_the_mail() {
    let world = started(5).await;
    world.configure(&config("alertname", "").replace("to: ops@example.org", "to: 'ops@example.org, bad@example.org'"));
    assert!(world.reload().await);
    mail(&world, |script| {
        script.recipients.insert("bad@example.org".to_owned(), vec!["550 no such user"; 99].into());
    });
    exporter(&world, 0).set("heat", 20.0);
    world.until(100.0).await;
    want(&world, "ops", &[(22.0, 34.0, "F:Kept one R:")]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_is_waited_for() {
    let world = started(6).await;
    mail(&world, |script| script.thinks = Duration::from_secs(8));
    exporter(&world, 0).set("heat", 20.0);
    world.until(100.0).await;
    want(&world, "ops", &[(30.0, 42.0, "F:Kept one R:")]);
    assert!(told(&world, "ops")[0].is_heard);
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_lose_no_mail() {
    let world = started(7).await;
    mail(&world, |script| script.thinks = Duration::from_secs(1));
    exporter(&world, 0).set("heat", 20.0);
    for _ in 0..160 {
        world.wait(0.1).await;
        world.internet.cut(MAIL);
    }
    mail(&world, |script| script.thinks = Duration::ZERO);
    world.internet.weather(MAIL, Weather { latency: Duration::from_millis(300), ..Weather::default() });
    world.until(100.0).await;
    want(&world, "ops", &[(36.0, 52.0, "F:Kept one R:")]);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_keeps_nobody_from_being_told() {
    let mut world = started(8).await;
    world.disk.set_room(Some(0));
    exporter(&world, 0).set("heat", 20.0);
    world.until(60.0).await;
    want(&world, "ops", &[(22.0, 33.0, "F:Kept one R:")]);
    // What was kept back for this day is for silences, too. Then it is used up.
    let id = silence(&world, "Queue", 60).await.expect("acknowledged");
    world.disk.set_room(Some(0));
    assert_eq!(silence(&world, "Kept", 60).await, None, "what cannot be kept is not acknowledged");
    world.disk.set_room(None);
    world.until(70.0).await;
    assert!(expire(&world, &id).await);
    exporter(&world, 0).set("heat", 1.0);
    world.until(130.0).await;
    world.kill().await;
    world.start().await;
    world.until(200.0).await;
    want(&world, "ops", &[(22.0, 33.0, "F:Kept one R:"), (100.0, 121.0, "F: R:Kept one")]);
}
