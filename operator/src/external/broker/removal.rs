//! Dropping a Pipeline's broker objects.

use std::collections::BTreeSet;
use std::time::Duration;

use tapekeeper_contract::HumanDuration;
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_contract::topology::Topology;

use super::admin::BrokerAdmin;
use super::error::BrokerError;
use super::objects::{BrokerObject, BrokerOperation, owner_of};
use super::observed::ObservedBroker;
use super::topology::{TopologyOptions, topology};
use crate::external::difference::External;
use crate::external::removal::{DropReport, Kept};

/// How old a queue's count may be: RabbitMQ tells its statistics every five seconds. A quorum queue refuses `if-empty`, so the count is what there is.
const STATISTICS_AGE: Duration = Duration::from_secs(6);

impl BrokerAdmin {
    /// Drops what carries the owner's marker, in an order in which nothing is lost: first the topic exchange loses its bindings, so that what is still published goes to the
    /// unrouted stream; a shard queue goes only when it is empty, and while one stays, the dead-letter exchange and stream that it refers to stay with it.
    /// Takes some seconds, because a queue's emptiness is trusted only from statistics that are younger than the last binding. Safe to call again.
    ///
    /// # Errors
    /// [`BrokerError`], when the broker can't be read or refuses. A virtual host that is gone holds nothing of ours: the report is empty.
    pub async fn drop_owned(&self, vhost: &str, names: &Topology, owner: &ObjectName) -> Result<DropReport, BrokerError> {
        let desired = every_object(names, owner);
        let observed = match self.observe(vhost, &desired).await {
            Err(BrokerError::VhostNotFound { .. }) => return Ok(DropReport::default()),
            other => other?,
        };
        let mut report = DropReport { dropped: Vec::new(), kept: foreign(&desired, &observed, owner) };
        for unbinding in inflow(&desired, &observed, names, owner) {
            self.carry_out_drop(vhost, &unbinding, &mut report).await?;
        }

        let shards: Vec<String> =
            names.shard_queues().filter(|name| observed.queues.get(name).is_some_and(|queue| is_owned(owner, owner_of(&queue.arguments)))).collect();
        let undrained = self.undrained(vhost, &shards).await?;
        for (name, messages) in &undrained {
            let why = match messages {
                Some(1) => "it holds a message that is not stored yet".to_owned(),
                Some(messages) => format!("it holds {messages} messages that are not stored yet"),
                None => "the broker does not tell how many messages it holds".to_owned(),
            };
            report.kept.push(Kept { object: format!("queue {name}"), reason: Kept::NOT_DRAINED, why });
        }
        let undrained: BTreeSet<String> = undrained.into_iter().map(|(name, _)| name).collect();
        for operation in deletions(&desired, &observed, names, owner, &undrained) {
            self.carry_out_drop(vhost, &operation, &mut report).await?;
        }
        Ok(report)
    }

    async fn carry_out_drop(&self, vhost: &str, operation: &BrokerOperation, report: &mut DropReport) -> Result<(), BrokerError> {
        self.management.carry_out(vhost, operation).await?;
        let object = operation.to_string();
        tracing::info!(vhost, object, "broker object dropped");
        report.dropped.push(object);
        Ok(())
    }

    /// Those of the queues that hold messages, with how many, or of which that is not known.
    async fn undrained(&self, vhost: &str, queues: &[String]) -> Result<Vec<(String, Option<u64>)>, BrokerError> {
        if queues.is_empty() {
            return Ok(Vec::new());
        }
        // What came in before the bindings went is in the statistics by then.
        tokio::time::sleep(STATISTICS_AGE).await;
        let mut undrained = Vec::new();
        for name in queues {
            let Some(statistics) = self.statistics(vhost, name).await? else { continue };
            if statistics.messages != Some(0) {
                undrained.push((name.clone(), statistics.messages));
            }
        }
        Ok(undrained)
    }
}

/// Everything a Pipeline of these names can have. Its options change no name.
fn every_object(names: &Topology, owner: &ObjectName) -> Vec<BrokerObject> {
    let any = HumanDuration::from_secs(1);
    topology(names, &TopologyOptions { replay_max_age: any, replay_max_bytes: None, dead_letter_max_age: any, delivery_limit: 1 }, owner)
}

fn is_owned(owner: &ObjectName, marker: Option<&str>) -> bool {
    marker == Some(owner.to_string().as_str())
}

fn foreign(desired: &[BrokerObject], observed: &ObservedBroker, owner: &ObjectName) -> Vec<Kept> {
    desired
        .iter()
        .filter_map(|object| {
            let (object, marker) = match object {
                BrokerObject::Exchange(exchange) => {
                    (format!("exchange {}", exchange.name), owner_of(&observed.exchanges.get(&exchange.name)?.arguments))
                }
                BrokerObject::Queue(queue) => (format!("queue {}", queue.name), owner_of(&observed.queues.get(&queue.name)?.arguments)),
                BrokerObject::Policy(_) | BrokerObject::Binding(_) => return None,
            };
            if is_owned(owner, marker) {
                return None;
            }
            let why = marker.map_or_else(|| "it was not created by Tapekeeper".to_owned(), |marker| format!("it belongs to {marker}"));
            Some(Kept { object, reason: Kept::NOT_OWNED, why })
        })
        .collect()
}

/// The bindings by which messages come in from the topic exchange, when it is ours.
fn inflow(desired: &[BrokerObject], observed: &ObservedBroker, names: &Topology, owner: &ObjectName) -> Vec<BrokerOperation> {
    let ours = observed.exchanges.get(names.exchange()).is_some_and(|exchange| is_owned(owner, owner_of(&exchange.arguments)));
    let bindings = desired.iter().filter_map(|object| match object {
        BrokerObject::Binding(binding) if ours && binding.source == names.exchange() => Some(binding),
        _ => None,
    });
    bindings.flat_map(|binding| binding.get(observed).map(|found| binding.drop(found)).unwrap_or_default()).collect()
}

/// Deletions, exchanges before the queues behind them. Deleting either end of a binding deletes the binding.
fn deletions(
    desired: &[BrokerObject],
    observed: &ObservedBroker,
    names: &Topology,
    owner: &ObjectName,
    undrained: &BTreeSet<String>,
) -> Vec<BrokerOperation> {
    let dead = names.dead_letters();
    let dead_policy = super::topology::policy_name(owner, &dead);
    let needed = |name: &String| undrained.contains(name) || (!undrained.is_empty() && *name == dead);
    let mut operations = Vec::new();
    for object in desired {
        match object {
            BrokerObject::Exchange(exchange) if !needed(&exchange.name) => {
                operations.extend(exchange.get(observed).map(|found| exchange.drop(found)))
            }
            _ => {}
        }
    }
    // The topic exchange, declared last, goes first: a publisher is refused at once instead of writing to an exchange without a way out.
    operations.reverse();
    for object in desired {
        match object {
            BrokerObject::Queue(queue) if !needed(&queue.name) => operations.extend(queue.get(observed).map(|found| queue.drop(found))),
            _ => {}
        }
    }
    for object in desired {
        match object {
            BrokerObject::Policy(policy) if undrained.is_empty() || policy.name != dead_policy => {
                operations.extend(policy.get(observed).map(|found| policy.drop(found)));
            }
            _ => {}
        }
    }
    operations.into_iter().flatten().collect()
}
