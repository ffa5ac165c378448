//! The task of a pipeline against servers that behave as scripted.

use std::time::Duration;

use super::server::{Client, Script, ScriptedServer, attempts, code, config, counts, text};
use super::{Notice, Reason};
use crate::batch::Batch;
use crate::config::{Config, Replies, Retry, Transaction};
use crate::connection::state::Listening;
use crate::connection::state::peer::{batch, batch_within, values};
use crate::error::Error;

fn sets(tags: std::ops::Range<u64>) -> Batch {
    let commands: Vec<String> = tags.map(|tag| format!("SET key:{tag} {tag}")).collect();
    batch_within(1 << 16, &commands)
}

fn is_given_up(notice: &Notice) -> bool {
    matches!(notice, Notice::GivenUp(_))
}

#[tokio::test]
async fn a_load_goes_through_and_leaves_nothing_behind() {
    for (replies, transaction) in [
        (Replies::Check, Transaction::Off),
        (Replies::Collect, Transaction::Off),
        (Replies::Collect, Transaction::EachBatch),
    ] {
        let server = ScriptedServer::start(&[Script::Sound]).await;
        let mut client = Client::start(Config {
            replies,
            transaction,
            ..config(server.port)
        });
        for ticket in 0..50 {
            let tag = u64::from(ticket) * 4;
            let words = [format!("LPUSH a {tag}")];
            let mut commands: Vec<String> = (tag..tag + 3).map(|tag| format!("GETSET key {tag}")).collect();
            commands.extend(words);
            client.shared.execute(batch_within(1 << 16, &commands), Some(ticket));
        }
        client.shared.execute(Batch::default(), Some(50));
        for ticket in 0..50 {
            let (report, others) = client.report(ticket).await;
            assert_eq!((counts(&report), others.len()), ((3, 1, 0), 0));
            assert_eq!(report.outcome.failures[0].index, 3);
            let collected = if replies == Replies::Collect { 4 } else { 0 };
            assert_eq!(values(&report.replies).len(), collected);
        }
        assert_eq!(counts(&client.report(50).await.0), (0, 0, 0));
        assert_eq!((server.connections(), server.applied().len()), (1, 150));
        client.shared.idle(1);
        assert!(matches!(client.next().await, Notice::Settled { ticket: 1 }));
        let stats = client.shared.stats();
        assert_eq!((stats.totals.batches, stats.totals.outcome.commands), (50, 200));
        assert_eq!(
            (stats.queued_bytes, stats.in_flight_bytes, stats.connected),
            (0, 0, true)
        );
        assert_eq!(client.shared.budget.held(), 0);
    }
}

