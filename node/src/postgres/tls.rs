use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{PgError, PgUrl, SslMode};

/// Wraps an open connection in TLS, verifying as much as the URL's sslmode asks.
pub(super) async fn wrap(url: &PgUrl, stream: TcpStream) -> Result<TlsStream<TcpStream>, PgError> {
    let failed = |reason: String| PgError::Tls { server: url.server(), reason };
    let config = client_config(url).map_err(failed)?;
    let name = ServerName::try_from(url.host.clone()).map_err(|e| failed(e.to_string()))?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| failed(e.to_string()))
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
    if url.ssl_mode == SslMode::VerifyFull {
        return Ok(builder.with_root_certificates(roots(url)?).with_no_client_auth());
    }
    let chain = match verify_ca {
        true => Some(
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots(url)?), Arc::clone(&provider))
                .build()
                .map_err(|e| e.to_string())?,
        ),
        false => None,
    };
    let verifier = Arc::new(LenientVerifier { chain, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn roots(url: &PgUrl) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &url.ssl_root_cert {
        let shown = path.display();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| format!("cannot read '{shown}': {e}"))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| format!("cannot read '{shown}': {e}"))?;
            roots.add(certificate).map_err(|e| format!("'{shown}': {e}"))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err("no trusted certificate authority; name one with sslrootcert=FILE".to_owned());
    }
    Ok(roots)
}

/// sslmode below verify-full: the chain is verified when there is one to verify against, the name never.
#[derive(Debug)]
struct LenientVerifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for LenientVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
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
