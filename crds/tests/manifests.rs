//! `crds/yaml/` is what the types say. `TAPEKEEPER_WRITE_CRDS=1 cargo test -p tapekeeper-crds` writes it anew.

#![allow(clippy::unwrap_used)] // a test that can't go on fails

use std::path::Path;

use tapekeeper_crds::manifest;

#[test]
fn the_checked_in_definitions_are_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    for (name, text) in manifest::files().unwrap() {
        let file = folder.join(&name);
        if std::env::var_os("TAPEKEEPER_WRITE_CRDS").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(checked_in == text, "crds/yaml/{name} differs: run `cargo run -p tapekeeper-operator -- crd --write crds/yaml`");
    }
}

#[test]
fn a_definition_fits_into_the_annotation_of_a_client_side_apply() {
    for (name, text) in manifest::files().unwrap() {
        assert!(text.len() < 200_000, "{name} has {} bytes", text.len());
    }
}

#[test]
fn no_definition_invents_a_status() {
    for definition in manifest::definitions().unwrap() {
        let status = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"].to_string();
        assert!(!status.contains("\"default\""), "{status}");
        assert!(status.contains(r#""x-kubernetes-list-type":"map""#));
    }
}
