//! Names that people give: one type each, checked once.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The text cannot be a name.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' cannot be the name of a {kind}: use 1 to {longest} of {letters}")]
pub struct NameError {
    text: String,
    kind: &'static str,
    longest: usize,
    letters: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $longest:literal, $letters:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let allowed: fn(u8) -> bool = $allowed;
                let is_name = (1..=$longest).contains(&text.len()) && text.bytes().all(allowed);
                let error = || NameError { text: text.to_owned(), kind: $kind, longest: $longest, letters: $letters };
                is_name.then(|| $name(text.to_owned())).ok_or_else(error)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A node of a cluster, the same at each of its starts; a host's name will do.
    NodeId, "node", 63, "a-z, A-Z, 0-9, _, - and .",
    |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')
);
name!(
    /// A pipeline; its slot is `rosetta_<name>`.
    PipelineName, "pipeline", 40, "a-z, 0-9 and _",
    |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_used_say_why() {
        assert_eq!("orders_2".parse::<PipelineName>().unwrap().as_str(), "orders_2");
        let refused = "Orders".parse::<PipelineName>().unwrap_err().to_string();
        assert_eq!(refused, "'Orders' cannot be the name of a pipeline: use 1 to 40 of a-z, 0-9 and _");
        assert!("a/b".parse::<NodeId>().is_err() && "".parse::<NodeId>().is_err());
        assert!("x".repeat(41).parse::<PipelineName>().is_err());
    }
}
