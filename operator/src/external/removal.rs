//! What became of objects that a manifest with `deletionPolicy: Delete` left behind.

/// The outcome of dropping what is ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DropReport {
    /// What was dropped.
    pub dropped: Vec<String>,
    /// What was kept.
    pub kept: Vec<Kept>,
}

/// An object that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The object.
    pub object: String,
    /// A word for it: [`Kept::NOT_DRAINED`], [`Kept::NOT_OWNED`] or [`Kept::PROTECTED`].
    pub reason: &'static str,
    /// The same in a sentence.
    pub why: String,
}

impl Kept {
    /// A queue still holds messages that nobody stored yet. Trying again later may succeed.
    pub const NOT_DRAINED: &'static str = "NotDrained";
    /// Somebody else's: it stays for good.
    pub const NOT_OWNED: &'static str = "NotOwned";
    /// The server's own guard refuses: an administrator has to lift it.
    pub const PROTECTED: &'static str = "Protected";
}

impl DropReport {
    /// Whether nothing is left that trying again could drop.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.kept.iter().all(|kept| kept.reason == Kept::NOT_OWNED)
    }
}
