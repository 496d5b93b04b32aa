//! What can go wrong with a broker's objects.

/// Why the broker's objects are not as desired. No message holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// No answer: no connection, no TLS agreement, or too late.
    #[error("the broker's management interface can't be reached: {why}")]
    Unreachable {
        /// Why.
        why: String,
    },
    /// The user or its password is wrong, or it lacks a tag or a permission.
    #[error(
        "the broker refuses the management user: {why}; it needs the tag `policymaker` and the permissions configure, write and read on the virtual host"
    )]
    Unauthorized {
        /// What the broker said.
        why: String,
    },
    /// There is no such virtual host. The operator creates none: it is the broker's unit of tenancy, and permissions hang on it.
    #[error("the broker has no virtual host `{vhost}`")]
    VhostNotFound {
        /// Its name.
        vhost: String,
    },
    /// An object of that name exists and is somebody else's.
    #[error("{object} exists and {}: it is not adopted", .owner.as_ref().map_or_else(|| "was not created by Tapekeeper".to_owned(), |owner| format!("belongs to {owner}")))]
    NameConflict {
        /// The object.
        object: String,
        /// Whose it is, when its marker says so.
        owner: Option<String>,
    },
    /// RabbitMQ can't change this field of an existing queue, and a queue is not deleted for it.
    #[error(
        "{object}: {field} is {have} and should be {want}, which RabbitMQ can't change on an existing queue: drain it, delete it, and it is declared anew"
    )]
    Immutable {
        /// The queue.
        object: String,
        /// The field.
        field: String,
        /// What it is.
        have: String,
        /// What it should be.
        want: String,
    },
    /// The broker does not know an exchange type: its plugin is not enabled.
    #[error("the broker has no exchange type `{exchange_type}`: enable the plugin rabbitmq_consistent_hash_exchange")]
    PluginMissing {
        /// The type.
        exchange_type: String,
    },
    /// Anything else.
    #[error("the broker: {doing}: {why}")]
    Other {
        /// What was being done.
        doing: String,
        /// What the broker said.
        why: String,
    },
}

impl BrokerError {
    /// A word for conditions, events, logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "BrokerUnreachable",
            Self::Unauthorized { .. } => "BrokerUnauthorized",
            Self::VhostNotFound { .. } => "VhostNotFound",
            Self::NameConflict { .. } => "NameConflict",
            Self::Immutable { .. } => "Immutable",
            Self::PluginMissing { .. } => "PluginMissing",
            Self::Other { .. } => "BrokerError",
        }
    }

    /// Whether trying again changes nothing until somebody acts. What a person mends at the broker itself (a password, a virtual host, a plugin) is not permanent:
    /// no change of the manifest would tell of it, so it has to be tried again.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::NameConflict { .. } | Self::Immutable { .. })
    }
}
