//! What was read back from a broker, and its difference to what is desired.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::BrokerError;
use super::objects::{Arguments, Binding, BrokerObject, BrokerOperation, DestinationKind, Exchange, Policy, Queue};
use crate::external::difference::Difference;

/// The broker objects that exist, among those that were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedBroker {
    /// Policies by name.
    pub policies: BTreeMap<String, Policy>,
    /// Exchanges by name.
    pub exchanges: BTreeMap<String, Exchange>,
    /// Queues and streams by name.
    pub queues: BTreeMap<String, Queue>,
    /// The policy that each of them follows, when it follows one.
    pub follows: BTreeMap<String, String>,
    /// Every binding from or to those exchanges, in the order in which the broker lists them.
    pub bindings: Vec<ObservedBinding>,
}

/// A binding as the broker tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedBinding {
    /// The exchange it comes from.
    pub source: String,
    /// What it leads to.
    pub destination: String,
    /// What kind that is.
    #[serde(rename = "destination_type")]
    pub destination_kind: DestinationKind,
    /// Its routing key.
    pub routing_key: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Arguments,
    /// Its name among the bindings between the two.
    pub properties_key: String,
}

impl ObservedBinding {
    /// Whether it leads from and to where `desired` does.
    #[must_use]
    pub fn connects(&self, desired: &Binding) -> bool {
        self.source == desired.source && self.destination == desired.destination && self.destination_kind == desired.destination_kind
    }

    /// Whether it is `desired`.
    #[must_use]
    pub fn is(&self, desired: &Binding) -> bool {
        self.connects(desired) && self.routing_key == desired.routing_key && self.arguments.is_empty()
    }
}

/// What is to be done so that every desired object exists as desired.
#[must_use]
pub fn difference(desired: &[BrokerObject], observed: &ObservedBroker) -> Difference<BrokerOperation, BrokerError> {
    let mut difference = Difference::default();
    for object in desired {
        match object {
            BrokerObject::Policy(policy) => difference.add(policy, observed),
            BrokerObject::Exchange(exchange) => difference.add(exchange, observed),
            BrokerObject::Queue(queue) => difference.add(queue, observed),
            BrokerObject::Binding(binding) => difference.add(binding, observed),
        }
    }
    difference
}

/// Bindings that others made on our hash exchanges. They are theirs, so they stay; but each takes a share of the instruments away from our queues, and people must hear of it.
#[must_use]
pub fn intruders(desired: &[BrokerObject], observed: &ObservedBroker) -> Vec<String> {
    let shares: Vec<&Binding> = desired
        .iter()
        .filter_map(|object| match object {
            BrokerObject::Binding(binding) if binding.sole => Some(binding),
            _ => None,
        })
        .collect();
    let sources: BTreeSet<&str> = shares.iter().map(|share| share.source.as_str()).collect();
    observed
        .bindings
        .iter()
        .filter(|binding| sources.contains(binding.source.as_str()) && !shares.iter().any(|share| binding.connects(share)))
        .map(|binding| format!("{} -> {} (weight {})", binding.source, binding.destination, binding.routing_key))
        .collect()
}

