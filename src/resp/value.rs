//! Values of the few replies whose content matters: handshake, ROLE, CLUSTER SLOTS, collected ones.
//!
//! In comes a reply that the scanner has accepted; out goes a tree in the shapes of RESP2, so that
//! the callers need not know which protocol was spoken.

use super::reply::{Line, MAX_DEPTH, Type, integer, read};

/// A reply in the shapes of RESP2.
///
/// Maps are arrays of keys and values in turn, sets and pushes are arrays, doubles and big numbers
/// are text, booleans are 1 and 0, verbatim strings are text without their format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    Integer(i64),
    /// Simple strings and bulks.
    Text(Vec<u8>),
    /// The whole text, without `-`.
    Error(Vec<u8>),
    Array(Vec<Self>),
}

/// Makes values of what a reply holds, in the shapes of RESP2. `None` ends the reading.
pub trait Build {
    type Out;

    fn null(&mut self) -> Option<Self::Out>;
    fn integer(&mut self, integer: i64) -> Option<Self::Out>;
    /// A simple string, or a number that RESP2 has as text.
    fn line(&mut self, text: &[u8]) -> Option<Self::Out>;
    fn bulk(&mut self, bytes: &[u8]) -> Option<Self::Out>;
    fn error(&mut self, text: &[u8]) -> Option<Self::Out>;
    fn array(&mut self, elements: Vec<Self::Out>) -> Option<Self::Out>;
}

/// Reads the reply that `bytes` begin with; returns it and its length. Attributes are skipped.
/// Answers `None` exactly where the scanner would complain or wait for more.
pub fn parse(bytes: &[u8]) -> Option<(Value, usize)> {
    build(bytes, &mut Values)
}

/// As [`parse`], with values of the builder's own.
pub fn build<B: Build>(bytes: &[u8], builder: &mut B) -> Option<(B::Out, usize)> {
    let mut reader = Reader { bytes, at: 0 };
    let mut open: Vec<Open<B::Out>> = Vec::new();
    loop {
        let kind = Type::of(reader.byte()?)?;
        if kind == Type::Push && !open.is_empty() {
            return None;
        }
        let line = reader.line(kind.line_limit())?;
        let mut value = match read(kind, line).ok()? {
            Line::Whole => match kind {
                Type::Integer => builder.integer(integer(line)?)?,
                Type::Boolean => builder.integer(i64::from(line == b"t"))?,
                Type::Error => builder.error(line)?,
                _ => builder.line(line)?,
            },
            Line::Null => builder.null()?,
            Line::Body(length) => {
                let body = reader.body(usize::try_from(length).ok()?)?;
                match (kind, body) {
                    (Type::BlobError, _) => builder.error(body)?,
                    (Type::Verbatim, [_, _, _, b':', text @ ..]) => builder.bulk(text)?,
                    (Type::Verbatim, _) => return None,
                    _ => builder.bulk(body)?,
                }
            }
            Line::Elements(_) if open.len() == MAX_DEPTH => return None,
            Line::Elements(0) if kind == Type::Attribute => continue,
            Line::Elements(0) => builder.array(Vec::new())?,
            Line::Elements(left) => {
                open.push(Open {
                    left,
                    kind,
                    elements: Vec::new(),
                });
                continue;
            }
        };
        // The value may be the last element of several arrays at once.
        loop {
            let Some(parent) = open.last_mut() else {
                return Some((value, reader.at));
            };
            // Grows as elements arrive: the declared count is only a claim.
            parent.elements.push(value);
            parent.left -= 1;
            if parent.left > 0 {
                break;
            }
            let whole = open.pop()?;
            if whole.kind == Type::Attribute {
                break;
            }
            value = builder.array(whole.elements)?;
        }
    }
}

struct Values;

impl Build for Values {
    type Out = Value;

    fn null(&mut self) -> Option<Value> {
        Some(Value::Null)
    }

    fn integer(&mut self, integer: i64) -> Option<Value> {
        Some(Value::Integer(integer))
    }

    fn line(&mut self, text: &[u8]) -> Option<Value> {
        Some(Value::Text(text.to_vec()))
    }

    fn bulk(&mut self, bytes: &[u8]) -> Option<Value> {
        Some(Value::Text(bytes.to_vec()))
    }

    fn error(&mut self, text: &[u8]) -> Option<Value> {
        Some(Value::Error(text.to_vec()))
    }

    fn array(&mut self, elements: Vec<Value>) -> Option<Value> {
        Some(Value::Array(elements))
    }
}

