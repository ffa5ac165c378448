//! What one run is made of: a seed comes in, the options, the load and all faults go out, as data.
//!
//! Nothing is drawn here that depends on how the run goes: a plan can be printed, and cut down while it still fails.

use std::num::NonZeroU64;
use std::time::Duration;

use fastrand::Rng;

use super::culprits;
use super::network::Network;
use crate::batch::Wrap;
use crate::config::{Config, Replies, Resend, Retry, Server, Throttle, Transaction};
use crate::connection::state::Listening;
use crate::loader::server::config;

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) options: Options,
    pub(super) batches: Vec<Planned>,
    pub(super) weather: Weather,
    /// Of the connections, in the order in which they are asked for. Those behind them are sound.
    pub(super) hazards: Vec<Hazards>,
    /// Of the server, in the order in which they come.
    pub(super) troubles: Vec<Trouble>,
}

#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) replies: Replies,
    pub(super) transaction: Transaction,
    pub(super) resend: Resend,
    pub(super) checkpoint: Option<&'static str>,
    pub(super) window: usize,
    pub(super) reconnect_every: u32,
    pub(super) max_failures: usize,
    /// In milliseconds, as all times of a plan.
    pub(super) stall_timeout: u64,
    pub(super) connect_timeout: u64,
    pub(super) patience: Patience,
    /// Without progress.
    pub(super) max_elapsed: u64,
    pub(super) listening: Listening,
    pub(super) throttle: Throttle,
    /// All is ended then.
    pub(super) stop_after: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Outlasts every fault of a plan.
    Plenty,
    /// So many tries, as for the first connection.
    Tries(u32),
}

/// Commands that are executed together.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// How long after the ones before.
    pub(super) gap: u64,
    /// The last word of each is its tag: a number that no other command has, from 0 up.
    pub(super) commands: Vec<String>,
    /// Where the others are no transactions, this one may be.
    pub(super) wrap: Wrap,
    pub(super) asks: Asks,
}

/// Whether somebody waits for the outcome. Without, it is told with the next that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    Report,
    Nothing,
}

/// How the network is when nothing is wrong.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    /// Each piece takes up to so long, at random.
    pub(super) latency: u64,
    /// Where pieces are small, they have at most so many bytes.
    pub(super) grain: usize,
    /// What fits between the client and the server's eyes.
    pub(super) capacity: usize,
    /// What the server reads of one connection before it looks at the others.
    pub(super) turn: usize,
}

/// What happens to one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Hazards {
    pub(super) admission: Admission,
    pub(super) up: Perils,
    pub(super) down: Perils,
    /// The server looks so much later at what is left when the client is gone.
    pub(super) tail: u64,
    /// Behind so many bytes the client's end takes no more.
    pub(super) jam: Option<(usize, Jam)>,
    /// While its commands are held up, the client is hung up on after so long: by a proxy, which still has them.
    pub(super) hang_up: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Jam {
    Anywhere,
    /// At the next end of a command: what was written whole ends there, which chance alone would seldom have.
    BetweenCommands,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Admission {
    #[default]
    Open,
    Refused,
    /// Nobody ever answers.
    Ignored,
}

/// Of one direction, each after so many bytes that have passed.
#[derive(Debug, Clone, Default)]
pub(super) struct Perils {
    pub(super) cut: Option<(usize, End)>,
    /// Nothing passes for so long.
    pub(super) hold: Option<(usize, u64)>,
}

/// How a connection ends, by whoever stands between client and server or by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Reset,
    /// Of this direction only.
    Fin,
}

/// What happens to the server, once it has executed so many commands since the start, those of logins too.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) after: u64,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As by SIGSTOP: the kernel goes on taking connections and bytes.
    Stall(u64),
    /// As by SIGKILL, with all data kept. Nothing listens for so long.
    Restart(u64),
    Refuse(Refusal, u64),
}

