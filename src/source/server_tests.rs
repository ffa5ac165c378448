//! The same bytes to a real server, where there is one: it takes them for the same commands.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::script::{Format, Script};
use super::script_tests::{pipeline, words};
use super::window::tests::Pieces;
use crate::loader::server::config;
use crate::resp::value::{Value, parse};

/// No test waits so long unless something hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// A server of this test's own, which ends with it.
struct RedisServer {
    folder: PathBuf,
    child: Child,
}

impl RedisServer {
    /// `None` where there is no such program: these tests then have nothing to say.
    fn start() -> Option<Self> {
        let program = std::env::var_os("RESPIPE_REDIS_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from);
        let name = format!("respipe-source-{}-{}", std::process::id(), fastrand::u32(..));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let child = Command::new(program)
            .args(["--port", "0", "--save", ""])
            .args(["--unixsocket".as_ref(), folder.join("socket").as_os_str()])
            .args(["--dir".as_ref(), folder.as_os_str()])
            .stdout(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Self { folder, child }),
            Err(_) => {
                std::fs::remove_dir_all(&folder).unwrap();
                None
            }
        }
    }

    fn connect(&self) -> UnixStream {
        let start = Instant::now();
        let path: &Path = &self.folder.join("socket");
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(LIMIT)).unwrap();
                    return stream;
                }
                Err(error) => assert!(start.elapsed() < LIMIT, "the server does not answer: {error}"),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// The words that the server finds in `RPUSH words <line>`; `None` where it ends the connection.
fn found_by_server(stream: &mut UnixStream, line: &[u8]) -> Option<Vec<Vec<u8>>> {
    // Without a word the list would not be made.
    let request = [b"DEL words\nRPUSH words first ", line, b"\nLRANGE words 0 -1\n"].concat();
    stream.write_all(&request).ok()?;
    let mut input = Vec::new();
    loop {
        let mut at = 0;
        for place in 0..3 {
            let Some((value, length)) = parse(&input[at..]) else {
                break;
            };
            at += length;
            match value {
                Value::Error(_) => return None,
                Value::Array(values) if place == 2 => {
                    let word = |value| match value {
                        Value::Text(text) => text,
                        other => panic!("not a word: {other:?}"),
                    };
                    return Some(values.into_iter().skip(1).map(word).collect());
                }
                _ => {}
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).expect("an answer") {
            0 => return None,
            count => input.extend_from_slice(&piece[..count]),
        }
    }
}

/// The same for the reader of files.
fn found_by_us(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let file = [b"RPUSH words first ", line, b"\n"].concat();
    let config = config(1);
    let mut script = Script::new(Pieces::new(&file, &[5]), Format::Resp, &config);
    let record = script.next().ok()??;
    let words = words(&mut pipeline(), &record)?;
    Some(words[3..].to_vec())
}

#[test]
fn odd_lines_have_the_words_that_the_server_finds() {
    const ODD: &[u8] = b"\"\"''\\\\xnrtb0aFg \t\r\x0b\x0c\x01\xe9*$";

    let Some(server) = RedisServer::start() else { return };
    let mut stream = server.connect();
    let mut rng = Rng::with_seed(7);
    let mut sound = 0;
    for _ in 0..2_000 {
        let length = rng.usize(..16);
        let line: Vec<u8> = (0..length).map(|_| ODD[rng.usize(..ODD.len())]).collect();
        let found = found_by_server(&mut stream, &line);
        assert_eq!(found_by_us(&line), found, "{}", line.escape_ascii());
        match found {
            Some(_) => sound += 1,
            None => stream = server.connect(),
        }
    }
    assert!((400..1_900).contains(&sound), "{sound}");
}

/// Whether the server takes all of a file; it ends the connection where it does not.
fn is_taken(server: &RedisServer, file: &[u8]) -> bool {
    let mut stream = server.connect();
    let end = b"\r\n*2\r\n$4\r\nECHO\r\n$3\r\nend\r\n";
    stream.write_all(&[file, end].concat()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut input = Vec::new();
    // Its refusal may come with a reset.
    let _ = stream.read_to_end(&mut input);
    input.ends_with(b"$3\r\nend\r\n")
}

#[test]
fn lengths_are_taken_and_refused_as_the_server_does() {
    let Some(server) = RedisServer::start() else { return };
    let texts = [
        "",
        "0",
        "1",
        "01",
        "00",
        "-0",
        "-1",
        "-10",
        "+1",
        "1 ",
        " 1",
        "1a",
        "1\n",
        "a",
        "-",
        "--1",
        "9",
        "99999999999",
        "2147483648",
        "9223372036854775808",
        "-2147483648",
    ];
    // Where they are sound, what they announce follows.
    let files = texts.iter().flat_map(|text| {
        let count = text
            .parse()
            .ok()
            .filter(|count| (1..10).contains(count))
            .unwrap_or(0_usize);
        let words = "$4\r\nPING\r\n".repeat(count);
        let word = "x".repeat(count);
        [format!("*{text}\r\n{words}"), format!("*1\r\n${text}\r\n{word}\r\n")]
    });
    for file in files {
        let config = config(1);
        let mut script = Script::new(Pieces::new(file.as_bytes(), &[3]), Format::Resp, &config);
        let ours = loop {
            match script.next() {
                Ok(Some(_)) => {}
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert_eq!(ours, is_taken(&server, file.as_bytes()), "{file:?}");
    }
}