/// Streams that follow a policy of somebody else with a higher priority, so that ours does not count: they keep more or less than the manifest says.
#[must_use]
pub fn overruled(desired: &[BrokerObject], observed: &ObservedBroker) -> Vec<String> {
    let ours = |name: &String| desired.iter().any(|object| matches!(object, BrokerObject::Policy(policy) if policy.name == *name));
    desired
        .iter()
        .filter_map(|object| match object {
            BrokerObject::Queue(queue) if queue.is_stream() => Some(&queue.name),
            _ => None,
        })
        .filter_map(|stream| Some((stream, observed.follows.get(stream).filter(|policy| !ours(policy))?)))
        .map(|(stream, policy)| format!("{stream} follows the policy {policy}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tapekeeper_contract::HumanDuration;
    use tapekeeper_contract::settings::ObjectName;
    use tapekeeper_contract::topology::Topology;

    use super::*;
    use crate::external::broker::{OWNER_ARGUMENT, TopologyOptions, topology};
    use crate::external::difference::{Intent, Planned};

    fn desired() -> Vec<BrokerObject> {
        let day = HumanDuration::from_secs(86_400);
        let options = TopologyOptions { replay_max_age: day, replay_max_bytes: None, dead_letter_max_age: day, delivery_limit: 20 };
        topology(&Topology::new("x", 2), &options, &ObjectName { namespace: "market".to_owned(), name: "main".to_owned() })
    }

    fn observed(binding: &Binding) -> ObservedBinding {
        let Binding { source, destination, destination_kind, routing_key, .. } = binding.clone();
        ObservedBinding { source, destination, destination_kind, properties_key: routing_key.clone(), routing_key, arguments: Arguments::new() }
    }

    /// What RabbitMQ does with an operation.
    fn apply(world: &mut ObservedBroker, operation: &BrokerOperation) {
        match operation.clone() {
            BrokerOperation::PutPolicy(policy) => drop(world.policies.insert(policy.name.clone(), policy)),
            BrokerOperation::DeletePolicy(name) => drop(world.policies.remove(&name)),
            BrokerOperation::DeclareExchange(exchange) | BrokerOperation::ReplaceExchange { exchange, .. } => {
                world.exchanges.insert(exchange.name.clone(), exchange);
            }
            BrokerOperation::DeleteExchange(name) => {
                world.exchanges.remove(&name);
                world
                    .bindings
                    .retain(|binding| binding.source != name && (binding.destination_kind == DestinationKind::Queue || binding.destination != name));
            }
            BrokerOperation::DeclareQueue(queue) => drop(world.queues.insert(queue.name.clone(), queue)),
            BrokerOperation::DeleteQueue(name) => {
                world.queues.remove(&name);
                world.bindings.retain(|binding| binding.destination_kind == DestinationKind::Exchange || binding.destination != name);
            }
            BrokerOperation::Bind(binding) => world.bindings.push(observed(&binding)),
            BrokerOperation::Unbind(binding) => world.bindings.retain(|found| *found != binding),
        }
    }

    fn applied(desired: &[BrokerObject], mut world: ObservedBroker) -> ObservedBroker {
        for planned in difference(desired, &world).operations {
            apply(&mut world, &planned.operation);
        }
        world
    }

    fn nothing_to_do(desired: &[BrokerObject]) -> Difference<BrokerOperation, BrokerError> {
        Difference { unchanged: desired.len(), ..Difference::default() }
    }

    fn removal(object: &BrokerObject) -> BrokerOperation {
        match object {
            BrokerObject::Policy(policy) => BrokerOperation::DeletePolicy(policy.name.clone()),
            BrokerObject::Exchange(exchange) => BrokerOperation::DeleteExchange(exchange.name.clone()),
            BrokerObject::Queue(queue) => BrokerOperation::DeleteQueue(queue.name.clone()),
            BrokerObject::Binding(binding) => BrokerOperation::Unbind(observed(binding)),
        }
    }

    #[test]
    fn whichever_two_objects_are_gone_one_pass_brings_them_back_with_their_bindings() {
        let desired = desired();
        let whole = applied(&desired, ObservedBroker::default());
        assert_eq!(difference(&desired, &whole), nothing_to_do(&desired));
        for one in &desired {
            for other in &desired {
                let mut world = whole.clone();
                apply(&mut world, &removal(one));
                apply(&mut world, &removal(other));
                assert_eq!(difference(&desired, &applied(&desired, world)), nothing_to_do(&desired), "without {one} and {other}");
            }
        }
    }

    #[test]
    fn a_shares_wrong_and_second_weights_go_after_the_right_one_came() {
        let desired = desired();
        let mut world = applied(&desired, ObservedBroker::default());
        for binding in world.bindings.iter_mut().filter(|binding| binding.destination == "x.shard.1") {
            binding.routing_key = "7".to_owned();
            binding.properties_key = "7".to_owned();
        }
        let wrong: Vec<ObservedBinding> = world.bindings.iter().filter(|binding| binding.destination == "x.shard.1").cloned().collect();
        let right = Binding {
            source: "x.shard".to_owned(),
            destination: "x.shard.1".to_owned(),
            destination_kind: DestinationKind::Queue,
            routing_key: "1".to_owned(),
            sole: true,
        };
        let expected = [BrokerOperation::Bind(right), BrokerOperation::Unbind(wrong[0].clone())];
        let found: Vec<_> = difference(&desired, &world).operations;
        assert_eq!(found, expected.map(|operation| Planned { intent: Intent::Repair, operation }));
        assert_eq!(difference(&desired, &applied(&desired, world)), nothing_to_do(&desired));
    }

    #[test]
    fn bindings_of_others_stay_and_those_on_a_hash_exchange_are_told() {
        let desired = desired();
        let mut world = applied(&desired, ObservedBroker::default());
        for (source, routing_key) in [("x", "binance.#"), ("x.shard", "1")] {
            let theirs = Binding {
                source: source.to_owned(),
                destination: "audit".to_owned(),
                destination_kind: DestinationKind::Queue,
                routing_key: routing_key.to_owned(),
                sole: false,
            };
            world.bindings.push(observed(&theirs));
        }
        assert_eq!(difference(&desired, &world), nothing_to_do(&desired));
        assert_eq!(intruders(&desired, &world), ["x.shard -> audit (weight 1)"]);
    }

    #[test]
    fn an_exchange_of_ours_that_differs_is_replaced_with_all_that_was_bound_to_it() {
        let desired = desired();
        let mut world = applied(&desired, ObservedBroker::default());
        let right = world.exchanges["x"].clone();
        world.exchanges.get_mut("x").unwrap().arguments.remove("alternate-exchange");
        let bindings: Vec<ObservedBinding> = world.bindings.iter().filter(|binding| binding.source == "x").cloned().collect();
        assert_eq!(bindings.len(), 2);
        let operation = BrokerOperation::ReplaceExchange { exchange: right, bindings };
        assert_eq!(
            difference(&desired, &world),
            Difference { operations: vec![Planned { intent: Intent::Repair, operation }], refusals: vec![], unchanged: desired.len() - 1 }
        );
    }

    #[test]
    fn an_object_without_our_marker_is_a_conflict_that_says_whose_it_is() {
        let desired = desired();
        let mut world = applied(&desired, ObservedBroker::default());
        world.exchanges.get_mut("x").unwrap().arguments.remove(OWNER_ARGUMENT);
        world.queues.get_mut("x.dead").unwrap().arguments.insert(OWNER_ARGUMENT.to_owned(), json!("other/pipeline"));
        assert_eq!(
            difference(&desired, &world).refusals,
            [
                BrokerError::NameConflict { object: "queue x.dead".to_owned(), owner: Some("other/pipeline".to_owned()) },
                BrokerError::NameConflict { object: "exchange x".to_owned(), owner: None },
            ]
        );
    }

    #[test]
    fn a_queues_changed_argument_is_told_and_never_acted_upon() {
        let desired = desired();
        let mut world = applied(&desired, ObservedBroker::default());
        world.queues.get_mut("x.shard.0").unwrap().arguments.insert("x-delivery-limit".to_owned(), json!(5));
        world.queues.get_mut("x.shard.1").unwrap().arguments.insert("x-max-length".to_owned(), json!(1000));
        let immutable = |object: &str, field: &str, have: &str, want: &str| BrokerError::Immutable {
            object: object.to_owned(),
            field: field.to_owned(),
            have: have.to_owned(),
            want: want.to_owned(),
        };
        let refusals =
            vec![immutable("queue x.shard.0", "x-delivery-limit", "5", "20"), immutable("queue x.shard.1", "x-max-length", "1000", "absent")];
        assert_eq!(difference(&desired, &world), Difference { operations: vec![], refusals, unchanged: desired.len() - 2 });
    }
}