/// Errors that pass by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Oom,
    Readonly,
    Loading,
    Busy,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let options = Options::draw(&mut rng);
        let mut batches = load(&mut rng, options.transaction);
        if options.stop_after.is_some() {
            // Behind a stop nobody asks about what was executed before.
            batches.iter_mut().for_each(|batch| batch.asks = Asks::Report);
        }
        culprits::put_in(&mut batches, &options, seed);
        let commands: usize = batches.iter().map(|batch| batch.commands.len()).sum();
        let weather = Weather {
            latency: pick(&mut rng, &[0, 1, 1, 4, 12]),
            grain: pick(&mut rng, &[1, 7, 50, 1_000, 100_000]),
            capacity: pick(&mut rng, &[40, 300, 3_000, 1 << 20]),
            turn: pick(&mut rng, &[50, 300, 16_384]),
        };
        // One run in ten has nothing but weather: what fails there is no matter of faults.
        let (most_hazards, most_troubles) = if rng.u8(..10) == 0 { (0, 0) } else { (4, 3) };
        let hazards = (0..rng.usize(0..=most_hazards))
            .map(|_| Hazards::draw(&mut rng, &options, commands))
            .collect();
        let mut troubles: Vec<Trouble> = (0..rng.usize(0..=most_troubles))
            .map(|_| Trouble::draw(&mut rng, &options, commands))
            .collect();
        troubles.sort_by_key(|trouble| trouble.after);
        Self {
            seed,
            options,
            batches,
            weather,
            hazards,
            troubles,
        }
    }

    /// Every command, at the place that its tag says.
    pub(super) fn commands(&self) -> Vec<&str> {
        let commands = self.batches.iter().flat_map(|batch| &batch.commands);
        commands.map(String::as_str).collect()
    }

    pub(super) fn is_transaction(&self, batch: &Planned) -> bool {
        self.options.transaction == Transaction::EachBatch || batch.wrap == Wrap::Always
    }

    pub(super) fn config(&self, network: Network) -> Config {
        let options = &self.options;
        let (first_connect, attempts) = match options.patience {
            Patience::Plenty => (10_000, None),
            Patience::Tries(tries) => (tries, Some(tries)),
        };
        Config {
            server: Server::Simulated(network),
            connect_timeout: Duration::from_millis(options.connect_timeout),
            stall_timeout: Duration::from_millis(options.stall_timeout),
            retry: Retry {
                first_connect,
                attempts,
                max_elapsed: Duration::from_millis(options.max_elapsed),
                min_delay: Duration::from_millis(2),
                max_delay: Duration::from_millis(100),
            },
            replies: options.replies,
            transaction: options.transaction,
            resend: options.resend,
            checkpoint: options.checkpoint.map(|key| key.as_bytes().to_vec()),
            max_in_flight: options.window,
            reconnect_every: options.reconnect_every,
            max_failures: options.max_failures,
            max_buffered: 1 << 24,
            throttle: options.throttle,
            ..config(0)
        }
    }
}

impl Options {
    fn draw(rng: &mut Rng) -> Self {
        let transaction = pick(rng, &[Transaction::Off, Transaction::Off, Transaction::EachBatch]);
        let whole = transaction == Transaction::EachBatch;
        let checkpoint = (whole && rng.bool()).then_some("checkpoint");
        let silent = checkpoint.is_none() && rng.u8(..6) == 0;
        Self {
            replies: if silent {
                Replies::Off
            } else {
                pick(rng, &[Replies::Check, Replies::Collect, Replies::Collect])
            },
            transaction,
            resend: pick(
                rng,
                &[
                    Resend::Idempotent,
                    Resend::Idempotent,
                    Resend::Idempotent,
                    Resend::All,
                    Resend::None,
                ],
            ),
            checkpoint,
            window: pick(rng, &[1, 60, 150, 400, 2_000, 2_000, 1 << 16]),
            reconnect_every: pick(rng, &[0, 0, 1, 2, 3, 5]),
            max_failures: pick(rng, &[3, 10_000, 10_000]),
            stall_timeout: rng.u64(200..1_000),
            // A login takes a few ways there and back.
            connect_timeout: rng.u64(400..1_200),
            patience: if rng.u8(..6) == 0 {
                Patience::Tries(rng.u32(0..3))
            } else {
                Patience::Plenty
            },
            max_elapsed: 600_000,
            listening: pick(rng, &[Listening::Yes, Listening::No]),
            throttle: throttle(&mut Rng::with_seed(!rng.get_seed())),
            stop_after: (rng.u8(..12) == 0).then(|| rng.u64(..300)),
        }
    }
}

impl Hazards {
    fn draw(rng: &mut Rng, options: &Options, commands: usize) -> Self {
        // About 40 bytes a command there, and 6 back; the login takes some 150 and 430.
        let up = Perils::draw(rng, options, 150, 40 * commands);
        let down = Perils::draw(rng, options, 430, 6 * commands);
        Self {
            admission: pick(
                rng,
                &[
                    Admission::Open,
                    Admission::Open,
                    Admission::Open,
                    Admission::Open,
                    Admission::Refused,
                    Admission::Ignored,
                ],
            ),
            up,
            down,
            tail: pick(rng, &[0, 50, 300, 1_000, 3_000]),
            jam: (rng.u8(..6) == 0).then(|| {
                let at = place(rng, 150, 40 * commands);
                (at, pick(rng, &[Jam::Anywhere, Jam::BetweenCommands]))
            }),
            hang_up: rng.bool().then(|| rng.u64(..options.stall_timeout)),
        }
    }
}

impl Perils {
    fn draw(rng: &mut Rng, options: &Options, login: usize, load: usize) -> Self {
        let cut = (rng.u8(..3) == 0).then(|| (place(rng, login, load), pick(rng, &[End::Reset, End::Fin])));
        let hold = (rng.u8(..3) == 0).then(|| {
            let at = place(rng, login, load);
            let millis = if rng.u8(..5) == 0 {
                FOREVER
            } else {
                long_or_short(rng, options)
            };
            (at, millis)
        });
        Self { cut, hold }
    }
}

