//! A certificate authority made for one test, by openssl.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Options, installation::Installation};
use crate::scratch::Scratch;

/// Signs the certificates of servers. Its files live as long as it does.
pub struct Authority {
    scratch: Scratch,
}

impl Authority {
    #[must_use]
    pub fn new() -> Authority {
        let scratch = Scratch::new();
        Installation::get().give(scratch.path());
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority";
        openssl(scratch.path(), &format!("{new} -keyout authority.key -out authority.pem"));
        Authority { scratch }
    }

    /// Its own certificate, for sslrootcert.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.scratch.join("authority.pem")
    }

    /// The settings of a server whose certificate holds this host name, signed with `hash`, such as `sha256`.
    #[must_use]
    pub fn sign(&self, host: &str, hash: &str) -> Options {
        let names = format!("subjectAltName=DNS:{host}");
        fs::write(self.scratch.join("names"), names).expect("write the names of the certificate");
        let new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=server";
        openssl(self.scratch.path(), &format!("{new} -keyout {host}.key -out {host}.csr"));
        let sign = "x509 -req -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile names";
        openssl(self.scratch.path(), &format!("{sign} -{hash} -in {host}.csr -out {host}.pem"));
        self.serve(&format!("{host}.pem"), &format!("{host}.key"))
    }

    /// The settings of a server that shows the authority's own certificate: one that signed itself.
    #[must_use]
    pub fn sign_itself(&self) -> Options {
        self.serve("authority.pem", "authority.key")
    }

    fn serve(&self, certificate: &str, key: &str) -> Options {
        let (certificate, key) = (self.scratch.join(certificate), self.scratch.join(key));
        Installation::get().give(&key);
        let path = |path: &Path| path.display().to_string();
        Options::default().set("ssl", "on").set("ssl_cert_file", &path(&certificate)).set("ssl_key_file", &path(&key))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Authority::new()
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("run openssl");
    assert!(output.status.success(), "openssl {arguments}:\n{}", String::from_utf8_lossy(&output.stderr));
}
