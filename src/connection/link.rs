//! A connection that is ready for commands: opened, encrypted where wanted, logged in.
//!
//! The configuration comes in, a `Link` goes out to the connection task. One time limit covers it
//! all, and an error tells in which phase it was spent.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout};

use super::handshake::{self, After, Peer, Probe};
use super::stream::{self, Stream};
use super::tls::Connector;
use crate::config::Config;
use crate::error::Error;

/// An open connection: everything written to it is taken for a command, and answered.
#[derive(Debug)]
pub struct Link {
    pub stream: Stream,
    pub peer: Peer,
    /// As errors name it.
    pub address: String,
}

impl Link {
    /// Nothing was said, and nobody hung up: a connection that was idle is good for more.
    pub async fn is_quiet(&mut self) -> bool {
        // Polled once. Not by a timeout of zero, which costs a millisecond: the clock of the runtime knows no less.
        poll_fn(|cx| Poll::Ready(self.looks_quiet(cx))).await
    }

    /// The link, if nothing was said as far as the runtime has heard by now.
    pub fn if_quiet(mut self) -> Option<Self> {
        let quiet = self.looks_quiet(&mut Context::from_waker(Waker::noop()));
        quiet.then_some(self)
    }

    fn looks_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        Pin::new(&mut self.stream).poll_read(cx, &mut read).is_pending()
    }
}

/// Opens a connection within `config.connect_timeout`.
///
/// # Errors
///
/// What `stream::connect`, `Connector::secure` and `handshake::login` say; where time is up,
/// `Error::TlsInterrupted` in the TLS phase and `Error::Connect` in the others.
pub async fn open(config: &Config, connector: &Connector) -> Result<Link, Error> {
    open_and(config, connector, After::Ready).await
}

/// The same to a server that has let us in before, and that holds the connection back once it is logged in (`hold`).
///
/// # Errors
///
/// Those of [`open`].
pub async fn open_held(config: &Config, connector: &Connector) -> Result<Link, Error> {
    open_and(config, connector, After::Held).await
}

async fn open_and(config: &Config, connector: &Connector, after: After) -> Result<Link, Error> {
    let address = config.server.to_string();
    let start = Instant::now();
    let limit = config.connect_timeout;
    let left = || limit.saturating_sub(start.elapsed());

    let stream = timeout(left(), stream::connect(config))
        .await
        .map_err(|_| late_connect(&address, "the connection was not accepted", limit))??;
    let mut stream = timeout(left(), connector.secure(stream, &config.server))
        .await
        .map_err(|_| Error::TlsInterrupted {
            address: address.clone(),
            reason: format!(
                "no answer to the TLS handshake within {} ms: is it a plain port?",
                limit.as_millis()
            ),
        })??;
    let channel = stream.channel();
    let probe = Probe::of(config.replies);
    let login = handshake::login(&mut stream, &config.login, probe, after, &address, channel);
    let peer = timeout(left(), login)
        .await
        .map_err(|_| late_connect(&address, "the login was not answered", limit))??;
    Ok(Link { stream, peer, address })
}

