//! What the operator does with the Kubernetes API: server-side apply with a look before each write ([`apply`]), references ([`references`]), finalizers ([`finalizer`]), Events ([`events`]).

pub mod apply;
pub mod contained;
pub mod events;
pub mod finalizer;
pub mod references;
