//! Reading a Pipeline's broker objects back, and making them as desired.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use rustls::ClientConfig;
use serde::Deserialize;
use tapekeeper_runtime::credentials::Credentials;

use super::error::BrokerError;
use super::management::Management;
use super::objects::{BrokerObject, Exchange, Policy, Queue};
use super::observed::{ObservedBinding, ObservedBroker, difference, intruders, overruled};
use crate::external::difference::Intent;

/// Calls under way at once. A management interface serves people too.
pub(super) const CONCURRENCY: usize = 4;

/// A broker, through its management interface.
#[derive(Debug, Clone)]
pub struct BrokerAdmin {
    pub(super) management: Management,
}

/// What a pass over the broker's objects did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerReport {
    /// Objects that were missing.
    pub created: Vec<String>,
    /// Objects that differed.
    pub repaired: Vec<String>,
    /// How many were as they should be.
    pub unchanged: usize,
    /// Bindings of others on the hash exchanges: each takes a share of the instruments away from the shard queues or replay streams.
    pub intruders: Vec<String>,
    /// Streams that follow somebody else's policy, so that the manifest's retention does not hold.
    pub overruled: Vec<String>,
}

impl BrokerReport {
    /// Whether anything was written.
    #[must_use]
    pub fn changed(&self) -> bool {
        !self.created.is_empty() || !self.repaired.is_empty()
    }
}

impl BrokerAdmin {
    /// The broker behind these credentials of its management interface. `tls` trusts the authority that signed its certificate.
    ///
    /// # Errors
    /// [`BrokerError::Unreachable`] when no HTTP client can be made of the TLS configuration.
    pub fn new(credentials: &Credentials, tls: Arc<ClientConfig>) -> Result<Self, BrokerError> {
        Ok(Self { management: Management::new(credentials, tls)? })
    }

    /// Reads back the desired objects, and every binding of the desired exchanges. Objects are asked for by name: a broker shared with others may hold tens of thousands.
    ///
    /// # Errors
    /// [`BrokerError`], when it can't be read.
    pub async fn observe(&self, vhost: &str, desired: &[BrokerObject]) -> Result<ObservedBroker, BrokerError> {
        self.management.require_vhost(vhost).await?;
        // Collected first: a stream that borrows while it maps makes a future that the compiler can't prove to be `Send`.
        let looks: Vec<_> = desired.iter().map(|object| self.look(vhost, object)).collect();
        let seen: Vec<Seen> = stream::iter(looks).buffered(CONCURRENCY).try_collect().await?;
        let mut observed = ObservedBroker::default();
        for one in seen {
            match one {
                Seen::Nothing => {}
                Seen::Policy(policy) => drop(observed.policies.insert(policy.name.clone(), policy)),
                Seen::Queue(DescribedQueue { queue, policy }) => {
                    if let Some(policy) = policy {
                        observed.follows.insert(queue.name.clone(), policy);
                    }
                    observed.queues.insert(queue.name.clone(), queue);
                }
                Seen::Exchange(exchange, bindings) => {
                    observed.exchanges.insert(exchange.name.clone(), exchange);
                    for binding in bindings {
                        // A binding between two of our exchanges is told by both.
                        if !observed.bindings.contains(&binding) {
                            observed.bindings.push(binding);
                        }
                    }
                }
            }
        }
        Ok(observed)
    }

    /// Makes the objects as desired: reads back, then writes only what differs.
    ///
    /// # Errors
    /// [`BrokerError::NameConflict`] before anything is written; [`BrokerError::Immutable`] after everything else is right; others as they come.
    pub async fn converge(&self, vhost: &str, desired: &[BrokerObject]) -> Result<BrokerReport, BrokerError> {
        let observed = self.observe(vhost, desired).await?;
        let difference = difference(desired, &observed);
        if let Some(conflict) = difference.refusals.iter().find(|refusal| matches!(refusal, BrokerError::NameConflict { .. })) {
            return Err(conflict.clone());
        }
        let mut report = BrokerReport {
            unchanged: difference.unchanged,
            intruders: intruders(desired, &observed),
            overruled: overruled(desired, &observed),
            ..BrokerReport::default()
        };
        for planned in &difference.operations {
            self.management.carry_out(vhost, &planned.operation).await?;
            let object = planned.operation.to_string();
            tracing::info!(vhost, object, intent = ?planned.intent, "broker object written");
            match planned.intent {
                Intent::Create => report.created.push(object),
                Intent::Repair => report.repaired.push(object),
            }
        }
        match difference.refusals.into_iter().next() {
            Some(refusal) => Err(refusal),
            None => Ok(report),
        }
    }

    async fn look(&self, vhost: &str, object: &BrokerObject) -> Result<Seen, BrokerError> {
        Ok(match object {
            BrokerObject::Policy(policy) => self.management.policy(vhost, &policy.name).await?.map_or(Seen::Nothing, Seen::Policy),
            BrokerObject::Queue(queue) => self.management.queue(vhost, &queue.name).await?.map_or(Seen::Nothing, Seen::Queue),
            BrokerObject::Exchange(exchange) => match self.management.exchange(vhost, &exchange.name).await? {
                None => Seen::Nothing,
                Some(found) => {
                    let mut bindings = self.management.bindings(vhost, &exchange.name, "source").await?;
                    bindings.extend(self.management.bindings(vhost, &exchange.name, "destination").await?);
                    Seen::Exchange(found, bindings)
                }
            },
            // Told by their exchanges.
            BrokerObject::Binding(_) => Seen::Nothing,
        })
    }
}

/// A queue with the policy that it follows, as `GET /api/queues/VHOST/NAME` tells them.
#[derive(Deserialize)]
struct DescribedQueue {
    #[serde(flatten)]
    queue: Queue,
    #[serde(default)]
    policy: Option<String>,
}

enum Seen {
    Nothing,
    Policy(Policy),
    Queue(DescribedQueue),
    Exchange(Exchange, Vec<ObservedBinding>),
}
