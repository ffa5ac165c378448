//! What each reply means to the frame in front.

use super::fence::Lookout;
use super::frame::{Data, Frame};
use super::open_batch::OpenBatch;
use super::unreadable::{Written, is_protocol_error, the_server_says};
use super::{Broken, Exchange, held, open};
use crate::resp::reply::{Kind, Scanner, excerpt, peer_hint, printable};

/// Reads the replies of one connection.
#[derive(Debug)]
pub(super) struct Reader {
    scanner: Scanner,
    /// How much of an expected reply has come: `+OK`, `+QUEUED`, a nonce.
    matched: usize,
    /// Where in the collected bytes the reply begins that is half read; `NO_ITEM` where there is none.
    item: usize,
    lookout: Lookout,
    /// The replies to a question, as far as they have come, and what of it is whole.
    gathered: Vec<u8>,
    question: Told,
}

#[derive(Debug, Default)]
struct Told {
    replies: usize,
    bytes: usize,
}

const NO_ITEM: usize = usize::MAX;

/// Replies to commands that were read in one go.
pub(super) struct Answers {
    pub(super) consumed: usize,
    pub(super) succeeded: u32,
    /// Code and text of the reply to the command behind those.
    pub(super) refusal: Option<(String, String)>,
}

/// What came in place of a reply that is known beforehand.
pub(super) enum Expected {
    /// Not all of it yet, or something that does not count, such as a push.
    NotYet(usize),
    Came(usize),
    /// An error; its text is with the scanner.
    Refused(usize),
}

impl Exchange {
    /// Nothing is outstanding: only what the server may say unasked is allowed.
    pub(super) fn unasked(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let reply = self.is_reply(input);
        let (consumed, done) = self.reader.scan(input)?;
        match done {
            Some(Kind::Error) => Err(Broken::Violation(format!(
                "the server says: {}",
                self.reader.error_text()
            ))),
            // Not left to be completed: it would pass for the reply to what is written meanwhile.
            _ if reply => Err(Broken::Violation(format!(
                "a reply that nothing asked for: {}",
                excerpt(input)
            ))),
            _ => Ok(consumed),
        }
    }

    /// Replies to commands of a batch.
    pub(super) fn data_replies(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let allowed = self.answerable(input)?;
        let Some(Frame::Data(data)) = self.frames.front_mut() else {
            return Ok(0);
        };
        let Some(batch) = open(&mut self.batches, data.batch) else {
            return Ok(0);
        };
        let answers = self.reader.answers(input, allowed, data, batch)?;
        if answers.succeeded > 0 {
            // Newer values stay: what was refused before them is not sent again.
            if !self.held.is_empty() {
                let newer = held::written_by_last(data, answers.succeeded);
                self.fail_overtaken(newer.as_ref());
            }
            self.replies += u64::from(answers.succeeded);
            self.answered += u64::from(answers.succeeded);
            self.patient = self.settings.waits;
        }
        if let Some((code, message)) = answers.refusal {
            self.replies += 1;
            let written = if answers.succeeded < allowed {
                Written::Whole
            } else {
                Written::InPart
            };
            if self.is_unreadable(&message, written)? {
                return Err(self.fail_unreadable(&code, &message));
            }
            self.refused(&code, &message);
        }
        self.pop_if_answered();
        Ok(answers.consumed)
    }

    /// The next command was refused: for good, or for now.
    fn refused(&mut self, code: &str, message: &str) {
        let Some(Frame::Data(data)) = self.frames.front_mut() else {
            return;
        };
        let Some(batch) = open(&mut self.batches, data.batch) else {
            return;
        };
        if self.patient && is_passing(code) {
            self.held.hold(data, batch, code, message);
        } else {
            self.overheard.extend(batch.refused(data, code, message));
            // A refusal that waiting would not have changed is an answer like any other.
            self.answered += u64::from(!is_passing(code));
        }
        data.answered += 1;
    }

    /// The end of a batch, or of what was sent again.
    pub(super) fn fence_reply(&mut self, input: &[u8]) -> Result<usize, Broken> {
        self.not_too_early(input)?;
        let Some(Frame::Fence(fence)) = self.frames.front() else {
            return Ok(0);
        };
        if self.is_later_fence(input) {
            return Err(Broken::Unavailable(
                "the server was not available for a while, in silence".to_owned(),
            ));
        }
        match self.reader.expect(input, fence.reply())? {
            Expected::NotYet(consumed) => Ok(consumed),
            Expected::Came(consumed) => {
                let ends = fence.ends;
                self.pop_answered();
                self.replies += 1;
                self.fenced(ends);
                Ok(consumed)
            }
            Expected::Refused(consumed) if is_passing(&self.reader.refusal()?.0) => {
                if !self.patient || self.is_silent() {
                    let text = self.reader.error_text();
                    return Err(Broken::Unavailable(format!("the server is not available: {text}")));
                }
                // Its commands have their replies; another fence comes with what is sent again.
                let ends = fence.ends;
                if let Some(batch) = ends.and_then(|serial| open(&mut self.batches, serial)) {
                    batch.fenced = true;
                }
                self.pop_answered();
                self.replies += 1;
                self.held.hold_fence();
                Ok(consumed)
            }
            Expected::Refused(_) => Err(Broken::Violation(format!(
                "the fence was answered by an error: {}",
                self.reader.error_text()
            ))),
        }
    }

