use std::fmt;
use std::path::PathBuf;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, Payload},
};

use super::SecretError;

const PREFIX: &str = "enc:v1:";
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;
const MAX_ID_LENGTH: usize = 32;
/// The id of a key that is given without one.
const DEFAULT_ID: &str = "default";
const VARIABLE: &str = "ROSETTA_SECRET_KEY";
const FILE_VARIABLE: &str = "ROSETTA_SECRET_KEY_FILE";

/// Where a secret stands. It is part of what is authenticated: a secret that was moved elsewhere does not open, so that
/// who may write to the config database cannot make one source send another's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub table: &'static str,
    pub name: &'a str,
    pub field: &'static str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.table, self.name, self.field)
    }
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

/// The keys of this process. The first encrypts, all decrypt.
#[derive(Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl Keyring {
    /// The keys that the environment names; none where neither variable is set.
    ///
    /// # Errors
    /// Both are set, the file cannot be read, or a line is no key.
    pub fn from_env(environment: impl Fn(&str) -> Option<String>) -> Result<Keyring, SecretError> {
        let set = |name| environment(name).filter(|value| !value.trim().is_empty());
        match (set(VARIABLE), set(FILE_VARIABLE)) {
            (Some(_), Some(_)) => Err(SecretError::TwoSources),
            (Some(key), None) => Keyring::parse(VARIABLE, key.trim()),
            (None, Some(path)) => {
                let path = PathBuf::from(path);
                let text = std::fs::read_to_string(&path);
                let text = text.map_err(|error| SecretError::Unreadable { path, cause: error.to_string() })?;
                Keyring::parse(FILE_VARIABLE, &text)
            }
            (None, None) => Ok(Keyring::default()),
        }
    }

    /// One key in each line, as `id:base64` or, with the id `default`, `base64`. Empty lines and `#` lines are skipped.
    fn parse(variable: &'static str, text: &str) -> Result<Keyring, SecretError> {
        let mut keyring = Keyring::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = keyring.key(line);
            keyring.keys.push(key.map_err(|reason| SecretError::Key { variable, line: index + 1, reason })?);
        }
        Ok(keyring)
    }

    fn key(&self, line: &str) -> Result<Key, String> {
        let (id, encoded) = line.split_once(':').unwrap_or((DEFAULT_ID, line));
        let is_id_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !(1..=MAX_ID_LENGTH).contains(&id.len()) || !id.bytes().all(is_id_byte) {
            return Err(format!("a key's id is 1 to {MAX_ID_LENGTH} of A-Z, a-z, 0-9, _ and -"));
        }
        if self.ids().any(|known| known == id) {
            return Err(format!("the id '{id}' is given twice"));
        }
        // The decoder's own message would quote a byte of the key.
        let bytes = STANDARD.decode(encoded.trim()).map_err(|_| format!("the key '{id}' is not base64"))?;
        let wrong_length = || format!("the key '{id}' has {} bytes, not {KEY_BYTES}", bytes.len());
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| wrong_length())?;
        Ok(Key { id: id.to_owned(), cipher })
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The ids of the keys; the first one encrypts.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Encrypts `secret` for `place`, with the first key.
    ///
    /// # Errors
    /// There is no key.
    pub fn seal(&self, secret: &str, place: Place<'_>) -> Result<String, SecretError> {
        let key = self.keys.first().ok_or_else(|| SecretError::NoKey { place: place.to_string() })?;
        let nonce = XNonce::try_generate().map_err(|error| SecretError::NoRandomness { cause: error.to_string() })?;
        let additional = place.to_string();
        let payload = Payload { msg: secret.as_bytes(), aad: additional.as_bytes() };
        let sealed = key.cipher.encrypt(&nonce, payload);
        let sealed = sealed.map_err(|_| SecretError::Malformed { place: place.to_string() })?;
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        Ok(format!("{PREFIX}{}:{}", key.id, URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Decrypts what [`Keyring::seal`] made for the same place.
    ///
    /// # Errors
    /// The key is not given, or the text is not what was made for this place.
    pub fn open(&self, sealed: &str, place: Place<'_>) -> Result<String, SecretError> {
        let malformed = || SecretError::Malformed { place: place.to_string() };
        let (id, encoded) = sealed.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')).ok_or_else(malformed)?;
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| SecretError::UnknownKey { place: place.to_string(), id: id.to_owned() })?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| malformed())?;
        let (nonce, ciphertext) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(malformed)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| malformed())?;
        let additional = place.to_string();
        let payload = Payload { msg: ciphertext, aad: additional.as_bytes() };
        let damaged = || SecretError::Damaged { place: place.to_string(), id: id.to_owned() };
        let opened = key.cipher.decrypt(&nonce, payload).map_err(|_| damaged())?;
        String::from_utf8(opened).map_err(|_| damaged())
    }
}

