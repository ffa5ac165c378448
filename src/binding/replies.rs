//! Replies as they came, to JavaScript values in their RESP2 shapes.

use std::iter;

use napi::sys;

use super::js::{Failed, Js, Result};
use crate::config::Encoding;
use crate::resp::reply::printable;
use crate::resp::value::{Build, build};

/// The replies in `bytes`, as an array.
pub(super) fn all(js: Js, bytes: &[u8], encoding: Encoding) -> Result<sys::napi_value> {
    let array = js.array(0)?;
    let mut at = 0;
    for index in iter::successors(Some(0_usize), |index| Some(index + 1)) {
        if at == bytes.len() {
            break;
        }
        // A scope each: they may be millions.
        at += js.scoped(|| {
            let (value, length) = build(&bytes[at..], &mut Builder { js, encoding }).ok_or(Failed)?;
            js.set_element(array, index, value)?;
            Ok(length)
        })?;
    }
    Ok(array)
}

/// The one reply in `bytes`.
pub(super) fn one(js: Js, bytes: &[u8], encoding: Encoding) -> Result<sys::napi_value> {
    build(bytes, &mut Builder { js, encoding })
        .map(|(value, _)| value)
        .ok_or(Failed)
}

struct Builder {
    js: Js,
    encoding: Encoding,
}

impl Build for Builder {
    type Out = sys::napi_value;

    fn null(&mut self) -> Option<sys::napi_value> {
        self.js.null().ok()
    }

    fn integer(&mut self, integer: i64) -> Option<sys::napi_value> {
        self.js.integer(integer).ok()
    }

    fn line(&mut self, text: &[u8]) -> Option<sys::napi_value> {
        self.js.text(text).ok()
    }

    fn bulk(&mut self, bytes: &[u8]) -> Option<sys::napi_value> {
        match self.encoding {
            // Node.js has no strings beyond 512 MiB, less a few bytes; a server has.
            Encoding::Utf8 => self.js.text(bytes).or_else(|_| {
                let message = format!(
                    "a reply of {} bytes is longer than any string: use encoding: 'buffer'",
                    bytes.len()
                );
                self.js.error(b"RESPIPE_UNSUPPORTED", message.as_bytes())
            }),
            Encoding::Buffer => self.js.buffer(bytes),
        }
        .ok()
    }

    fn error(&mut self, text: &[u8]) -> Option<sys::napi_value> {
        let message = printable(text);
        let code = message.split(' ').next().unwrap_or_default();
        self.js.error(code.as_bytes(), message.as_bytes()).ok()
    }

    fn array(&mut self, elements: Vec<sys::napi_value>) -> Option<sys::napi_value> {
        let array = self.js.array(elements.len()).ok()?;
        for (at, element) in elements.into_iter().enumerate() {
            self.js.set_element(array, at, element).ok()?;
        }
        Some(array)
    }
}
