//! One question and its answer, on a connection on which nothing else is under way.
//!
//! An encoded command comes in, its reply goes out, raw or as a value. After an error the connection
//! is of no more use: whatever comes next on it may be the late answer.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::link::Link;
use crate::error::Error;
use crate::resp::reply::{Kind, Scanner, excerpt};
use crate::resp::value::{self, Value};

/// The longest reply that is taken for an answer to a question of our own: an `INFO` of everything
/// has some 10 KiB, the largest value a few words.
const MAX_ANSWER: usize = 1 << 20;

/// As much as one read brings.
const READ_BYTES: usize = 16 * 1024;

/// A command in RESP.
pub fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}

impl Link {
    /// Sends one command and reads its reply, which may be an error of the server. The link has to be
    /// quiet (`is_quiet`), and is to be dropped after an error. `name` is for errors.
    ///
    /// # Errors
    ///
    /// - `Error::ConnectionLost`: it ended before the reply was whole
    /// - `Error::Stalled`: that took longer than `limit`
    /// - `Error::Protocol`: no RESP, more than one reply, or one of over 1 MiB
    pub async fn ask(&mut self, name: &'static str, request: &[u8], limit: Duration) -> Result<Value, Error> {
        let reply = self.ask_raw(name, request, limit, MAX_ANSWER).await?;
        match value::parse(&reply) {
            Some((value, length)) if length == reply.len() => Ok(value),
            _ => Err(Error::Internal("scanner and parser do not agree on a reply".into())),
        }
    }

    /// The same for several commands, written in one go.
    ///
    /// # Errors
    /// Those of [`Self::ask`].
    pub async fn ask_all(
        &mut self,
        name: &'static str,
        requests: &[u8],
        replies: usize,
        limit: Duration,
    ) -> Result<Vec<Value>, Error> {
        let raw = self.converse(name, requests, replies, limit, MAX_ANSWER).await?;
        let mut values = Vec::new();
        let mut rest = raw.as_slice();
        while let Some((value, length)) = value::parse(rest) {
            values.push(value);
            rest = &rest[length..];
        }
        Ok(values)
    }

    /// As [`Self::ask`], with the reply as it came, of at most `ceiling` bytes.
    pub async fn ask_raw(
        &mut self,
        name: &'static str,
        request: &[u8],
        limit: Duration,
        ceiling: usize,
    ) -> Result<Vec<u8>, Error> {
        self.converse(name, request, 1, limit, ceiling).await
    }

