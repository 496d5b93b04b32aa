//! The one comparison of what is desired with what exists, for every kind of external object.

/// A kind of external object, by what can be done with it. All of it is pure: operations are values that something else carries out.
pub trait External {
    /// Everything that was read back.
    type World;
    /// This object in it.
    type Observed<'w>;
    /// What is to be done.
    type Operation;
    /// Why nothing may be done.
    type Refusal;

    /// The object as it exists.
    fn get<'w>(&self, world: &'w Self::World) -> Option<Self::Observed<'w>>;

    /// What brings it into being.
    ///
    /// # Errors
    /// When it must not be created in this world.
    fn create(&self, world: &Self::World) -> Result<Vec<Self::Operation>, Self::Refusal>;

    /// What makes the existing one as desired: nothing when it already is.
    ///
    /// # Errors
    /// When it is not ours, or when it can't be made so without a loss.
    fn update(&self, observed: Self::Observed<'_>) -> Result<Vec<Self::Operation>, Self::Refusal>;

    /// What removes the existing one. Nothing when it is not ours.
    fn drop(&self, observed: Self::Observed<'_>) -> Vec<Self::Operation>;
}

/// Why an operation is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// The object was missing.
    Create,
    /// The object was there and differed.
    Repair,
}

/// An operation with its intent.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<O> {
    /// Why it is there.
    pub intent: Intent,
    /// What is to be done.
    pub operation: O,
}

/// The difference between what is desired and what exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference<O, R> {
    /// What is to be done, in order.
    pub operations: Vec<Planned<O>>,
    /// What may not be done. Whoever carries out the operations decides whether a refusal stops the others.
    pub refusals: Vec<R>,
    /// How many objects are as they should be.
    pub unchanged: usize,
}

impl<O, R> Default for Difference<O, R> {
    fn default() -> Self {
        Self { operations: Vec::new(), refusals: Vec::new(), unchanged: 0 }
    }
}

impl<O, R> Difference<O, R> {
    /// Adds what one object needs.
    pub fn add<E>(&mut self, desired: &E, world: &E::World)
    where
        E: External<Operation = O, Refusal = R>,
    {
        let (intent, needed) = match desired.get(world) {
            None => (Intent::Create, desired.create(world)),
            Some(observed) => (Intent::Repair, desired.update(observed)),
        };
        match needed {
            Ok(operations) if operations.is_empty() => self.unchanged += 1,
            Ok(operations) => self.operations.extend(operations.into_iter().map(|operation| Planned { intent, operation })),
            Err(refusal) => self.refusals.push(refusal),
        }
    }
}
