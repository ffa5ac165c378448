//! The end of a batch: a nonce that the server says after.

/// `ECHO` of a nonce. That it comes exactly where the count of replies says proves that every reply before it was
/// to a command before it.
#[derive(Debug, Clone)]
pub(super) struct Fence {
    /// The batch that is over with it; none for a fence within the work.
    pub(super) ends: Option<u64>,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Fence {
    pub(super) fn new(ends: Option<u64>) -> Self {
        let nonce = format!("{:032x}", fastrand::u128(..));
        Self {
            ends,
            request: format!("*2\r\n$4\r\nECHO\r\n$32\r\n{nonce}\r\n").into_bytes(),
            reply: format!("$32\r\n{nonce}\r\n").into_bytes(),
        }
    }

    pub(super) fn request(&self) -> &[u8] {
        &self.request
    }

    /// The bytes that answer it.
    pub(super) fn reply(&self) -> &[u8] {
        &self.reply
    }
}

/// Watches for a fence's reply among those of the commands before it: then some of these are missing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lookout {
    /// Bytes of the reply that is being read, as far as they are the fence's; `None` once they are not.
    matched: Option<usize>,
}

impl Lookout {
    /// A reply begins.
    pub(super) fn begin(&mut self) {
        self.matched = Some(0);
    }

    /// More of it has come. Tells whether the whole reply to the fence has.
    pub(super) fn sees(&mut self, bytes: &[u8], fence: &[u8]) -> bool {
        let Some(matched) = self.matched else { return false };
        let matched = matched + bytes.len();
        let expected = fence.get(..matched).unwrap_or_default();
        self.matched = expected
            .ends_with(bytes)
            .then_some(matched)
            .filter(|_| !expected.is_empty());
        self.matched == Some(fence.len())
    }
}
