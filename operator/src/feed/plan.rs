//! Plan (pure and infallible): the Kubernetes objects of an ExchangeFeed. It can't fail because validation checked everything that could.

use super::validate::ValidFeed;
use crate::installation::Installation;
use crate::workload::{Rendered, Role, Workload, render};

/// The connector of a feed.
#[must_use]
pub fn plan(feed: &ValidFeed, installation: &Installation) -> Rendered {
    let workload = Workload {
        role: Role::Connector,
        owner: feed.name.clone(),
        owner_reference: feed.owner_reference.clone(),
        settings: feed.settings.clone(),
        secrets: vec![feed.broker_secret.clone()],
        replicas: feed.replicas,
        placement: feed.placement.clone(),
    };
    render::render(&workload, installation)
}
