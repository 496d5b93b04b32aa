//! Whose a database or a table is: a marker in its COMMENT.

use std::fmt;

use serde::Serialize;
use tapekeeper_contract::settings::ObjectName;

/// The marker: `tapekeeper owner=NAMESPACE/NAME schema=VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ownership {
    /// `namespace/name` of the TickSink.
    pub owner: String,
    /// The schema's version when it was last written.
    pub schema: u32,
}

impl Ownership {
    /// The marker of `owner`'s objects under this schema version.
    #[must_use]
    pub fn new(owner: &ObjectName, schema: u32) -> Self {
        Self { owner: owner.to_string(), schema }
    }

    /// Reads a COMMENT. `None` when it is not a marker.
    #[must_use]
    pub fn parse(comment: &str) -> Option<Self> {
        let (owner, schema) = comment.strip_prefix("tapekeeper owner=")?.split_once(" schema=")?;
        Some(Self { owner: owner.to_owned(), schema: schema.parse().ok()? })
    }
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tapekeeper owner={} schema={}", self.owner, self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_survives_its_own_text_and_nothing_else_is_one() {
        let marker = Ownership::new(&ObjectName { namespace: "market".to_owned(), name: "tape".to_owned() }, 7);
        assert_eq!(Ownership::parse(&marker.to_string()), Some(marker));
        for comment in ["", "my table", "tapekeeper owner=a/b", "tapekeeper owner=a/b schema=x"] {
            assert_eq!(Ownership::parse(comment), None);
        }
    }
}