#[tokio::test]
async fn the_first_connection_is_tried_again() {
    let server = ScriptedServer::start(&[Script::HangsUp, Script::HangsUp, Script::Sound]).await;
    let mut client = Client::start(config(server.port));
    client.shared.execute(sets(0..5), Some(1));
    let (report, others) = client.report(1).await;
    assert_eq!((counts(&report), code(&report), others.len()), ((5, 0, 0), None, 0));
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn once_given_up_all_that_is_queued_rejects_and_the_next_execution_starts_afresh() {
    let mut scripts = vec![Script::HangsUp; 4];
    scripts.push(Script::Sound);
    let server = ScriptedServer::start(&scripts).await;
    let mut client = Client::start(config(server.port));
    client.shared.execute(sets(0..5), None);
    for ticket in 1..4 {
        client.shared.execute(sets(0..3), Some(ticket));
    }
    client.shared.drain(10);
    client.shared.idle(11);
    for ticket in 1..4 {
        let (report, _) = client.report(ticket).await;
        let failed = if ticket == 1 { 8 } else { 3 };
        assert_eq!(
            (counts(&report), code(&report)),
            ((0, failed, 0), Some("RESPIPE_CONNECT"))
        );
        assert_eq!(report.outcome.errors["RESPIPE_CONNECT"], failed);
        let last = report.outcome.failures.last().unwrap();
        assert_eq!((last.index, last.key.as_deref()), (failed - 1, Some(&b"key:2"[..])));
    }
    assert!(matches!(client.next().await, Notice::Settled { ticket: 11 }));
    assert_eq!((server.connections(), client.shared.budget.held()), (4, 0));

    client.shared.execute(sets(0..2), Some(9));
    let (report, _) = client.report(9).await;
    assert_eq!((counts(&report), code(&report)), ((2, 0, 0), None));
}

#[tokio::test]
async fn a_refused_login_is_not_tried_again() {
    let server = ScriptedServer::start(&[Script::WrongPass]).await;
    let mut client = Client::start(config(server.port));
    client.shared.execute(sets(0..2), Some(1));
    let (report, _) = client.report(1).await;
    assert_eq!((code(&report), server.connections()), (Some("RESPIPE_AUTH"), 1));
}

#[tokio::test]
async fn a_lost_connection_leaves_some_unknown_and_the_rest_goes_on() {
    let server = ScriptedServer::start(&[Script::Answers(30), Script::Sound]).await;
    let mut client = Client::start(Config {
        replies: Replies::Collect,
        max_in_flight: 400,
        ..config(server.port)
    });
    for ticket in 0..10 {
        client.shared.execute(
            sets(ticket * 10..ticket * 10 + 10),
            Some(u32::try_from(ticket).unwrap()),
        );
    }
    let (mut acknowledged, mut unknown, mut reconnected) = (0, 0, 0);
    for ticket in 0..10 {
        let (report, others) = client.report(ticket).await;
        assert_eq!((code(&report), values(&report.replies).len()), (None, 10));
        assert_eq!(report.outcome.failed, 0);
        acknowledged += report.outcome.succeeded;
        unknown += report.outcome.unknown;
        reconnected += others.len();
        assert!(others.iter().all(|notice| matches!(notice, Notice::Reconnected { .. })));
    }
    let applied = server.applied().len() as u64;
    assert!(acknowledged <= applied && applied <= acknowledged + unknown);
    assert_eq!((acknowledged + unknown, reconnected), (100, 1));
    assert_eq!(
        (client.shared.stats().totals.reconnects, client.shared.budget.held()),
        (1, 0)
    );
}

#[tokio::test]
async fn without_attempts_a_lost_connection_rejects_at_once() {
    let server = ScriptedServer::start(&[Script::Answers(2), Script::Sound]).await;
    let mut client = Client::start(attempts(0, config(server.port)));
    client.shared.execute(sets(0..5), Some(1));
    client.shared.execute(sets(5..7), Some(2));
    for (ticket, known, told) in [(1, 2, 1), (2, 0, 0)] {
        let (report, others) = client.report(ticket).await;
        assert_eq!(code(&report), Some("RESPIPE_CONNECTION_LOST"));
        assert_eq!(report.outcome.succeeded, known);
        assert_eq!(others.iter().filter(|notice| is_given_up(notice)).count(), told);
    }
    client.shared.execute(sets(7..9), Some(3));
    let (report, others) = client.report(3).await;
    assert_eq!((counts(&report), others.len(), server.connections()), ((2, 0, 0), 1, 2));
    assert_eq!(client.shared.budget.held(), 0);
}

#[tokio::test]
async fn a_connection_that_ends_idle_is_replaced_silently() {
    // Two commands and their fence, and then the end.
    let server = ScriptedServer::start(&[Script::Ends(3)]).await;
    let mut client = Client::start(attempts(0, config(server.port)));
    for round in 0..5 {
        client.shared.execute(sets(round * 2..round * 2 + 2), Some(1));
        let (report, others) = client.report(1).await;
        assert_eq!((counts(&report), code(&report)), ((2, 0, 0), None));
        assert!(others.iter().all(|notice| matches!(notice, Notice::Reconnected { .. })));
        while client.shared.stats().connected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!((server.connections(), client.pending().len()), (5, 0));
}

#[tokio::test]
async fn automatic_batches_are_told_by_the_next_report() {
    let server = ScriptedServer::start(&[Script::Sound]).await;
    let mut client = Client::start(Config {
        replies: Replies::Collect,
        ..config(server.port)
    });
    for _ in 0..3 {
        client.shared.execute(batch(&["SET a 1", "LPUSH b 2"]), None);
    }
    client.shared.idle(7);
    assert!(matches!(client.next().await, Notice::Settled { ticket: 7 }));
    assert!(client.shared.budget.held() > 0, "their replies are kept");
    client.shared.execute(batch(&["LPUSH c 3"]), Some(1));
    client.shared.execute(batch(&["LPUSH d 4"]), Some(2));
    let (report, _) = client.report(1).await;
    assert_eq!((counts(&report), values(&report.replies).len()), ((3, 4, 0), 7));
    let indices: Vec<u64> = report.outcome.failures.iter().map(|failure| failure.index).collect();
    assert_eq!(indices, [1, 3, 5, 6]);
    let (report, _) = client.report(2).await;
    assert_eq!((counts(&report), report.outcome.failures[0].index), ((0, 1, 0), 0));
    client.shared.idle(8);
    assert!(matches!(client.next().await, Notice::Settled { ticket: 8 }));
    assert_eq!(client.shared.budget.held(), 0);
}

#[tokio::test]
async fn automatic_batches_that_are_given_up_are_told_at_once() {
    let server = ScriptedServer::start(&[Script::Mute, Script::Sound]).await;
    let mut client = Client::start(Config {
        stall_timeout: Duration::from_millis(30),
        ..attempts(0, config(server.port))
    });
    client.shared.execute(sets(0..3), None);
    assert!(is_given_up(&client.next().await));
    let Notice::Unreported { error, outcome } = client.next().await else {
        panic!("something else came second");
    };
    assert_eq!((error.code(), outcome.unknown), ("RESPIPE_STALLED", 3));
    assert_eq!(client.shared.budget.held(), 0);
    client.shared.execute(sets(3..5), Some(1));
    let (report, _) = client.report(1).await;
    assert_eq!((counts(&report), code(&report)), ((2, 0, 3), Some("RESPIPE_STALLED")));
}

#[tokio::test]
async fn queueing_without_ever_executing_is_no_progress() {
    // MULTI and one command are answered, again and again.
    let server = ScriptedServer::start(&[Script::Answers(2)]).await;
    let mut client = Client::start(Config {
        transaction: Transaction::EachBatch,
        // So that no EXEC is written before the end.
        max_in_flight: 70,
        ..attempts(3, config(server.port))
    });
    client.shared.execute(
        batch_within(70, &["SET a 1".into(), "SET b 2".into(), "SET c 3".into()]),
        Some(1),
    );
    let (report, _) = client.report(1).await;
    assert_eq!(
        (counts(&report), code(&report)),
        ((0, 3, 0), Some("RESPIPE_CONNECTION_LOST"))
    );
    assert_eq!((server.connections(), server.applied().len()), (4, 0));
}

#[tokio::test]
async fn a_protocol_error_rejects_and_takes_back_what_was_said() {
    for says in [
        b"?\r\n".as_slice(),
        b"+OK\r\n+OK\r\n",
        b"+OK\r\n",
        b"$3\r\nabc\r\n$5\r\nab\r\n\r\n",
    ] {
        for transaction in [Transaction::Off, Transaction::EachBatch] {
            let server = ScriptedServer::start(&[Script::Says(says)]).await;
            let mut client = Client::start(Config {
                replies: Replies::Collect,
                transaction,
                ..config(server.port)
            });
            client.shared.execute(sets(0..3), Some(1));
            let (report, others) = client.report(1).await;
            assert!(others.iter().any(is_given_up), "told before the report");
            assert_eq!(code(&report), Some("RESPIPE_PROTOCOL"), "{says:?}");
            let (succeeded, _, _) = counts(&report);
            assert_eq!((succeeded, values(&report.replies).len()), (0, 3));
            assert_eq!((client.shared.budget.held(), server.connections()), (0, 1));
        }
    }
}

#[tokio::test]
async fn a_stop_ends_everything_at_once_wherever_it_comes() {
    let long = Retry {
        min_delay: Duration::from_secs(1000),
        max_delay: Duration::from_secs(1000),
        ..config(1).retry
    };
    for script in [Script::Silent, Script::HangsUp, Script::Mute, Script::Sound] {
        let server = ScriptedServer::start(&[script]).await;
        let mut client = Client::start(Config {
            retry: long.clone(),
            replies: Replies::Collect,
            ..config(server.port)
        });
        let shared = client.shared.clone();
        if matches!(script, Script::Sound) {
            shared.execute(sets(0..3), Some(1));
            client.report(1).await;
        } else {
            shared.execute(sets(0..100), None);
            shared.execute(sets(0..2000), Some(1));
            shared.drain(2);
            shared.idle(3);
            // Let it come as far as it comes.
            while server.connections() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        shared.stop(Error::Closed);
        shared.stop(Error::Aborted);
        client.ended().await;
        if !matches!(script, Script::Sound) {
            let (report, others) = client.report(1).await;
            assert_eq!((code(&report), report.outcome.commands), (Some("RESPIPE_CLOSED"), 2100));
            assert_eq!((counts(&report).0, values(&report.replies).len()), (0, 2100));
            assert!(others.is_empty(), "{others:?}");
            for ticket in [2, 3] {
                assert!(matches!(client.next().await, Notice::Settled { ticket: settled } if settled == ticket));
            }
        }
        assert!(client.pending().is_empty(), "a stop is nothing that was given up");
        // Nobody is there any more, and yet everybody hears.
        shared.drain(4);
        shared.idle(5);
        shared.execute(sets(0..2), Some(6));
        shared.execute(sets(0..2), None);
        shared.execute(Batch::default(), Some(7));
        shared.idle(8);
        for ticket in [4, 5] {
            assert!(matches!(client.next().await, Notice::Settled { ticket: settled } if settled == ticket));
        }
        let (report, _) = client.report(6).await;
        assert_eq!((counts(&report), code(&report)), ((0, 2, 0), Some("RESPIPE_CLOSED")));
        assert_eq!(
            (client.report(7).await.0.outcome.commands, shared.budget.held()),
            (0, 0)
        );
        assert!(matches!(client.next().await, Notice::Settled { ticket: 8 }));
    }
}

#[tokio::test]
async fn a_stop_forgets_replies_that_nobody_will_ask_for() {
    let server = ScriptedServer::start(&[Script::Sound]).await;
    let mut client = Client::start(Config {
        replies: Replies::Collect,
        ..config(server.port)
    });
    client.shared.execute(sets(0..3), None);
    client.shared.idle(1);
    client.next().await;
    assert!(client.shared.budget.held() > 0);
    client.shared.stop(Error::Closed);
    client.ended().await;
    assert_eq!(client.shared.budget.held(), 0);
}

#[tokio::test]
async fn when_the_task_breaks_down_everybody_hears() {
    let server = ScriptedServer::start(&[Script::Mute]).await;
    let mut client = Client::start(config(server.port));
    let shared = client.shared.clone();
    shared.execute(sets(0..3), Some(1));
    shared.idle(2);
    shared.broken("it fell over");
    assert!(matches!(client.next().await, Notice::Broken(_)));
    assert!(matches!(client.next().await, Notice::Settled { ticket: 2 }));
    shared.execute(sets(0..3), Some(3));
    shared.drain(4);
    let (report, _) = client.report(3).await;
    assert_eq!((counts(&report), code(&report)), ((0, 3, 0), Some("RESPIPE_INTERNAL")));
    assert!(matches!(client.next().await, Notice::Settled { ticket: 4 }));
}

#[tokio::test]
async fn who_listens_hears_of_every_failure_before_the_report() {
    let server = ScriptedServer::start(&[Script::Sound]).await;
    let mut client = Client::start(Config {
        max_failures: 2,
        ..config(server.port)
    });
    client.shared.listen(Listening::Yes);
    client.shared.execute(batch(&["LPUSH a 1"; 10]), Some(1));
    let (mut heard, mut report) = (Vec::new(), None);
    while report.is_none() || heard.len() < 10 {
        match client.next().await {
            Notice::Failed(failure) => heard.push(failure.index),
            Notice::Executed { report: told, .. } => report = Some(told),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, (0..10).collect::<Vec<_>>());
    assert_eq!(report.unwrap().outcome.failures.len(), 2);
    assert_eq!(client.shared.budget.held(), 0);
}

#[tokio::test]
async fn a_server_that_keeps_hanging_up_loses_nothing_unaccounted() {
    let scripts: Vec<Script> = (0..60)
        .map(|at| Script::Answers(at * 7 % 23))
        .chain([Script::Sound])
        .collect();
    for transaction in [Transaction::Off, Transaction::EachBatch] {
        let server = ScriptedServer::start(&scripts).await;
        let mut client = Client::start(Config {
            replies: Replies::Collect,
            transaction,
            max_in_flight: 300,
            ..config(server.port)
        });
        for ticket in 0..100_u32 {
            let tag = u64::from(ticket) * 5;
            client.shared.execute(sets(tag..tag + 5), Some(ticket));
        }
        let mut known = Vec::new();
        for ticket in 0..100 {
            let (report, _) = client.report(ticket).await;
            assert_eq!(code(&report), None);
            known.extend(values(&report.replies).iter().map(text));
        }
        let applied = server.applied();
        assert!(
            applied.is_sorted_by(|one, next| one < next),
            "each at most once, and in order"
        );
        for (tag, reply) in (0_u64..).zip(&known) {
            let done = applied.binary_search(&tag).is_ok();
            assert!(done || reply.starts_with("RESPIPE_CONNECTION_LOST"), "{tag} {reply}");
        }
        assert_eq!((known.len(), client.shared.budget.held()), (500, 0));
    }
}

#[tokio::test]
async fn who_listens_hears_of_what_is_executed_behind_the_end() {
    let mut client = Client::start(config(1));
    client.shared.listen(Listening::Yes);
    client.shared.stop(Error::Closed);
    client.ended().await;
    client.shared.execute(sets(0..2), Some(1));
    let (report, others) = client.report(1).await;
    let told = others.iter().filter(|notice| matches!(notice, Notice::Failed(_)));
    assert_eq!((counts(&report), told.count()), ((0, 2, 0), 2));
    assert_eq!(client.shared.budget.held(), 0);
}

#[tokio::test]
async fn connections_change_after_so_many_batches_and_nothing_is_lost() {
    for transaction in [Transaction::Off, Transaction::EachBatch] {
        let server = ScriptedServer::start(&[Script::Sound]).await;
        let mut client = Client::start(Config {
            reconnect_every: 3,
            transaction,
            ..config(server.port)
        });
        let mut rotations = 0;
        let rotation = |notice: &Notice| {
            matches!(
                notice,
                Notice::Reconnected {
                    reason: Reason::Rotation,
                    ..
                }
            )
        };
        for ticket in 1..=30 {
            client.shared.execute(sets(0..20), Some(ticket));
        }
        for ticket in 1..=30 {
            let (report, others) = client.report(ticket).await;
            assert_eq!((counts(&report), code(&report)), ((20, 0, 0), None));
            rotations += others.iter().filter(|notice| rotation(notice)).count();
        }
        // The tenth connection has had its share as well: the eleventh stands ready.
        assert!(rotation(&client.next().await));
        assert_eq!((rotations, server.connections(), server.applied().len()), (9, 11, 600));
        let stats = client.shared.stats();
        assert_eq!((stats.totals.reconnects, stats.totals.resent), (10, 0));
        assert_eq!((stats.connected, client.shared.budget.held()), (true, 0));
    }
}

#[tokio::test]
async fn a_standby_that_is_no_good_is_replaced_by_the_ordinary_way() {
    // The second connection refuses, the third hangs up after its login.
    let scripts = [Script::Sound, Script::HangsUp, Script::Answers(0), Script::Sound];
    let server = ScriptedServer::start(&scripts).await;
    let mut client = Client::start(Config {
        reconnect_every: 2,
        ..config(server.port)
    });
    for ticket in 1..=6 {
        client.shared.execute(sets(0..5), Some(ticket));
        let (report, _) = client.report(ticket).await;
        let (succeeded, failed, unknown) = counts(&report);
        assert_eq!((succeeded + unknown, failed, code(&report)), (5, 0, None));
    }
    assert!(server.connections() >= 4);
    assert_eq!(client.shared.budget.held(), 0);
}