/// An aggregate that still lacks `left` elements.
struct Open<T> {
    left: u64,
    kind: Type,
    elements: Vec<T>,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn line(&mut self, limit: usize) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let window = &rest[..rest.len().min(limit + 1)];
        let end = memchr::memchr2(b'\r', b'\n', window)?;
        self.body(end)
    }

    fn body(&mut self, length: usize) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let (body, end) = rest.split_at_checked(length)?;
        if !end.starts_with(b"\r\n") {
            return None;
        }
        self.at += length + 2;
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn whole(bytes: &[u8]) -> Value {
        let (value, length) = parse(bytes).expect("a reply");
        assert_eq!(length, bytes.len());
        value
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn scalars_take_the_shapes_of_resp2() {
        assert_eq!(whole(b"+OK\r\n"), text("OK"));
        assert_eq!(whole(b"$4\r\na\r\nb\r\n"), text("a\r\nb"));
        assert_eq!(whole(b"=8\r\ntxt:a: b\r\n"), text("a: b"));
        assert_eq!(whole(b"-ERR no\r\n"), Value::Error(b"ERR no".to_vec()));
        assert_eq!(whole(b"!6\r\nERR\r\nx\r\n"), Value::Error(b"ERR\r\nx".to_vec()));
        assert_eq!(whole(b":-7\r\n"), Value::Integer(-7));
        assert_eq!(whole(b":+1\r\n"), Value::Integer(1));
        assert_eq!(whole(b"#t\r\n"), Value::Integer(1));
        assert_eq!(whole(b"#f\r\n"), Value::Integer(0));
        assert_eq!(whole(b",1.5\r\n"), text("1.5"));
        assert_eq!(whole(b"(-123\r\n"), text("-123"));
        for null in [&b"_\r\n"[..], b"$-1\r\n", b"*-1\r\n"] {
            assert_eq!(whole(null), Value::Null);
        }
    }

    #[test]
    fn maps_are_flat_and_attributes_are_skipped() {
        let hello = b"|1\r\n+ttl\r\n:3600\r\n%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n\
            |1\r\n+a\r\n*1\r\n+b\r\n:3\r\n";
        let flat = [text("server"), text("redis"), text("proto"), Value::Integer(3)];
        assert_eq!(whole(hello), Value::Array(flat.to_vec()));
        assert_eq!(
            whole(b"|0\r\n*1\r\n|0\r\n~0\r\n"),
            Value::Array(vec![Value::Array(vec![])])
        );
    }

    #[test]
    fn nested_replies_keep_their_shape() {
        let role = b"*3\r\n$6\r\nmaster\r\n:3129659\r\n*1\r\n*2\r\n$9\r\n127.0.0.1\r\n$4\r\n9001\r\n";
        let replica = Value::Array(vec![text("127.0.0.1"), text("9001")]);
        let role_value = [text("master"), Value::Integer(3_129_659), Value::Array(vec![replica])];
        assert_eq!(whole(role), Value::Array(role_value.to_vec()));
        assert_eq!(
            whole(b">2\r\n+a\r\n*0\r\n"),
            Value::Array(vec![text("a"), Value::Array(vec![])])
        );
    }

    #[test]
    fn bytes_behind_the_reply_stay() {
        assert_eq!(parse(b"+OK\r\n+NEXT"), Some((text("OK"), 5)));
    }

    #[test]
    fn every_prefix_of_a_reply_is_none() {
        let reply = b"|1\r\n+a\r\n:1\r\n%1\r\n+k\r\n*2\r\n$3\r\na\rb\r\n=4\r\ntxt:\r\n";
        for end in 0..reply.len() {
            assert_eq!(parse(&reply[..end]), None, "{end}");
        }
        whole(reply);
    }

    #[test]
    fn malformed_and_hostile_bytes_are_none() {
        for bytes in ["", "x", "+a\n", "+a\rb\r\n", "$1\r\naXX", "$-2\r\n", "$05\r\nabcde\r\n"] {
            assert_eq!(parse(bytes.as_bytes()), None, "{bytes:?}");
        }
        for bytes in ["*2147483647\r\n", "*1\r\n>0\r\n", "=4\r\ntxtx\r\n", "*?\r\n", "|0\r\n"] {
            assert_eq!(parse(bytes.as_bytes()), None, "{bytes:?}");
        }
    }

    #[test]
    fn nesting_ends_at_128() {
        let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert!(parse(&nested(128)).is_some());
        assert_eq!(parse(&nested(129)), None);
        assert_eq!(parse(&nested(10_000)), None);
    }
}