    async fn converse(
        &mut self,
        name: &'static str,
        request: &[u8],
        replies: usize,
        limit: Duration,
        ceiling: usize,
    ) -> Result<Vec<u8>, Error> {
        let address = self.address.clone();
        match timeout(limit, exchange(&mut self.stream, name, request, replies, ceiling)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Wrong::Lost(reason))) => Err(Error::ConnectionLost { address, reason }),
            Ok(Err(Wrong::Violated(reason))) => Err(Error::Protocol { address, reason }),
            Err(_) => Err(Error::Stalled { address, after: limit }),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    Lost(String),
    Violated(String),
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

async fn exchange<S>(
    stream: &mut S,
    name: &str,
    request: &[u8],
    replies: usize,
    ceiling: usize,
) -> Result<Vec<u8>, Wrong>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut scanner = Scanner::new();
    let mut reply = Vec::new();
    // Of them so many are whole, in so many bytes.
    let (mut count, mut whole) = (0, 0);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let bytes = stream.read(&mut buffer).await?;
        if bytes == 0 {
            return Err(Wrong::Lost("the server closed it".to_owned()));
        }
        let mut input = &buffer[..bytes];
        while !input.is_empty() {
            let step = scanner
                .next(input)
                .map_err(|malformed| Wrong::Violated(format!("{malformed}: {}", excerpt(input))))?;
            reply.extend_from_slice(&input[..step.consumed]);
            input = &input[step.consumed..];
            if reply.len() > ceiling {
                return Err(Wrong::Violated(format!(
                    "the reply to {name} is longer than {ceiling} bytes"
                )));
            }
            match step.done {
                None => {}
                Some(Kind::Push | Kind::Attribute) => reply.truncate(whole),
                Some(_) if count + 1 < replies => (count, whole) = (count + 1, reply.len()),
                Some(_) if input.is_empty() => return Ok(reply),
                Some(_) => {
                    return Err(Wrong::Violated(format!(
                        "more than one reply to {name}: {}",
                        excerpt(input)
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::handshake::Peer;
    use super::super::stream::Stream;
    use super::*;

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    /// Asks a peer that says `reply` in pieces of `piece` bytes, and then hangs up.
    async fn answer(reply: &[u8], piece: usize, ceiling: usize) -> Result<Vec<u8>, Wrong> {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
        let peer = async {
            let mut request = vec![0; PING.len()];
            theirs.read_exact(&mut request).await.unwrap();
            assert_eq!(request, PING);
            for bytes in reply.chunks(piece) {
                theirs.write_all(bytes).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(theirs);
        };
        let (answer, ()) = tokio::join!(exchange(&mut ours, "PING", PING, 1, ceiling), peer);
        answer
    }

    #[test]
    fn commands_are_encoded_by_their_bytes() {
        assert_eq!(encode(&[b"PING"]), PING);
        assert_eq!(
            encode(&["ECHO".as_bytes(), "é".as_bytes(), b""]),
            "*3\r\n$4\r\nECHO\r\n$2\r\né\r\n$0\r\n\r\n".as_bytes()
        );
    }

    #[tokio::test]
    async fn one_reply_is_the_answer_however_it_is_cut() {
        for reply in [
            "+PONG\r\n",
            "-ERR no\r\n",
            "$-1\r\n",
            "*2\r\n:1\r\n*1\r\n$3\r\na\r\n\r\n",
        ] {
            for piece in 1..=reply.len() {
                assert_eq!(answer(reply.as_bytes(), piece, 64).await, Ok(reply.as_bytes().to_vec()));
            }
        }
    }

    #[tokio::test]
    async fn pushes_and_attributes_are_no_answer() {
        let reply = b">2\r\n+a\r\n+b\r\n|1\r\n+ttl\r\n:1\r\n+PONG\r\n";
        for piece in 1..=reply.len() {
            assert_eq!(answer(reply, piece, 64).await, Ok(b"+PONG\r\n".to_vec()));
        }
    }

    #[tokio::test]
    async fn anything_else_is_told() {
        let violated = |text: &str| Err(Wrong::Violated(text.to_owned()));
        assert_eq!(
            answer(b"+a\r\n+b\r\n", 99, 64).await,
            violated("more than one reply to PING: +b\\r\\n")
        );
        let lost = Err(Wrong::Lost("the server closed it".to_owned()));
        assert_eq!(answer(b"", 99, 64).await, lost);
        assert_eq!(answer(b"+PON", 99, 64).await, lost);
        assert!(matches!(answer(b"HTTP/1.1", 99, 64).await, Err(Wrong::Violated(_))));
        let long = [b"$100\r\n", "x".repeat(100).as_bytes(), b"\r\n"].concat();
        assert_eq!(answer(&long, 99, 108).await, Ok(long.clone()));
        for piece in [1, 7, 200] {
            assert_eq!(
                answer(&long, piece, 64).await,
                violated("the reply to PING is longer than 64 bytes")
            );
        }
    }

    #[tokio::test]
    async fn a_link_is_asked_within_a_time_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        let mut link = Link {
            stream: Stream::Tcp(stream),
            peer: Peer::default(),
            address: "h:1".into(),
        };
        theirs.write_all(b":7\r\n").await.unwrap();
        let limit = Duration::from_secs(20);
        assert_eq!(link.ask("PING", PING, limit).await.unwrap(), Value::Integer(7));

        theirs.write_all(b">1\r\n+a\r\n-ERR no\r\n*1\r\n:1\r\n").await.unwrap();
        let answers = link.ask_all("PING", &[PING, PING].concat(), 2, limit).await.unwrap();
        let list = Value::Array(vec![Value::Integer(1)]);
        assert_eq!(answers, [Value::Error(b"ERR no".to_vec()), list]);

        let error = link.ask("PING", PING, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.to_string(), "connection to h:1 stalled: no progress for 20 ms");
        theirs.write_all(b"?").await.unwrap();
        let error = link.ask("PING", PING, limit).await.unwrap_err();
        assert!(error.to_string().starts_with("protocol error of h:1: "), "{error}");
        // With what is unread it would be reset.
        theirs.read_exact(&mut vec![0; 5 * PING.len()]).await.unwrap();
        drop(theirs);
        let error = link.ask("PING", PING, limit).await.unwrap_err();
        assert_eq!(error.code(), "RESPIPE_CONNECTION_LOST");
    }
}
