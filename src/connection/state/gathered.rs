//! Replies of one batch, kept for JavaScript in the order of its commands.

/// RESP, with holes where a command is answered later than those behind it.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
    holes: Vec<Hole>,
    filled: usize,
}

#[derive(Debug)]
struct Hole {
    /// Among the bytes.
    at: usize,
    reply: Vec<u8>,
}

impl Gathered {
    /// Where replies go: into a hole, or behind all others.
    pub(super) fn sink(&mut self, hole: Option<u32>) -> &mut Vec<u8> {
        match hole.and_then(|hole| self.holes.get_mut(hole as usize)) {
            Some(hole) => &mut hole.reply,
            None => &mut self.bytes,
        }
    }

    /// Leaves room for so many replies here; returns the first of as many holes.
    pub(super) fn leave(&mut self, count: u32) -> u32 {
        let first = u32::try_from(self.holes.len()).unwrap_or(u32::MAX);
        let at = self.bytes.len();
        self.holes.extend((0..count).map(|_| Hole { at, reply: Vec::new() }));
        first
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes that are kept.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.filled
    }

    pub(super) fn append(&mut self, hole: Option<u32>, bytes: &[u8]) {
        if hole.is_some() {
            self.filled += bytes.len();
        }
        self.sink(hole).extend_from_slice(bytes);
    }

    /// Drops what was appended there beyond `length` bytes.
    pub(super) fn cut(&mut self, hole: Option<u32>, length: usize) {
        let sink = self.sink(hole);
        let dropped = sink.len().saturating_sub(length);
        sink.truncate(length);
        if hole.is_some() {
            self.filled -= dropped;
        }
    }

    /// The replies, each in its place.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        if self.holes.is_empty() {
            return self.bytes;
        }
        let mut whole = Vec::with_capacity(self.bytes.len() + self.filled);
        let mut from = 0;
        for hole in self.holes {
            whole.extend_from_slice(&self.bytes[from..hole.at]);
            whole.extend_from_slice(&hole.reply);
            from = hole.at;
        }
        whole.extend_from_slice(&self.bytes[from..]);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_that_come_late_take_their_place() {
        let mut gathered = Gathered::default();
        gathered.append(None, b"+1\r\n");
        assert_eq!(gathered.leave(2), 0);
        gathered.append(None, b"+4\r\n");
        assert_eq!(gathered.leave(1), 2);
        gathered.append(Some(1), b"+3\r\n");
        gathered.append(Some(2), b"+5\r\n");
        gathered.append(Some(0), b"+2\r\n");
        assert_eq!(gathered.into_bytes(), b"+1\r\n+2\r\n+3\r\n+4\r\n+5\r\n");
    }
}
