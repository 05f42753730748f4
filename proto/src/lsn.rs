use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A position in a source's write-ahead log, in bytes (PostgreSQL docs, "pg_lsn Type").
/// Prints and parses as PostgreSQL does: two hexadecimal halves, `16/B374D848`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// The text is not two hexadecimal numbers with a slash between them.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not a log position such as 16/B374D848")]
pub struct ParseLsnError(String);

impl Lsn {
    /// PostgreSQL's "no position".
    pub const ZERO: Lsn = Lsn(0);

    /// Bytes from `earlier` to here; 0 when `earlier` is not earlier.
    #[must_use]
    pub fn bytes_since(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseLsnError(text.to_owned());
        let (high, low) = text.split_once('/').ok_or_else(error)?;
        let half = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            if plain { u32::from_str_radix(digits, 16).map_err(|_| error()) } else { Err(error()) }
        };
        Ok(Lsn(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }
}

impl Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_round_trips(raw: u64) {
            prop_assert_eq!(Lsn(raw).to_string().parse(), Ok(Lsn(raw)));
        }
    }

    #[test]
    fn refuses_what_postgres_refuses() {
        for text in ["", "/", "1", "1/", "/1", "g/0", "1/+1", "123456789/0", "1/0/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }
}
