//! Whether a server's certificate is good enough.
//!
//! The certificates of `ca` come in once per pipeline; rustls hands over what a server shows. What
//! webpki decides stands, but for one case: a certificate that `ca` itself holds is trusted, as it
//! is in Node.js. `openssl req -x509` makes such ones, as authorities (CA:TRUE), and webpki takes
//! no authority for a server.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Judges the certificate; that the peer holds its key is checked in any case.
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
}

#[derive(Debug)]
enum Trust {
    /// `rejectUnauthorized: false`.
    Anybody,
    Authorities {
        webpki: Arc<WebPkiServerVerifier>,
        /// What `ca` holds: a server may show one of them as its own.
        given: Vec<CertificateDer<'static>>,
    },
}

impl Verifier {
    pub(super) fn of_anybody(provider: Arc<CryptoProvider>) -> Self {
        Self {
            provider,
            trust: Trust::Anybody,
        }
    }

    /// Trusts what `roots` have signed, and what `given` holds.
    ///
    /// # Errors
    ///
    /// Where there are no roots.
    pub(super) fn of_authorities(
        provider: Arc<CryptoProvider>,
        roots: RootCertStore,
        given: Vec<CertificateDer<'static>>,
    ) -> Result<Self, String> {
        let webpki = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            provider,
            trust: Trust::Authorities { webpki, given },
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Trust::Authorities { webpki, given } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        match webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(error))
                if is_about_the_issuer(&error) && given.iter().any(|given| given == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Nothing is wrong with the certificate but where it comes from. webpki looks at its dates before
/// that, and at the name behind it.
fn is_about_the_issuer(error: &CertificateError) -> bool {
    matches!(error, CertificateError::UnknownIssuer) || is_of_an_authority(error)
}

/// rustls keeps the error of webpki closed; its name is all there is to go by.
pub(super) fn is_of_an_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(_)) && error.to_string().contains("CaUsedAsEndEntity")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// The year 2025, about.
    const NOW: Duration = Duration::from_secs(55 * 365 * 24 * 60 * 60);

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::ring::default_provider())
    }

    fn params(years: (i32, i32)) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["redis.example".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "redis.example");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        params
    }

    /// As `openssl req -x509` makes it.
    fn self_signed(years: (i32, i32)) -> CertificateDer<'static> {
        let mut params = params(years);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn signed() -> (CertificateDer<'static>, CertificateDer<'static>) {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params((2000, 4000)).signed_by(&key, &authority).unwrap();
        (leaf.der().clone(), authority.der().clone())
    }

    fn verdict(
        given: &[&CertificateDer<'static>],
        shown: &CertificateDer<'static>,
        name: &str,
    ) -> Result<(), CertificateError> {
        let given: Vec<_> = given.iter().map(|&certificate| certificate.clone()).collect();
        let mut roots = RootCertStore::empty();
        for certificate in &given {
            roots.add(certificate.clone()).unwrap();
        }
        let verifier = Verifier::of_authorities(provider(), roots, given).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(NOW);
        match verifier.verify_server_cert(shown, &[], &name, &[], now) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_server_may_show_what_ca_holds() {
        let own = self_signed((2000, 4000));
        assert_eq!(verdict(&[&own], &own, "redis.example"), Ok(()));
        assert_eq!(
            verdict(&[&self_signed((2000, 4000)), &own], &own, "redis.example"),
            Ok(())
        );
    }

    #[test]
    fn it_need_not_be_signed_by_itself() {
        let (leaf, authority) = signed();
        assert_eq!(verdict(&[&leaf], &leaf, "redis.example"), Ok(()));
        assert_eq!(verdict(&[&authority], &leaf, "redis.example"), Ok(()));
    }

    #[test]
    fn its_dates_and_name_count_all_the_same() {
        let expired = self_signed((2000, 2020));
        let error = verdict(&[&expired], &expired, "redis.example").unwrap_err();
        assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");

        let early = self_signed((3000, 4000));
        let error = verdict(&[&early], &early, "redis.example").unwrap_err();
        assert!(
            matches!(error, CertificateError::NotValidYetContext { .. }),
            "{error:?}"
        );

        let own = self_signed((2000, 4000));
        let (leaf, _) = signed();
        for shown in [own, leaf] {
            let error = verdict(&[&shown], &shown, "other.example").unwrap_err();
            assert!(
                matches!(error, CertificateError::NotValidForNameContext { .. }),
                "{error:?}"
            );
        }
    }

    #[test]
    fn the_like_of_it_is_refused() {
        let own = self_signed((2000, 4000));
        let like = self_signed((2000, 4000));
        let error = verdict(&[&own], &like, "redis.example").unwrap_err();
        assert!(is_of_an_authority(&error), "{error:?}");

        let (leaf, _) = signed();
        assert_eq!(
            verdict(&[&own], &leaf, "redis.example"),
            Err(CertificateError::UnknownIssuer)
        );
        assert!(verdict(&[&leaf], &own, "redis.example").is_err());
    }
}
