use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{PgError, PgUrl, SslMode};

/// Wraps an open connection in TLS, verifying as much as the URL's sslmode asks.
pub(super) async fn wrap(url: &PgUrl, stream: TcpStream) -> Result<TlsStream<TcpStream>, PgError> {
    let failed = |reason: String| PgError::Tls { server: url.server(), reason };
    let config = client_config(url).map_err(failed)?;
    let name = ServerName::try_from(url.host.clone()).map_err(|e| failed(e.to_string()))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(cause) => failed(explain(cause)),
        // The server went away: that passes.
        None => PgError::Connect { server: url.server(), source: error },
    })
}

/// What is wrong with the server's certificate, and what to do.
fn explain(error: &rustls::Error) -> String {
    use rustls::CertificateError::{BadSignature, NotValidForName, NotValidForNameContext, UnknownIssuer};
    let rustls::Error::InvalidCertificate(certificate) = error else { return error.to_string() };
    match certificate {
        // BadSignature: by another authority of the same name.
        UnknownIssuer | BadSignature => {
            "no trusted authority has signed the server's certificate; name the one that has with \
                          sslrootcert=FILE"
                .to_owned()
        }
        NotValidForName | NotValidForNameContext { .. } => {
            format!("{certificate}; connect by a name in it, or use sslmode=verify-ca")
        }
        _ => error.to_string(),
    }
}

/// What a TLS client needs to verify as much as the URL's sslmode asks.
///
/// # Errors
/// Root certificates that cannot be read, or none.
pub(crate) fn client_config(url: &PgUrl) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    // libpq: `require` with a root certificate verifies it too.
    let verify_ca =
        url.ssl_mode == SslMode::VerifyCa || (url.ssl_mode == SslMode::Require && url.ssl_root_cert.is_some());
    let checks_name = url.ssl_mode == SslMode::VerifyFull;
    let trusted = if verify_ca || checks_name { authorities(url)? } else { Vec::new() };
    let chain = match verify_ca || checks_name {
        true => Some(
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots(url, &trusted)?), Arc::clone(&provider))
                .build()
                .map_err(|e| e.to_string())?,
        ),
        false => None,
    };
    let verifier = Arc::new(Verifier { chain, trusted, checks_name, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// The certificates in the file that the URL names; none where it names no file.
fn authorities(url: &PgUrl) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(path) = &url.ssl_root_cert else { return Ok(Vec::new()) };
    let unreadable = |e| format!("cannot read '{}': {e}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    certificates.collect::<Result<_, _>>().map_err(unreadable)
}

fn roots(url: &PgUrl, trusted: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &url.ssl_root_cert {
        for certificate in trusted {
            roots.add(certificate.clone()).map_err(|e| format!("'{}': {e}", path.display()))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err("no trusted certificate authority; name one with sslrootcert=FILE".to_owned());
    }
    Ok(roots)
}

/// Verifies what libpq's sslmode asks: the chain when there is one to verify against, the name only for verify-full.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// What sslrootcert holds.
    trusted: Vec<CertificateDer<'static>>,
    checks_name: bool,
    provider: Arc<CryptoProvider>,
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
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext, Other};
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                if !self.checks_name =>
            {
                Ok(ServerCertVerified::assertion())
            }
            // A certificate that signs itself is marked as an authority's, and so cannot be a server's; but naming
            // the very certificate in sslrootcert is as much trust as there can be. libpq takes it, too.
            Err(rustls::Error::InvalidCertificate(Other(_))) if self.trusted.iter().any(|one| one == end_entity) => {
                if self.checks_name {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
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
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