/// Whether a text is an encrypted one.
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The id of the key that encrypted a text; `None` for a text that is not encrypted.
pub fn key_id(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)?.split_once(':').map(|(id, _)| id)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "new:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    pub(in crate::secret) const SHOP: Place<'_> = Place { table: "sources", name: "shop", field: "url" };

    pub(in crate::secret) fn keyring(lines: &[&str]) -> Keyring {
        Keyring::parse(FILE_VARIABLE, &lines.join("\n")).unwrap()
    }

    pub(in crate::secret) fn one_key() -> Keyring {
        keyring(&[OLD])
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let sealed = keyring(&[OLD]).seal("p@ss", SHOP).unwrap();
        assert!(sealed.starts_with("enc:v1:old:") && !sealed.contains("p@ss"), "{sealed}");
        let both = keyring(&["# the new one first", NEW, "", OLD]);
        assert_eq!(both.open(&sealed, SHOP).unwrap(), "p@ss");
        assert_eq!(key_id(&both.seal("p@ss", SHOP).unwrap()), Some("new"));
        assert_ne!(both.seal("p@ss", SHOP), both.seal("p@ss", SHOP), "a nonce was used twice");
    }

    #[test]
    fn what_was_moved_or_changed_does_not_open() {
        let keys = one_key();
        let sealed = keys.seal("secret", SHOP).unwrap();
        let damaged = Err(SecretError::Damaged { place: "sources/crm/url".to_owned(), id: "old".to_owned() });
        assert_eq!(keys.open(&sealed, Place { name: "crm", ..SHOP }), damaged);
        for field in [Place { table: "destinations", ..SHOP }, Place { field: "password", ..SHOP }] {
            assert!(matches!(keys.open(&sealed, field), Err(SecretError::Damaged { .. })));
        }
        let other_key = keyring(&[&NEW.replace("new:", "old:")]);
        assert!(matches!(other_key.open(&sealed, SHOP), Err(SecretError::Damaged { .. })));
        let head = "enc:v1:old:".len();
        for position in head..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(keys.open(&changed, SHOP).is_err(), "{position}");
        }
        for length in 0..sealed.len() {
            assert!(keys.open(&sealed[..length], SHOP).is_err(), "{length}");
        }
    }

    #[test]
    fn a_missing_key_is_named() {
        let sealed = one_key().seal("secret", SHOP).unwrap();
        let message = keyring(&[NEW]).open(&sealed, SHOP).unwrap_err().to_string();
        assert!(message.contains("the key 'old', which is not given"), "{message}");
        assert!(matches!(Keyring::default().seal("secret", SHOP), Err(SecretError::NoKey { .. })));
    }

    #[test]
    fn bad_keys_are_refused_without_being_shown() {
        let short = "short:c2VjcmV0c2VjcmV0";
        let cases = [(short, "has 12 bytes, not 32"), ("bad:sec*ret", "is not base64"), (":AAAA", "a key's id is")];
        for (line, reason) in cases {
            let message = Keyring::parse(VARIABLE, line).unwrap_err().to_string();
            assert!(message.contains(reason) && message.starts_with("ROSETTA_SECRET_KEY, line 1: "), "{message}");
            assert!(!message.contains("sec*ret") && !message.contains("c2Vj"), "{message}");
        }
        let twice = Keyring::parse(FILE_VARIABLE, &format!("{OLD}\n{OLD}")).unwrap_err().to_string();
        assert!(twice.contains("line 2: the id 'old' is given twice"), "{twice}");
    }

    #[test]
    fn the_environment_gives_one_or_several() {
        let (_, bare) = OLD.split_once(':').unwrap();
        let environment = |name: &str| (name == VARIABLE).then(|| bare.to_owned());
        assert_eq!(Keyring::from_env(environment).unwrap().ids().collect::<Vec<_>>(), ["default"]);
        assert!(Keyring::from_env(|_| None).unwrap().is_empty());
        assert_eq!(Keyring::from_env(|_| Some(bare.to_owned())).unwrap_err(), SecretError::TwoSources);
        assert_eq!(format!("{:?}", keyring(&[OLD, NEW])), r#"["old", "new"]"#);
    }
}
