//! What can go wrong with a sink's schema.

/// Why the schema is not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The database's name is not a plain word.
    #[error(
        "`{name}` is not allowed as a database: expected are letters, digits and underscores, not beginning with a digit, and not a database of the server's own"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// Only rewriting or losing rows would make it as desired.
    #[error("{object}: {field} is {have} and should be {want}, which needs a destructive change: only a person makes that")]
    DestructiveChange {
        /// The table, or the table and its column.
        object: String,
        /// What differs.
        field: String,
        /// What it is.
        have: String,
        /// What it should be.
        want: String,
    },
    /// A table of that name exists and is somebody else's.
    #[error("{object} exists and {}: it is not adopted", .owner.as_ref().map_or_else(|| "was not created by Tapekeeper".to_owned(), |owner| format!("belongs to {owner}")))]
    NameConflict {
        /// The table.
        object: String,
        /// Whose it is, when its marker says so.
        owner: Option<String>,
    },
}

impl SchemaError {
    /// A word for conditions, events, logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => "InvalidName",
            Self::DestructiveChange { .. } => "DestructiveChange",
            Self::NameConflict { .. } => "NameConflict",
        }
    }
}

/// Why the database is not as desired. No message holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// No answer: no connection, no TLS agreement, or too late.
    #[error("the database can't be reached: {why}")]
    Unreachable {
        /// Why.
        why: String,
    },
    /// The user or its password is wrong, or it lacks a grant.
    #[error("the database refuses the user: {why}")]
    Unauthorized {
        /// What the database said.
        why: String,
    },
    /// The schema may not be applied.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Anything else.
    #[error("the database: {doing}: {why}")]
    Other {
        /// What was being done.
        doing: String,
        /// What the database said.
        why: String,
    },
}

impl DatabaseError {
    /// A word for conditions, events, logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "DatabaseUnreachable",
            Self::Unauthorized { .. } => "DatabaseUnauthorized",
            Self::Schema(error) => error.reason(),
            Self::Other { .. } => "DatabaseError",
        }
    }

    /// Whether trying again changes nothing until somebody acts. A password or a grant is mended at the database, of which no manifest tells: that is tried again.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Schema(_))
    }
}
