//! One command and its reply, on a connection of its own, beside the load.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connect::{Before, connect};
use super::{Notice, Shared};
use crate::connection::link::Link;
use crate::error::Error;
use crate::retry::Backoff;

/// The connection for looking. Opened by the first question; questions take turns.
#[derive(Debug, Default)]
pub struct Looker {
    link: Mutex<Option<Link>>,
}

impl Looker {
    /// Asks, and notifies of the answer under `ticket`.
    pub async fn ask(&self, shared: Arc<Shared>, ticket: u32, request: Vec<u8>) {
        let reply = tokio::select! {
            biased;
            error = shared.stop_signal() => Err(error),
            reply = self.answer(&shared, &request) => reply,
        };
        if let Ok(reply) = &reply {
            shared.budget.keep(reply.len().cast_signed());
        }
        shared.listener.notify(Notice::Queried { ticket, reply });
    }

    async fn answer(&self, shared: &Shared, request: &[u8]) -> Result<Vec<u8>, Error> {
        let mut kept = self.link.lock().await;
        // A connection that was idle may have ended unseen. On any error it is dropped.
        let quiet = match &mut *kept {
            Some(link) => link.is_quiet().await,
            None => false,
        };
        let mut link = match kept.take() {
            Some(link) if quiet => link,
            // Tried as often as a first connection.
            _ => {
                connect(
                    shared,
                    &mut Backoff::first_connect(&shared.config.retry),
                    Instant::now(),
                    Before::Never,
                )
                .await?
            }
        };
        // Whoever asks decides how much that brings.
        let reply = link
            .ask_raw("a query", request, shared.config.stall_timeout, usize::MAX)
            .await?;
        *kept = Some(link);
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::super::server::{Client, Script, ScriptedServer, attempts, config};
    use super::*;
    use crate::config::Config;
    use crate::connection::state::peer::wire;

    #[tokio::test]
    async fn queries_have_a_connection_of_their_own() {
        let server = ScriptedServer::start(&[Script::Sound]).await;
        let mut client = Client::start(config(server.port));
        let looker = Looker::default();
        for (ticket, (command, answer)) in (1..).zip([("GETSET a 1", "$-1\r\n"), ("GETSET a 2", "$1\r\n1\r\n")]) {
            looker.ask(client.shared.clone(), ticket, wire(command)).await;
            let Notice::Queried { ticket: told, reply } = client.next().await else {
                panic!("no answer");
            };
            assert_eq!((told, reply.unwrap()), (ticket, answer.as_bytes().to_vec()));
        }
        assert_eq!((server.connections(), client.shared.budget.held()), (1, 0));
    }

    #[tokio::test]
    async fn queries_that_cannot_be_answered_say_why() {
        for (script, expected) in [
            (Script::HangsUp, "RESPIPE_CONNECT"),
            (Script::WrongPass, "RESPIPE_AUTH"),
            (Script::Answers(0), "RESPIPE_CONNECTION_LOST"),
            (Script::Mute, "RESPIPE_STALLED"),
            (Script::Says(b"?"), "RESPIPE_PROTOCOL"),
            (Script::Says(b"+a\r\n+b\r\n"), "RESPIPE_PROTOCOL"),
        ] {
            let server = ScriptedServer::start(&[script, Script::Sound]).await;
            let mut client = Client::start(Config {
                stall_timeout: Duration::from_millis(30),
                ..attempts(0, config(server.port))
            });
            let looker = Looker::default();
            looker.ask(client.shared.clone(), 1, wire("GETSET a 1")).await;
            let Notice::Queried { reply, .. } = client.next().await else {
                panic!("no answer");
            };
            assert_eq!(reply.unwrap_err().code(), expected);
            // The next one finds a new connection.
            looker.ask(client.shared.clone(), 2, wire("SET a 1")).await;
            assert!(matches!(client.next().await, Notice::Queried { reply: Ok(_), .. }));
        }
    }

    #[tokio::test]
    async fn a_query_tries_its_connection_as_often_as_a_load() {
        let server = ScriptedServer::start(&[Script::HangsUp, Script::HangsUp, Script::Sound]).await;
        let mut client = Client::start(config(server.port));
        Looker::default().ask(client.shared.clone(), 1, wire("SET a 1")).await;
        assert!(matches!(client.next().await, Notice::Queried { reply: Ok(_), .. }));
        assert_eq!(server.connections(), 3);
    }

    #[tokio::test]
    async fn a_stop_ends_queries() {
        for script in [Script::Silent, Script::Mute] {
            let server = ScriptedServer::start(&[script]).await;
            let mut client = Client::start(config(server.port));
            let looker = Looker::default();
            let stopper = async {
                while server.connections() == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                client.shared.stop(Error::Aborted);
            };
            let ask = |ticket| looker.ask(client.shared.clone(), ticket, wire("SET a 1"));
            tokio::join!(ask(1), ask(2), stopper);
            ask(3).await;
            for _ in 0..3 {
                let Notice::Queried { reply, .. } = client.next().await else {
                    panic!("no answer");
                };
                assert_eq!(reply.unwrap_err().code(), "RESPIPE_ABORTED");
            }
        }
    }
}