fn late_connect(address: &str, what: &str, limit: Duration) -> Error {
    Error::Connect {
        address: address.into(),
        reason: format!("{what} within {} ms", limit.as_millis()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::config::{
        Login, Replies, Resend, Retry, Secret, Server, Throttle, Tls, Transaction, Verification, WhenFull,
    };
    use crate::resp::value::{self, Value};

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    pub(in crate::connection) fn config(server: Server, tls: Option<Tls>) -> Config {
        Config {
            server,
            tls,
            login: Login::default(),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            retry: Retry {
                first_connect: 3,
                attempts: None,
                max_elapsed: Duration::from_secs(600),
                min_delay: Duration::from_millis(50),
                max_delay: Duration::from_secs(2),
            },
            replies: Replies::Check,
            transaction: Transaction::Off,
            auto_exec: None,
            max_buffered: 1 << 26,
            when_full: WhenFull::Throw,
            max_in_flight: 1 << 20,
            reconnect_every: 0,
            resend: Resend::Idempotent,
            checkpoint: None,
            wait_replicas: None,
            max_failures: 100,
            throttle: Throttle::default(),
        }
    }

    async fn open_with(config: &Config) -> Result<Link, Error> {
        open(config, &Connector::new(config)?).await
    }

    /// Where the next connection is treated by `peer`.
    async fn listen<F>(peer: impl FnOnce(TcpStream) -> F + Send + 'static) -> Server
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            peer(stream).await;
        });
        Server::Tcp {
            host: "127.0.0.1".into(),
            port,
        }
    }

    /// A server as far as a login sees it.
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
        let mut bytes = Vec::new();
        while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            while let Some((Value::Array(words), length)) = value::parse(&bytes) {
                bytes.drain(..length);
                let reply = match words.as_slice() {
                    [Value::Text(hello), ..] if hello == b"HELLO" => {
                        b"*6\r\n+id\r\n:7\r\n+mode\r\n+standalone\r\n+role\r\n+master\r\n".to_vec()
                    }
                    [Value::Text(echo), Value::Text(nonce)] if echo == b"ECHO" => {
                        [b"$32\r\n", nonce.as_slice(), b"\r\n"].concat()
                    }
                    [Value::Text(client), ..] if client == b"CLIENT" => b"+id=7 addr=10.0.0.1:5 fd=8\r\n".to_vec(),
                    _ => b"+PONG\r\n".to_vec(),
                };
                stream.write_all(&reply).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    }

    fn authority(name: &str) -> Issuer {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A certificate and its key in PEM form.
    fn issue(authority: &Issuer, names: &[&str], expires: i32) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(expires, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A TLS server that shows `identity`, and wants to see a certificate of `clients`.
    async fn listen_tls(identity: (String, String), clients: Option<&Issuer>) -> Server {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(authority.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let certificate = CertificateDer::from_pem_slice(identity.0.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.1.as_bytes()).unwrap();
        let config = builder.with_single_cert(vec![certificate], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        listen(async move |stream| {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream).await;
            }
        })
        .await
    }

    fn trusting(authority: &Issuer) -> Tls {
        Tls {
            ca: Some(authority.pem().into_bytes()),
            ..Tls::default()
        }
    }

    async fn tls_reason(server: Server, tls: Tls) -> String {
        match open_with(&config(server, Some(tls))).await {
            Err(Error::Tls { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn tcp_connections_are_opened_and_logged_in() {
        let link = open_with(&config(listen(answer).await, None)).await.unwrap();
        assert_eq!(link.peer.client_id, Some(7));
        assert_eq!(link.peer.client_address.as_deref(), Some("10.0.0.1:5"));
        let Stream::Tcp(tcp) = &link.stream else {
            panic!("{:?}", link.stream);
        };
        assert!(tcp.nodelay().unwrap());
        let socket = socket2::SockRef::from(tcp);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(31)));
    }

    #[tokio::test]
    async fn each_address_of_a_name_is_tried() {
        let Server::Tcp { port, .. } = listen(answer).await else {
            unreachable!();
        };
        let host = "localhost".into();
        open_with(&config(Server::Tcp { host, port }, None)).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_where_nothing_listens_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let host = "127.0.0.1".into();
        let error = open_with(&config(Server::Tcp { host, port }, None)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot connect to 127.0.0.1:{port}: connection refused: nothing listens there")
        );
        assert_eq!(error.code(), "RESPIPE_CONNECT");
    }

    #[tokio::test]
    async fn a_name_without_address_is_told() {
        // Not even a name, so that no name server is asked.
        let host = "bad name..".into();
        let error = open_with(&config(Server::Tcp { host, port: 1 }, None))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(": the name cannot be resolved: "), "{error}");
        assert_eq!(error.code(), "RESPIPE_CONNECT");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_costs_the_time_limit() {
        let silent = listen(async |stream| {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(stream);
        });
        let mut config = config(silent.await, None);
        config.connect_timeout = Duration::from_millis(100);
        let start = std::time::Instant::now();
        let error = open_with(&config).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert!(error.to_string().ends_with("the login was not answered within 100 ms"));
        assert!(start.elapsed() < Duration::from_secs(5));

        // With TLS: a plain Redis waits for the end of what it takes for a line.
        let silent = listen(async |stream| {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(stream);
        });
        config.server = silent.await;
        config.tls = Some(trusting(&authority("one")));
        let error = open_with(&config).await.unwrap_err();
        assert!(matches!(error, Error::TlsInterrupted { .. }), "{error:?}");
        assert_eq!(error.code(), "RESPIPE_TLS");
        assert!(
            error.to_string().ends_with("within 100 ms: is it a plain port?"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn tls_connections_are_opened_and_logged_in() {
        let authority = authority("one");
        let identity = issue(&authority, &["127.0.0.1"], 4000);
        let server = listen_tls(identity, None).await;
        let link = open_with(&config(server, Some(trusting(&authority)))).await.unwrap();
        assert!(matches!(link.stream, Stream::Tls(_)));
        assert_eq!(link.peer.client_id, Some(7));
    }

    #[tokio::test]
    async fn the_servername_stands_in_for_the_host() {
        let authority = authority("one");
        let identity = issue(&authority, &["redis.example"], 4000);
        let tls = Tls {
            server_name: Some("redis.example".into()),
            // Line ends of Windows.
            ca: Some(authority.pem().replace("\r", "").replace('\n', "\r\n").into_bytes()),
            ..Tls::default()
        };
        let server = listen_tls(identity, None).await;
        open_with(&config(server, Some(tls))).await.unwrap();
    }

    #[tokio::test]
    async fn wrong_certificates_are_told_apart() {
        let authority = authority("one");
        let stranger = self::authority("other");
        let unknown = listen_tls(issue(&stranger, &["127.0.0.1"], 4000), None).await;
        let reason = tls_reason(unknown, trusting(&authority)).await;
        assert!(reason.contains("signed by nobody in ca"), "{reason}");

        let forged = self::authority("one");
        let forged = listen_tls(issue(&forged, &["127.0.0.1"], 4000), None).await;
        let reason = tls_reason(forged, trusting(&authority)).await;
        assert!(
            reason.ends_with("names a trusted authority, but is not signed by it"),
            "{reason}"
        );

        let named = listen_tls(issue(&authority, &["redis.example", "10.0.0.1"], 4000), None).await;
        let reason = tls_reason(named, trusting(&authority)).await;
        assert_eq!(
            reason,
            "the server's certificate is not for \"127.0.0.1\", but for redis.example, 10.0.0.1"
        );

        let expired = listen_tls(issue(&authority, &["127.0.0.1"], 2020), None).await;
        let reason = tls_reason(expired, trusting(&authority)).await;
        assert!(reason.contains("has expired"), "{reason}");

        let root = (stranger.pem(), stranger.key().serialize_pem());
        let reason = tls_reason(listen_tls(root, None).await, trusting(&authority)).await;
        assert!(reason.contains("CA:TRUE"), "{reason}");
    }

    #[tokio::test]
    async fn verification_can_be_switched_off() {
        let identity = issue(&authority("one"), &["elsewhere"], 2020);
        let tls = Tls {
            verification: Verification::Off,
            ..Tls::default()
        };
        let server = listen_tls(identity, None).await;
        open_with(&config(server, Some(tls))).await.unwrap();
    }

    #[tokio::test]
    async fn a_peer_without_tls_is_told() {
        for bytes in ["-ERR unknown command\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let server = listen(async |mut stream: TcpStream| {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                stream.read_to_end(&mut Vec::new()).await.ok();
            });
            let reason = tls_reason(server.await, trusting(&authority("one"))).await;
            assert_eq!(reason, "the peer does not speak TLS: is this a plain port?");
        }
        let server = listen(async |stream| drop(stream)).await;
        let error = open_with(&config(server, Some(trusting(&authority("one")))))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::TlsInterrupted { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_server_may_require_a_certificate_of_ours() {
        let authority = authority("one");
        let identity = issue(&authority, &["127.0.0.1"], 4000);
        let (cert, key) = issue(&authority, &["client"], 4000);
        let tls = Tls {
            cert: Some(cert.into_bytes()),
            key: Some(Secret::new(key.into_bytes())),
            ..trusting(&authority)
        };
        let server = listen_tls(identity.clone(), Some(&authority)).await;
        open_with(&config(server, Some(tls.clone()))).await.unwrap();

        // TLS 1.3: the handshake is over for us when the server says no.
        let server = listen_tls(identity.clone(), Some(&authority)).await;
        let reason = tls_reason(server, trusting(&authority)).await;
        assert!(reason.contains("give cert and key"), "{reason}");

        let server = listen_tls(identity, Some(&self::authority("other"))).await;
        let reason = tls_reason(server, tls).await;
        assert!(reason.contains("refuses the certificate of the client"), "{reason}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn unix_sockets_are_opened_and_logged_in() {
        let folder = std::env::temp_dir().join(format!("respipe-link-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            drop(listener);
            answer(stream).await;
        });
        let socket = |path: &std::path::Path| {
            let path = path.to_owned();
            config(Server::Unix { path }, None)
        };
        let link = open_with(&socket(&path)).await.unwrap();
        assert!(matches!(link.stream, Stream::Unix(_)));

        let file = folder.join("file");
        std::fs::write(&file, "").unwrap();
        for (path, text) in [
            (path, "nothing listens on it"),
            (file, "it is not a socket"),
            (folder.join("none"), "there is no such socket"),
            (folder.join("x".repeat(200)), "the path is too long for a unix socket"),
        ] {
            let error = open_with(&socket(&path)).await.unwrap_err();
            assert!(matches!(error, Error::Connect { .. }), "{error:?}");
            let message = error.to_string();
            assert!(message.contains(path.to_str().unwrap()), "{message}");
            assert!(message.ends_with(text), "{message}");
        }
        std::fs::remove_dir_all(&folder).unwrap();

        let mut encrypted = socket(&folder);
        encrypted.tls = Some(Tls::default());
        let error = open_with(&encrypted).await.unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    }
}
