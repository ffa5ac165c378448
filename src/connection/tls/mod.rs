//! TLS on top of a TCP stream, with rustls and ring.
//!
//! The user's PEM texts come in once per pipeline and become a `Connector`; each connection passes
//! through it and comes out encrypted. What rustls has against a peer is put into plain words here.

mod verifier;

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, InconsistentKeys, InvalidMessage, RootCertStore};
use tokio_rustls::TlsConnector;

use self::verifier::{Verifier, is_of_an_authority};
use super::stream::Stream;
use crate::config::{Config, Server, Tls, Verification};
use crate::error::Error;

/// How the streams of one pipeline are encrypted, or not. Sessions are resumed across connections.
#[derive(Clone)]
pub struct Connector(Option<Client>);

#[derive(Clone)]
struct Client {
    connector: TlsConnector,
    /// Instead of the host, where the user gave one.
    name: Option<ServerName<'static>>,
}

impl Connector {
    /// Reads what the user gave, and the system's roots if there is no `ca`: that is a file of
    /// some 200 kB, so once per pipeline.
    ///
    /// # Errors
    ///
    /// `Error::Tls` with what is wrong with a PEM text or the name; `Error::Unsupported` for TLS
    /// over a unix socket.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let Some(tls) = &config.tls else {
            return Ok(Self(None));
        };
        if let Server::Unix { .. } = config.server {
            return Err(Error::Unsupported("TLS over a unix socket".into()));
        }
        let client = Client::new(tls).map_err(|reason| Error::Tls {
            address: config.server.to_string(),
            reason,
        })?;
        Ok(Self(Some(client)))
    }

    /// Does the TLS handshake, if there is to be one. `server` gives the name that the certificate
    /// must bear.
    ///
    /// # Errors
    ///
    /// `Error::Tls` where the peer, its certificate or ours is refused; `Error::TlsInterrupted`
    /// where the connection breaks off.
    pub async fn secure(&self, stream: Stream, server: &Server) -> Result<Stream, Error> {
        let Some(client) = &self.0 else {
            return Ok(stream);
        };
        let (Stream::Tcp(tcp), Server::Tcp { host, .. }) = (stream, server) else {
            return Err(Error::Unsupported("TLS over a unix socket".into()));
        };
        let refused = |reason| Error::Tls {
            address: server.to_string(),
            reason,
        };
        let name = match &client.name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(refused)?,
        };
        match client.connector.connect(name, tcp).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => Err(match reason(&error) {
                Some(reason) => refused(reason),
                None => Error::TlsInterrupted {
                    address: server.to_string(),
                    reason: format!("the connection broke off in the TLS handshake: {error}"),
                },
            }),
        }
    }
}

impl Client {
    fn new(tls: &Tls) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let verifier = match (tls.verification, &tls.ca) {
            (Verification::Off, _) => Verifier::of_anybody(provider),
            (Verification::Full, Some(ca)) => {
                let given = certificates("ca", ca)?;
                Verifier::of_authorities(provider, authorities(&given)?, given)?
            }
            (Verification::Full, None) => Verifier::of_authorities(provider, system_authorities()?, Vec::new())?,
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let config = match (&tls.cert, &tls.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(certificates("cert", cert)?, private_key(key.expose())?)
                .map_err(|error| match error {
                    rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                        "key does not belong to cert".to_owned()
                    }
                    // No detail: it may be one of the key.
                    _ => "cert and key cannot be used".to_owned(),
                })?,
            (Some(_), None) => return Err("cert is given without key".into()),
            (None, Some(_)) => return Err("key is given without cert".into()),
        };
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name: tls.server_name.as_deref().map(server_name).transpose()?,
        })
    }
}

/// What TLS has against the peer, if that is what the error is about.
pub(super) fn reason(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(error) => certificate_reason(error),
        rustls::Error::AlertReceived(alert) => alert_reason(*alert),
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) => "the peer does not speak TLS: is this a plain port?".into(),
        rustls::Error::NoCertificatesPresented => "the server has no certificate".into(),
        error => error.to_string(),
    })
}

fn certificate_reason(error: &CertificateError) -> String {
    let days = |from: &UnixTime, to: &UnixTime| to.as_secs().saturating_sub(from.as_secs()) / DAY;
    match error {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the server's certificate has expired, {} days ago",
            days(not_after, time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the server's certificate is not valid yet, but in {} days",
            days(time, not_before)
        ),
        CertificateError::UnknownIssuer => {
            "the server's certificate is signed by nobody in ca, or, where that is not given, by \
             nobody that this system trusts"
                .into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the server's certificate is not for {:?}, but for {}",
            expected.to_str(),
            names(presented)
        ),
        CertificateError::BadEncoding => "the server's certificate cannot be read".into(),
        CertificateError::BadSignature => {
            "the server's certificate names a trusted authority, but is not signed by it".into()
        }
        error if is_of_an_authority(error) => {
            "the server's certificate is one of an authority (CA:TRUE) and not itself in ca: put it \
             there, or give the server one that is signed by it"
                .into()
        }
        error => format!("the server's certificate is not valid: {error}"),
    }
}

