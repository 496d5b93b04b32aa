//! The pods of a feed or a sink: one Deployment and one ConfigMap, rendered ([`render`]), applied ([`apply`]) and observed ([`observe`]).

pub mod apply;
pub mod naming;
pub mod observe;
pub mod render;

pub use apply::{Live, Outcome};
pub use naming::Role;
pub use render::{MountedSecret, Rendered, Workload};
