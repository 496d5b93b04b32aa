//! The kinds of broker objects, and how each becomes what it should be.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::BrokerError;
use super::observed::{ObservedBinding, ObservedBroker};
use crate::external::difference::External;

/// The argument that says whose an exchange or a queue is: `namespace/name` of the Pipeline. RabbitMQ keeps arguments that it does not know, on every kind.
pub const OWNER_ARGUMENT: &str = "x-tapekeeper-owner";

/// Arguments of an exchange or a queue, or a policy's definition.
pub type Arguments = BTreeMap<String, Value>;

/// An object that a Pipeline wants.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "object", rename_all = "camelCase")]
pub enum BrokerObject {
    /// A policy.
    Policy(Policy),
    /// An exchange.
    Exchange(Exchange),
    /// A queue or a stream.
    Queue(Queue),
    /// A binding.
    Binding(Binding),
}

/// A policy: settings that may change while the queue stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Policy {
    /// Its name, which tells its owner.
    pub name: String,
    /// Which names it applies to, as a regular expression.
    pub pattern: String,
    /// Which kinds it applies to.
    #[serde(rename(deserialize = "apply-to"))]
    pub apply_to: String,
    /// What it sets.
    pub definition: Arguments,
    /// The policy with the highest priority is the only one that applies.
    pub priority: i64,
}

/// An exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it outlives the broker's process.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether only other exchanges may publish to it.
    pub internal: bool,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Arguments,
}

/// A queue or a stream, by its argument `x-queue-type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Whether it outlives the broker's process.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Arguments,
}

/// What a binding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationKind {
    /// A queue or a stream.
    Queue,
    /// An exchange.
    Exchange,
}

/// A binding without arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The exchange it comes from.
    pub source: String,
    /// What it leads to.
    pub destination: String,
    /// What kind that is.
    pub destination_kind: DestinationKind,
    /// Its routing key; on a hash exchange, the weight.
    pub routing_key: String,
    /// Whether any other binding between the two is wrong. On a hash exchange it would be a second share of the keys; elsewhere it is somebody's own business.
    pub sole: bool,
}

/// What is done to a broker.
#[derive(Debug, Clone, PartialEq)]
pub enum BrokerOperation {
    /// Creates a policy or overwrites it.
    PutPolicy(Policy),
    /// Removes a policy.
    DeletePolicy(String),
    /// Declares an exchange that is missing.
    DeclareExchange(Exchange),
    /// Deletes an exchange and declares it anew, because RabbitMQ changes none, then binds again whatever was bound, our own or not.
    ReplaceExchange {
        /// As it should be.
        exchange: Exchange,
        /// What was bound to it or from it.
        bindings: Vec<ObservedBinding>,
    },
    /// Removes an exchange.
    DeleteExchange(String),
    /// Declares a queue that is missing.
    DeclareQueue(Queue),
    /// Removes a queue with what is in it.
    DeleteQueue(String),
    /// Binds.
    Bind(Binding),
    /// Removes a binding.
    Unbind(ObservedBinding),
}

impl External for Policy {
    type World = ObservedBroker;
    type Observed<'w> = &'w Self;
    type Operation = BrokerOperation;
    type Refusal = BrokerError;

    fn get<'w>(&self, world: &'w ObservedBroker) -> Option<&'w Self> {
        world.policies.get(&self.name)
    }

    fn create(&self, _: &ObservedBroker) -> Result<Vec<BrokerOperation>, BrokerError> {
        Ok(vec![BrokerOperation::PutPolicy(self.clone())])
    }

    fn update(&self, observed: &Self) -> Result<Vec<BrokerOperation>, BrokerError> {
        Ok(if observed == self { Vec::new() } else { vec![BrokerOperation::PutPolicy(self.clone())] })
    }

    fn drop(&self, _: &Self) -> Vec<BrokerOperation> {
        vec![BrokerOperation::DeletePolicy(self.name.clone())]
    }
}

/// An exchange as it exists, with what hangs on it.
#[derive(Debug, Clone)]
pub struct BoundExchange<'w> {
    exchange: &'w Exchange,
    bindings: Vec<&'w ObservedBinding>,
}

impl External for Exchange {
    type World = ObservedBroker;
    type Observed<'w> = BoundExchange<'w>;
    type Operation = BrokerOperation;
    type Refusal = BrokerError;

    fn get<'w>(&self, world: &'w ObservedBroker) -> Option<BoundExchange<'w>> {
        let exchange = world.exchanges.get(&self.name)?;
        let touches = |binding: &&ObservedBinding| {
            binding.source == self.name || (binding.destination_kind == DestinationKind::Exchange && binding.destination == self.name)
        };
        Some(BoundExchange { exchange, bindings: world.bindings.iter().filter(touches).collect() })
    }

    fn create(&self, _: &ObservedBroker) -> Result<Vec<BrokerOperation>, BrokerError> {
        Ok(vec![BrokerOperation::DeclareExchange(self.clone())])
    }

    fn update(&self, observed: BoundExchange<'_>) -> Result<Vec<BrokerOperation>, BrokerError> {
        require_owner(format!("exchange {}", self.name), &self.arguments, &observed.exchange.arguments)?;
        if observed.exchange == self {
            return Ok(Vec::new());
        }
        let bindings = observed.bindings.into_iter().cloned().collect();
        Ok(vec![BrokerOperation::ReplaceExchange { exchange: self.clone(), bindings }])
    }

    fn drop(&self, observed: BoundExchange<'_>) -> Vec<BrokerOperation> {
        if owner_of(&observed.exchange.arguments) != owner_of(&self.arguments) {
            return Vec::new();
        }
        vec![BrokerOperation::DeleteExchange(self.name.clone())]
    }
}

