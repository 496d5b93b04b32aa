//! Names and texts inside SQL.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::error::SchemaError;

/// The longest name. ClickHouse makes folders of names, and a file system takes 255 bytes.
const MAX_NAME: usize = 200;

/// A database's name: letters, digits and underscores, not beginning with a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DatabaseName(String);

impl DatabaseName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DatabaseName {
    type Err = SchemaError;

    fn from_str(name: &str) -> Result<Self, SchemaError> {
        let mut characters = name.chars();
        let begins = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        let reserved = matches!(name.to_ascii_lowercase().as_str(), "system" | "information_schema");
        if begins && !reserved && name.len() <= MAX_NAME && characters.all(|character| character.is_ascii_alphanumeric() || character == '_') {
            return Ok(Self(name.to_owned()));
        }
        Err(SchemaError::InvalidName { name: name.to_owned() })
    }
}

/// A name as an identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A text as a string literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_name_is_a_plain_word_that_is_not_the_servers_own() {
        for name in ["market", "_m1", "Tape_2026"] {
            assert_eq!(name.parse::<DatabaseName>().unwrap().as_str(), name);
        }
        for name in ["", "1st", "a-b", "a.b", "a`b", "a b", "system", "INFORMATION_SCHEMA", "é", &"x".repeat(201)] {
            assert_eq!(name.parse::<DatabaseName>(), Err(SchemaError::InvalidName { name: name.to_owned() }));
        }
    }

    #[test]
    fn quotes_inside_a_name_or_a_text_end_neither() {
        assert_eq!(identifier("a`b\\"), "`a\\`b\\\\`");
        assert_eq!(literal("a'b\\"), "'a\\'b\\\\'");
    }
}
