//! Conditions: `metav1.Condition`, one per type, each with the generation it describes.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The summary: everything works, as observed now.
pub const READY: &str = "Ready";
/// The spec says something that can be done.
pub const SPEC_VALID: &str = "SpecValid";
/// What the spec refers to is there and usable.
pub const REFERENCES_RESOLVED: &str = "ReferencesResolved";
/// The broker has the Pipeline's exchanges, queues and streams.
pub const TOPOLOGY_READY: &str = "TopologyReady";
/// The database has the sink's tables.
pub const SCHEMA_READY: &str = "SchemaReady";
/// The pods that should run are available.
pub const WORKLOAD_AVAILABLE: &str = "WorkloadAvailable";
/// Data was seen within a time fit for it.
pub const DATA_FLOWING: &str = "DataFlowing";
/// The manifest asks for a pause, and the pods are gone.
pub const PAUSED: &str = "Paused";
/// kstatus: the operator is on its way to what the spec asks.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: the operator can't go on until somebody changes something.
pub const STALLED: &str = "Stalled";

/// The schema of a list of conditions: a map keyed by `type`, so that server-side apply merges it by entry.
pub fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What is the case, one condition per type.",
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316, "description": "What the condition is about." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it is the case." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024, "description": "Why, in one word." },
                "message": { "type": "string", "maxLength": 32768, "description": "Why, for people." },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0, "description": "The generation of the spec that it describes." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "description": "When the status changed last." }
            }
        }
    })
}