impl External for Queue {
    type World = ObservedBroker;
    type Observed<'w> = &'w Self;
    type Operation = BrokerOperation;
    type Refusal = BrokerError;

    fn get<'w>(&self, world: &'w ObservedBroker) -> Option<&'w Self> {
        world.queues.get(&self.name)
    }

    fn create(&self, _: &ObservedBroker) -> Result<Vec<BrokerOperation>, BrokerError> {
        Ok(vec![BrokerOperation::DeclareQueue(self.clone())])
    }

    fn update(&self, observed: &Self) -> Result<Vec<BrokerOperation>, BrokerError> {
        let object = format!("queue {}", self.name);
        require_owner(object.clone(), &self.arguments, &observed.arguments)?;
        match self.first_difference(observed) {
            None => Ok(Vec::new()),
            Some((field, have, want)) => Err(BrokerError::Immutable { object, field, have, want }),
        }
    }

    fn drop(&self, observed: &Self) -> Vec<BrokerOperation> {
        if owner_of(&observed.arguments) != owner_of(&self.arguments) {
            return Vec::new();
        }
        vec![BrokerOperation::DeleteQueue(self.name.clone())]
    }
}

impl Queue {
    /// Whether it is a stream, which forgets by age and size only.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.arguments.get("x-queue-type").is_some_and(|kind| kind == "stream")
    }

    fn first_difference(&self, observed: &Self) -> Option<(String, String, String)> {
        let show = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
        if observed.durable != self.durable {
            return Some(("durable".to_owned(), observed.durable.to_string(), self.durable.to_string()));
        }
        if observed.auto_delete != self.auto_delete {
            return Some(("auto_delete".to_owned(), observed.auto_delete.to_string(), self.auto_delete.to_string()));
        }
        let mut fields = self.arguments.keys().chain(observed.arguments.keys());
        let field = fields.find(|field| self.arguments.get(*field) != observed.arguments.get(*field))?;
        Some((field.clone(), show(observed.arguments.get(field)), show(self.arguments.get(field))))
    }
}

impl External for Binding {
    type World = ObservedBroker;
    /// Every binding between the two.
    type Observed<'w> = Vec<&'w ObservedBinding>;
    type Operation = BrokerOperation;
    type Refusal = BrokerError;

    fn get<'w>(&self, world: &'w ObservedBroker) -> Option<Vec<&'w ObservedBinding>> {
        let between: Vec<_> = world.bindings.iter().filter(|binding| binding.connects(self)).collect();
        (!between.is_empty()).then_some(between)
    }

    fn create(&self, _: &ObservedBroker) -> Result<Vec<BrokerOperation>, BrokerError> {
        Ok(vec![BrokerOperation::Bind(self.clone())])
    }

    fn update(&self, observed: Vec<&ObservedBinding>) -> Result<Vec<BrokerOperation>, BrokerError> {
        let mut operations = Vec::new();
        // The right one first: at no moment is the destination without its share.
        if !observed.iter().any(|binding| binding.is(self)) {
            operations.push(BrokerOperation::Bind(self.clone()));
        }
        if self.sole {
            operations.extend(observed.into_iter().filter(|binding| !binding.is(self)).cloned().map(BrokerOperation::Unbind));
        }
        Ok(operations)
    }

    fn drop(&self, observed: Vec<&ObservedBinding>) -> Vec<BrokerOperation> {
        observed.into_iter().filter(|binding| binding.is(self)).cloned().map(BrokerOperation::Unbind).collect()
    }
}

/// Whose an object with these arguments is.
pub(super) fn owner_of(arguments: &Arguments) -> Option<&str> {
    arguments.get(OWNER_ARGUMENT)?.as_str()
}

fn require_owner(object: String, desired: &Arguments, observed: &Arguments) -> Result<(), BrokerError> {
    let owner = owner_of(observed);
    if owner == owner_of(desired) {
        return Ok(());
    }
    Err(BrokerError::NameConflict { object, owner: owner.map(str::to_owned) })
}

impl fmt::Display for BrokerObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(policy) => policy.fmt(f),
            Self::Exchange(exchange) => exchange.fmt(f),
            Self::Queue(queue) => queue.fmt(f),
            Self::Binding(binding) => binding.fmt(f),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {} ({} matching {}: {})", self.name, self.apply_to, self.pattern, Listed(&self.definition))
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exchange {} ({}; {})", self.name, self.kind, Listed(&self.arguments))
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue {} ({})", self.name, Listed(&self.arguments))
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, destination_kind, routing_key, .. } = self;
        write!(f, "binding {source} -> {destination_kind} {destination} (key `{routing_key}`)")
    }
}

impl fmt::Display for DestinationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Exchange => "exchange",
        })
    }
}

impl fmt::Display for BrokerOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutPolicy(policy) => write!(f, "policy {}", policy.name),
            Self::DeletePolicy(name) => write!(f, "policy {name}"),
            Self::DeclareExchange(exchange) | Self::ReplaceExchange { exchange, .. } => write!(f, "exchange {}", exchange.name),
            Self::DeleteExchange(name) => write!(f, "exchange {name}"),
            Self::DeclareQueue(queue) => write!(f, "queue {}", queue.name),
            Self::DeleteQueue(name) => write!(f, "queue {name}"),
            Self::Bind(binding) => binding.fmt(f),
            Self::Unbind(binding) => {
                let ObservedBinding { source, destination, destination_kind, routing_key, .. } = binding;
                write!(f, "binding {source} -> {destination_kind} {destination} (key `{routing_key}`)")
            }
        }
    }
}

struct Listed<'a>(&'a Arguments);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match value {
                Value::String(text) => write!(f, "{comma}{key}={text}")?,
                other => write!(f, "{comma}{key}={other}")?,
            }
        }
        Ok(())
    }
}
