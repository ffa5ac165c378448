//! The network and the server behind it, as one list of things to come: each has its time, and chance says which of
//! two at the same time is first. Nothing here waits; the driver of the network lets the time pass.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::Waker;

use fastrand::Rng;

use super::lane::Passage;
use super::pipe::{Client, Heard, Pipe, wake};
use super::plan::{Admission, End, Hazards, Plan, Trouble, Weather};
use super::server::Server;

/// More than any run needs: what goes on longer goes on for ever.
const MAX_STEPS: u64 = 500_000;

#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// Bytes get to the server.
    Up(usize, usize),
    /// Bytes get to the client.
    Down(usize, usize),
    /// The server looks at a connection.
    Serve(usize),
    HangUp(usize),
}

/// How the client finds a connection when it reads.
pub(super) enum Readable {
    Bytes(Vec<u8>),
    End(End),
    NotYet,
}

pub(super) enum Writable {
    Taken(usize),
    Reset,
    NotYet,
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) weather: Weather,
    hazards: VecDeque<Hazards>,
    pub(super) troubles: VecDeque<Trouble>,
    /// By time and lot.
    agenda: BTreeMap<(u64, (u32, u64)), Event>,
    scheduled: u64,
    steps: u64,
    pub(super) now: u64,
    pub(super) pipes: Vec<Pipe>,
    pub(super) stalled_until: u64,
    pub(super) down_until: u64,
    /// The last connection over which a command of a load was done.
    pub(super) newest: usize,
    pub(super) server: Server,
    /// What really happened.
    pub(super) seen: BTreeSet<&'static str>,
    /// The most that a client had written and not seen answered.
    pub(super) most_unanswered: usize,
    pub(super) trace: Vec<String>,
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            rng: Rng::with_seed(!plan.seed),
            weather: plan.weather.clone(),
            hazards: plan.hazards.iter().cloned().collect(),
            troubles: plan.troubles.iter().cloned().collect(),
            agenda: BTreeMap::new(),
            scheduled: 0,
            steps: 0,
            now: 0,
            pipes: Vec::new(),
            stalled_until: 0,
            down_until: 0,
            newest: 0,
            server: Server::default(),
            seen: BTreeSet::new(),
            most_unanswered: 0,
            trace: Vec::new(),
        }
    }

    pub(super) fn set_time(&mut self, now: u64) {
        self.now = now;
        self.server.set_time(now);
    }

    /// All that is due happens. Returns when the next thing will.
    pub(super) fn run(&mut self) -> Option<u64> {
        while let Some(next) = self.agenda.first_entry() {
            if next.key().0 > self.now {
                return Some(next.key().0);
            }
            let event = next.remove();
            self.steps += 1;
            assert!(self.steps < MAX_STEPS, "it goes on for ever");
            match event {
                Event::Up(pipe, count) => self.up(pipe, count),
                Event::Down(pipe, count) => self.down(pipe, count),
                Event::Serve(pipe) => self.serve(pipe),
                Event::HangUp(pipe) => self.hang_up(pipe),
            }
        }
        None
    }

    /// Somebody asks for a connection: what awaits it, and how long it takes.
    pub(super) fn knock(&mut self) -> (u64, Hazards) {
        (self.lag(), self.hazards.pop_front().unwrap_or_default())
    }

    /// `None` where it is refused.
    pub(super) fn open(&mut self, hazards: &Hazards) -> Option<usize> {
        if hazards.admission == Admission::Refused || self.now < self.down_until {
            self.note("a connection refused");
            return None;
        }
        let pipe = self.pipes.len();
        let session = self.server.accept(pipe);
        self.pipes.push(Pipe::new(hazards, session));
        self.tell(|| format!("connection {pipe} opened: {hazards:?}"));
        Some(pipe)
    }

    pub(super) fn read(&mut self, at: usize, room: usize, waker: &Waker) -> Readable {
        let pipe = &mut self.pipes[at];
        if pipe.down.arrived.len() < pipe.low_water && !pipe.down.has_ended() {
            pipe.reader = Some(waker.clone());
            if !pipe.down.arrived.is_empty() {
                self.note("replies that lie unread");
            }
            return Readable::NotYet;
        }
        if pipe.down.arrived.is_empty() {
            if let Some(end) = pipe.down.over() {
                pipe.heard = Heard::End;
                return Readable::End(end);
            }
            pipe.reader = Some(waker.clone());
            return Readable::NotYet;
        }
        let most = pipe.down.arrived.len().min(room);
        let count = self.some(most);
        if count < most {
            self.note("a partial read");
        }
        Readable::Bytes(self.pipes[at].read(count))
    }

    /// Fewer unread bytes wake nobody.
    pub(super) fn wake_from(&mut self, at: usize, bytes: usize) {
        let pipe = &mut self.pipes[at];
        pipe.low_water = bytes;
        wake(&mut pipe.reader);
    }

    /// Takes some of what is offered.
    pub(super) fn write(&mut self, at: usize, bytes: &[&[u8]], waker: &Waker) -> Writable {
        let pipe = &mut self.pipes[at];
        if pipe.down.is_cut_off() {
            return Writable::Reset;
        }
        let room = self.weather.capacity.saturating_sub(pipe.up.held());
        if room == 0 {
            pipe.writer = Some(waker.clone());
            self.note("a full socket");
            return Writable::NotYet;
        }
        let mut bytes = bytes.concat();
        if let Some(taken) = pipe.before_jam(&bytes) {
            self.note("a jam");
            if taken == 0 {
                return Writable::NotYet;
            }
            bytes.truncate(taken);
        }
        let count = self.some(bytes.len().min(room));
        if count < bytes.len() {
            self.note("a partial write");
        }
        let unanswered = self.pipes[at].take(&bytes[..count]);
        self.most_unanswered = self.most_unanswered.max(unanswered);
        self.send(at, count, Event::Up);
        Writable::Taken(count)
    }

    /// The client says that it writes no more.
    pub(super) fn shut(&mut self, at: usize) {
        let up = &mut self.pipes[at].up;
        up.end(up.flying(), End::Fin);
        self.schedule(0, Event::Up(at, 0));
    }

    /// The client has closed the connection. What it had sent may still arrive, or some of it.
    pub(super) fn close(&mut self, at: usize) {
        let share = self.rng.u8(..4);
        let reset = self.rng.bool();
        let pipe = &mut self.pipes[at];
        let flying = pipe.up.flying();
        let left = match share {
            0 => 0,
            1 => self.rng.usize(..=flying),
            _ => flying,
        };
        pipe.up.end(left, End::Fin);
        pipe.client = if reset && pipe.down.held() > 0 {
            Client::GoneWithReset
        } else {
            Client::Gone
        };
        pipe.down.end_here(End::Reset);
        let tail = pipe.tail;
        // Whatever holds up the server, it sees to others first.
        pipe.asleep_until = self.now.max(self.stalled_until) + tail;
        if pipe.is_within_a_reply() {
            self.note("a reply cut in two");
        }
        self.tell(|| format!("connection {at} closed by the client, {left} of {flying} bytes still arrive"));
        self.schedule(0, Event::Up(at, 0));
        self.schedule(tail, Event::Serve(at));
    }

    fn up(&mut self, at: usize, count: usize) {
        let lag = self.lag();
        let pipe = &mut self.pipes[at];
        if self.now < pipe.up.held_until {
            let delay = pipe.up.held_until - self.now + lag;
            return self.schedule(delay, Event::Up(at, count));
        }
        match pipe.up.pass(count) {
            Passage::All => {}
            Passage::Held(left, millis) => {
                pipe.up.held_until = self.now + millis;
                if let Some(after) = pipe.hang_up {
                    self.schedule(after, Event::HangUp(at));
                }
                self.note("commands held up");
                self.tell(|| format!("connection {at}: commands held up for {millis} ms"));
                self.schedule(millis, Event::Up(at, left));
            }
            Passage::Cut(end) => {
                pipe.up.end_here(End::Fin);
                if end == End::Reset {
                    // Of whoever stands in between. The server has time to execute what it has.
                    pipe.asleep_until = self.now + pipe.tail;
                    let tail = pipe.tail;
                    self.end_for_client(at, End::Reset);
                    self.schedule(tail, Event::Serve(at));
                }
                self.note(match end {
                    End::Reset => "a reset among commands",
                    End::Fin => "an end among commands",
                });
                self.tell(|| format!("connection {at}: {end:?} among commands"));
            }
        }
        self.schedule(lag, Event::Serve(at));
    }

    fn hang_up(&mut self, at: usize) {
        if self.pipes[at].client == Client::There {
            self.note("hung up on");
            self.tell(|| format!("connection {at}: the client is hung up on"));
            self.end_for_client(at, End::Fin);
        }
    }

    fn down(&mut self, at: usize, count: usize) {
        let lag = self.lag();
        let pipe = &mut self.pipes[at];
        if self.now < pipe.down.held_until {
            let delay = pipe.down.held_until - self.now + lag;
            return self.schedule(delay, Event::Down(at, count));
        }
        match pipe.down.pass(count) {
            Passage::All => {}
            Passage::Held(left, millis) => {
                pipe.down.held_until = self.now + millis;
                self.note("replies held up");
                self.tell(|| format!("connection {at}: replies held up for {millis} ms"));
                self.schedule(millis, Event::Down(at, left));
            }
            Passage::Cut(end) => {
                self.note(match end {
                    End::Reset => "a reset among replies",
                    End::Fin => "an end among replies",
                });
                self.tell(|| format!("connection {at}: {end:?} among replies"));
                self.end_for_client(at, end);
            }
        }
        wake(&mut self.pipes[at].reader);
    }

    /// Nothing more gets to the client. A reset may even take what has arrived.
    fn end_for_client(&mut self, at: usize, end: End) {
        let pipe = &mut self.pipes[at];
        if end == End::Reset && self.rng.bool() {
            pipe.down.arrived.clear();
        }
        pipe.down.end_here(end);
        wake(&mut pipe.reader);
        wake(&mut pipe.writer);
    }

    /// `count` bytes set out, in pieces.
    pub(super) fn send(&mut self, at: usize, mut count: usize, event: fn(usize, usize) -> Event) {
        while count > 0 {
            let piece = self.some(count);
            count -= piece;
            let lag = self.lag();
            self.schedule(lag, event(at, piece));
        }
    }

    /// All of it half of the time.
    pub(super) fn some(&mut self, most: usize) -> usize {
        match most {
            0 | 1 => most,
            _ if self.rng.bool() => most,
            _ => self.rng.usize(1..=most.min(self.weather.grain)),
        }
    }

    pub(super) fn lag(&mut self) -> u64 {
        self.rng.u64(0..=self.weather.latency)
    }

    pub(super) fn schedule(&mut self, delay: u64, event: Event) {
        // What comes at the same time comes in any order.
        self.scheduled += 1;
        let lot = (self.rng.u32(..), self.scheduled);
        self.agenda.insert((self.now + delay, lot), event);
    }

    pub(super) fn note(&mut self, what: &'static str) {
        self.seen.insert(what);
    }

    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        self.trace.push(format!("{now:>7} ms  {}", line()));
    }
}