    /// With replies off, nobody hears that the server refuses to speak again for now: the next that it says is then the
    /// reply to a later fence.
    fn is_later_fence(&self, input: &[u8]) -> bool {
        let said = |frame: &Frame| match frame {
            Frame::Fence(fence) => self.reader.continues(input, fence.reply()),
            _ => false,
        };
        let mut written = self.frames.iter().take(self.sent);
        self.is_silent() && !written.next().is_some_and(said) && written.any(said)
    }

    /// The reply to a question of our own.
    pub(super) fn question_reply(&mut self, input: &[u8]) -> Result<usize, Broken> {
        /// Nothing that is asked for is longer.
        const LONGEST: usize = 1 << 20;

        self.not_too_early(input)?;
        let (consumed, done) = self.reader.scan(input)?;
        let reply = &mut self.reader.gathered;
        reply.extend_from_slice(&input[..consumed]);
        if reply.len() > LONGEST {
            return Err(Broken::Violation(format!(
                "a reply of more than {LONGEST} bytes to a question"
            )));
        }
        match done {
            None => {}
            Some(Kind::Push | Kind::Attribute) => reply.truncate(self.reader.question.bytes),
            Some(_) => {
                self.replies += 1;
                self.reader.question.bytes = reply.len();
                self.reader.question.replies += 1;
                let asked = matches!(self.frames.front(), Some(Frame::Question(question)) if question.replies > self.reader.question.replies);
                if !asked && let Some(Frame::Question(question)) = self.pop_answered() {
                    let reply = std::mem::take(&mut self.reader.gathered);
                    self.reader.question = Told::default();
                    self.told.push((question.ticket, reply));
                }
            }
        }
        Ok(consumed)
    }

    /// How many commands of the data in front may be answered now: those that were written.
    pub(super) fn answerable(&mut self, input: &[u8]) -> Result<u32, Broken> {
        let Some(Frame::Data(data)) = self.frames.front_mut() else {
            return Ok(0);
        };
        if self.sent > 0 {
            return Ok(data.unanswered());
        }
        let written = data.commands_within(self.offset) - data.answered;
        // A server may say that it cannot read a command before it has all of it.
        let may_be_unreadable = matches!(input, [b'-', ..]) && data.begun_within(self.offset) > data.answered;
        if written == 0 && !may_be_unreadable {
            self.not_too_early(input)?;
        }
        Ok(written)
    }

    /// Refuses a reply to the frame in front where that is not wholly written: or the server's last words.
    pub(super) fn not_too_early(&self, input: &[u8]) -> Result<(), Broken> {
        if self.sent > 0 || !self.is_reply(input) {
            return Ok(());
        }
        Err(Broken::Violation(match input {
            [b'-', text @ ..] => format!("the server says: {}", excerpt(first_line(text))),
            _ => format!("a reply to what was not written yet: {}", excerpt(input)),
        }))
    }

    /// A reply begins here, and nothing that may come unasked.
    fn is_reply(&self, input: &[u8]) -> bool {
        self.reader.at_boundary() && !matches!(input, [b'>' | b'|', ..])
    }

    pub(super) fn pop_if_answered(&mut self) {
        if let Some(Frame::Data(data)) = self.frames.front()
            && data.unanswered() == 0
            && let Some(Frame::Data(data)) = self.pop_answered()
        {
            self.release(data);
        }
    }
}