/// rustls gives the names as `DnsName("a")` and `IpAddress(::1)`.
fn names(presented: &[String]) -> String {
    /// Certificates of a cloud may list hundreds.
    const SHOWN: usize = 5;

    let mut names: Vec<_> = presented
        .iter()
        .map(|name| name.split_once('(').map_or(name.as_str(), |(_, inside)| inside))
        .map(|name| name.trim_end_matches(')').trim_matches('"'))
        .take(SHOWN)
        .collect();
    if presented.len() > SHOWN {
        names.push("…");
    }
    match names.is_empty() {
        true => "no name at all (it has no subjectAltName)".into(),
        false => names.join(", "),
    }
}

const DAY: u64 = 24 * 60 * 60;

fn alert_reason(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the server requires a certificate of the client: give cert and key".into()
        }
        AlertDescription::HandshakeFailure => {
            "the server found nothing in common with this client, or misses a client certificate".into()
        }
        AlertDescription::ProtocolVersion => "the server speaks neither TLS 1.2 nor 1.3".into(),
        AlertDescription::UnrecognisedName => "the server does not know the name asked for".into(),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            format!("the server refuses the certificate of the client: {alert:?}")
        }
        alert => format!("the server broke off: {alert:?}"),
    }
}

fn authorities(given: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in given {
        roots
            .add(certificate.clone())
            .map_err(|_| "ca holds a certificate that cannot be read")?;
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(system.certs);
    if usable > 0 {
        return Ok(roots);
    }
    let detail = match system.errors.first() {
        Some(error) => format!(" ({error})"),
        None => String::new(),
    };
    Err(format!("this system has no trusted certificates{detail}: give ca"))
}

fn certificates(option: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| format!("{option} is not valid PEM"))?;
    match certificates.is_empty() {
        true => Err(format!("{option} holds no certificate in PEM form")),
        false => Ok(certificates),
    }
}

/// No error of the parser is passed on: it quotes lines of the key.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    // `BEGIN ENCRYPTED PRIVATE KEY`, and `Proc-Type: 4,ENCRYPTED` of older tools.
    if memchr::memmem::find(pem, b"ENCRYPTED").is_some() {
        return Err("key is encrypted: decrypt it first (openssl pkey -in … -out …)".into());
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "key holds no private key in PEM form".into())
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("{name:?} is neither a host name nor an IP address: give servername"))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::Secret;

    fn refusal(tls: &Tls) -> String {
        Client::new(tls).err().unwrap()
    }

    fn bytes(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    fn identity() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["x".into()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn authorities_have_to_be_certificates() {
        let (cert, key) = identity();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (ca, text) in [
            ("", "ca holds no certificate in PEM form"),
            (&key, "ca holds no certificate in PEM form"),
            (&cert[..100], "ca is not valid PEM"),
            (broken, "ca holds a certificate that cannot be read"),
        ] {
            let ca = bytes(ca);
            assert_eq!(refusal(&Tls { ca, ..Tls::default() }), text);
        }
    }

    #[test]
    fn client_certificates_need_their_key() {
        let (cert, key) = identity();
        let (_, other) = identity();
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let traditional = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n";
        let with = |cert: Option<&str>, key: Option<&str>| Tls {
            ca: bytes(&identity().0),
            cert: cert.and_then(bytes),
            key: key.and_then(bytes).map(Secret::new),
            ..Tls::default()
        };
        for (cert, key, text) in [
            (Some(&*cert), None, "cert is given without key"),
            (None, Some(&*key), "key is given without cert"),
            (Some(&*cert), Some(&*other), "key does not belong to cert"),
            (Some(&*cert), Some(&*cert), "key holds no private key in PEM form"),
            (Some(&*cert), Some(&key[..80]), "key holds no private key in PEM form"),
            (Some(&*key), Some(&*key), "cert holds no certificate in PEM form"),
            (Some(&*cert), Some(&*encrypted), "key is encrypted"),
            (Some(&*cert), Some(traditional), "key is encrypted"),
        ] {
            let reason = refusal(&with(cert, key));
            assert!(reason.starts_with(text), "{reason}");
        }
        assert!(Client::new(&with(Some(&cert), Some(&key))).is_ok());
    }

    #[test]
    fn the_names_of_a_certificate_are_plain() {
        let presented = ["DnsName(\"*.a\")", "IpAddress(::1)", "odd"].map(str::to_owned);
        assert_eq!(names(&presented), "*.a, ::1, odd");
        assert_eq!(names(&[]), "no name at all (it has no subjectAltName)");
        assert_eq!(names(&vec!["x".to_owned(); 9]), "x, x, x, x, x, …");
    }

    #[test]
    fn names_are_host_names_or_addresses() {
        for name in ["redis.example", "localhost", "10.0.0.1", "::1"] {
            assert!(server_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "[::1]", "größe.example"] {
            assert!(server_name(name).is_err(), "{name}");
        }
    }
}