impl Trouble {
    fn draw(rng: &mut Rng, options: &Options, commands: usize) -> Self {
        let after = rng.u64(0..commands as u64 + 10);
        let kind = match rng.u8(..7) {
            0..=2 => Kind::Stall(long_or_short(rng, options)),
            3 => Kind::Restart(rng.u64(0..1_000)),
            _ => {
                let refusal = pick(rng, &[Refusal::Oom, Refusal::Readonly, Refusal::Loading, Refusal::Busy]);
                Kind::Refuse(refusal, rng.u64(1..1_000))
            }
        };
        Self { after, kind }
    }
}

/// Of one run in six: a second or a minute for a load, or more. Drawn apart, so that all else of a plan is the same with it.
fn throttle(rng: &mut Rng) -> Throttle {
    if rng.u8(..6) > 0 {
        return Throttle::default();
    }
    let (commands, bytes) = (pick(rng, &[0, 50, 300, 2_000]), pick(rng, &[0, 0, 2_000, 20_000]));
    Throttle {
        commands_per_second: NonZeroU64::new(commands),
        bytes_per_second: NonZeroU64::new(bytes),
    }
}

/// Longer than any run.
const FOREVER: u64 = 100_000_000;

/// A byte of a login or of the load behind it.
fn place(rng: &mut Rng, login: usize, load: usize) -> usize {
    if rng.u8(..6) == 0 {
        return rng.usize(..=login);
    }
    // The nearer to the beginning the likelier, as a connection may not live to see the end.
    let near = load >> rng.u32(..6);
    login + rng.usize(..=near)
}

/// Shorter or longer than the client waits.
fn long_or_short(rng: &mut Rng, options: &Options) -> u64 {
    match rng.u8(..4) {
        0 => rng.u64(1..options.stall_timeout),
        _ => options.stall_timeout + rng.u64(0..3_000),
    }
}

/// Few keys, so that commands meet: `s` for strings, `h` for hashes, `c` for counters.
const KEYS: usize = 3;

fn load(rng: &mut Rng, transaction: Transaction) -> Vec<Planned> {
    /// Whatever of it was done before, all of it can be sent again.
    const REPLACING: &[&str] = &["SET", "SET", "SET", "DEL"];
    const IDEMPOTENT: &[&str] = &["SET", "SET", "SET", "HSET", "HSET", "HDEL", "DEL"];
    const COUNTERS: &[&str] = &["INCR", "INCR", "INCR", "SET", "GETSET"];
    const ALL: &[&str] = &["SET", "HSET", "HDEL", "DEL", "INCR", "GETSET", "SET", "HSET", "LPUSH"];

    let words = pick(rng, &[REPLACING, IDEMPOTENT, COUNTERS, ALL]);
    let most = pick(rng, &[1, 3, 10, 40, 40, 150]);
    let pause = pick(rng, &[1, 1, 20, 500]);
    // Of ten batches, as those of a file with MULTI … EXEC here and there.
    let transactions = match transaction {
        Transaction::Off => pick(rng, &[0, 0, 2, 5, 8]),
        Transaction::EachBatch => 0,
    };
    let mut tag = 0;
    let count = rng.usize(1..20);
    (0..count)
        .map(|_| {
            let mut commands: Vec<String> = (0..rng.usize(1..=most))
                .map(|_| {
                    tag += 1;
                    command(rng, words, tag - 1)
                })
                .collect();
            // Rarer than the rest, as it takes all others of a transaction with it.
            if words == ALL && rng.u8(..3) == 0 {
                commands.push(format!("UNKNOWN s0 {tag}"));
                tag += 1;
            }
            Planned {
                gap: rng.u64(..pause),
                commands,
                wrap: if rng.u8(..10) < transactions {
                    Wrap::Always
                } else {
                    Wrap::AsConfigured
                },
                // A batch of a transaction is the caller's own choice.
                asks: if transaction == Transaction::Off && rng.u8(..5) == 0 {
                    Asks::Nothing
                } else {
                    Asks::Report
                },
            }
        })
        .collect()
}

fn command(rng: &mut Rng, words: &[&str], tag: u64) -> String {
    let word = words[rng.usize(..words.len())];
    let (key, field) = (rng.usize(..KEYS), rng.usize(..2));
    match word {
        "HSET" | "HDEL" => format!("{word} h{key} f{field} {tag}"),
        "DEL" if rng.bool() => format!("DEL h{key} {tag}"),
        // A list command on the one key that is never anything but a string.
        "LPUSH" => format!("LPUSH fixed {tag}"),
        // Half of them on keys that others set.
        "INCR" if rng.bool() => format!("INCR c{key} {tag}"),
        _ => format!("{word} s{key} {tag}"),
    }
}

/// The tag of a command, if it is one of a load.
pub(super) fn tag(words: &[String]) -> Option<usize> {
    match words.get(1)?.as_bytes() {
        [b's' | b'h' | b'c', b'0'..=b'9'] => words.last()?.parse().ok(),
        _ => None,
    }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}