/// Whether a refusal may pass by itself: the server is busy, full, or not in the right role for now.
pub(super) fn is_passing(code: &str) -> bool {
    const PASSING: [&str; 9] = [
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
    ];
    PASSING.contains(&code)
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            scanner: Scanner::new(),
            matched: 0,
            item: NO_ITEM,
            lookout: Lookout::default(),
            gathered: Vec::new(),
            question: Told::default(),
        }
    }

    /// Nothing is half read.
    pub(super) fn at_boundary(&self) -> bool {
        self.matched == 0 && self.scanner.at_boundary()
    }

    /// Drops the beginning of a reply that will never be whole.
    pub(super) fn drop_half(&self, data: &Data, batch: &mut OpenBatch) {
        if self.item != NO_ITEM {
            batch.drop_from(data.next_hole(), self.item);
        }
    }

    /// Of the next reply, an array, only the header is read; its elements then are replies of their own.
    pub(super) fn open_array(&mut self) {
        self.scanner.open_array();
    }

    /// Counts replies to the commands of `data`, at most `allowed`: plain ones at once, then at most one other item.
    /// A refusal is left to be counted.
    pub(super) fn answers(
        &mut self,
        input: &[u8],
        allowed: u32,
        data: &mut Data,
        batch: &mut OpenBatch,
    ) -> Result<Answers, Broken> {
        let mut answers = Answers {
            consumed: 0,
            succeeded: 0,
            refusal: None,
        };
        if self.scanner.at_boundary() {
            // Each hole takes one.
            let hole = data.next_hole();
            let most = if hole.is_some() { allowed.min(1) } else { allowed };
            let (consumed, count) = self.scanner.count_plain(input, u64::from(most));
            batch.collect(hole, &input[..consumed]);
            batch.outcome.succeeded += count;
            answers.consumed = consumed;
            answers.succeeded = u32::try_from(count).unwrap_or(most);
            data.answered += answers.succeeded;
            // Where none is allowed yet, something comes that is no reply.
            if consumed == input.len() || (count > 0 && answers.succeeded == most) {
                return Ok(answers);
            }
            self.item = batch.kept(data.next_hole());
            self.lookout.begin();
        }
        let hole = data.next_hole();
        let rest = &input[answers.consumed..];
        let (consumed, done) = self.scan(rest)?;
        if self.lookout.sees(&rest[..consumed], &batch.fence) {
            return Err(Broken::Violation(
                "the fence was answered before all commands were".to_owned(),
            ));
        }
        batch.collect(hole, &rest[..consumed]);
        answers.consumed += consumed;
        let item = if done.is_some() {
            std::mem::replace(&mut self.item, NO_ITEM)
        } else {
            self.item
        };
        match done {
            None => {}
            Some(Kind::Push | Kind::Attribute) => batch.drop_from(hole, item),
            Some(Kind::Error) => {
                // What stands for it depends on what is made of it.
                batch.drop_from(hole, item);
                answers.refusal = Some(self.command_refusal());
            }
            Some(Kind::Value | Kind::Null | Kind::Header(_)) => {
                batch.outcome.succeeded += 1;
                data.answered += 1;
                answers.succeeded += 1;
            }
        }
        Ok(answers)
    }

    /// Whether what has come by now, with more of it, is or may become that.
    fn continues(&self, input: &[u8], expected: &[u8]) -> bool {
        let rest = &expected[self.matched..];
        let step = rest.len().min(input.len());
        rest[..step] == input[..step]
    }

    /// Awaits a reply whose bytes are known.
    pub(super) fn expect(&mut self, input: &[u8], expected: &[u8]) -> Result<Expected, Broken> {
        let other = matches!(input, [b'-' | b'!' | b'>' | b'|', ..]);
        if self.matched == 0 && (other || !self.scanner.at_boundary()) {
            let (consumed, done) = self.scan(input)?;
            return match done {
                Some(Kind::Error) => Ok(Expected::Refused(consumed)),
                None | Some(Kind::Push | Kind::Attribute) => Ok(Expected::NotYet(consumed)),
                Some(_) => Err(unexpected(input, expected)),
            };
        }
        let rest = &expected[self.matched..];
        let step = rest.len().min(input.len());
        if rest[..step] != input[..step] {
            return Err(unexpected(input, expected));
        }
        self.matched += step;
        if self.matched < expected.len() {
            return Ok(Expected::NotYet(step));
        }
        self.matched = 0;
        Ok(Expected::Came(step))
    }

    pub(super) fn scan(&mut self, input: &[u8]) -> Result<(usize, Option<Kind>), Broken> {
        match self.scanner.next(input) {
            Ok(step) => Ok((step.consumed, step.done)),
            Err(malformed) => Err(Broken::Violation(match peer_hint(input) {
                Some(hint) => format!("{malformed}: {} ({hint})", excerpt(input)),
                None => format!("{malformed}: {}", excerpt(input)),
            })),
        }
    }

    /// Code and text of the error that was read, as the reply to a command.
    ///
    /// # Errors
    /// Where it is no reply, but the server's complaint about the protocol: it then closes the connection.
    pub(super) fn refusal(&self) -> Result<(String, String), Broken> {
        let (code, message) = self.command_refusal();
        if is_protocol_error(&message) {
            return Err(the_server_says(&message));
        }
        Ok((code, message))
    }

    /// The same where it stands in the place of a reply to a command of the load; see [`Exchange::is_unreadable`].
    pub(super) fn command_refusal(&self) -> (String, String) {
        let message = self.error_text();
        let code = message.split(' ').next().unwrap_or_default().chars().take(64).collect();
        (code, message)
    }

    pub(super) fn error_text(&self) -> String {
        printable(self.scanner.error_line())
    }
}

/// Without what comes behind it.
fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default()
}

fn unexpected(input: &[u8], expected: &[u8]) -> Broken {
    Broken::Violation(format!("expected {}, got {}", excerpt(expected), excerpt(input)))
}
