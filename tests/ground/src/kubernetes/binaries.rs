//! The programs of Kubernetes, built from Go modules into the cache. There is no release to download from a package registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::bounded::find_program;
use crate::cache::Cache;
use crate::command::run;

/// The version of Kubernetes.
pub const KUBERNETES: &str = "1.34.4";
const ETCD: &str = "3.6.4";
const HELM: &str = "3.19.0";
const COREDNS: &str = "1.12.4";

/// The first process of each pod: holds its namespaces, reaps what is left to it, and ends when told.
const PAUSE: &str = r#"
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, NULL, WNOHANG) > 0) {} }

int main(void) {
    signal(SIGINT, end);
    signal(SIGTERM, end);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
"#;

const COMMANDS: [&str; 6] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// Modules that `k8s.io/kubernetes` replaces by relative paths in its own go.mod. A consumer doesn't see those replacements.
const STAGING: [&str; 31] = [
    "api",
    "apiextensions-apiserver",
    "apimachinery",
    "apiserver",
    "cli-runtime",
    "client-go",
    "cloud-provider",
    "cluster-bootstrap",
    "code-generator",
    "component-base",
    "component-helpers",
    "controller-manager",
    "cri-api",
    "cri-client",
    "csi-translation-lib",
    "dynamic-resource-allocation",
    "endpointslice",
    "externaljwt",
    "kms",
    "kube-aggregator",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "metrics",
    "mount-utils",
    "pod-security-admission",
    "sample-apiserver",
    "sample-cli-plugin",
    "sample-controller",
];

/// A cold build takes 8 minutes on two idle cores; a slower or busier machine gets this many seconds.
const LONGEST_BUILD: &str = "3600";

/// One build: a folder of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// The control plane, the node's parts, kubectl and etcd.
    Kubernetes,
    /// helm.
    Helm,
    /// CoreDNS.
    CoreDns,
    /// The program that holds a pod's namespaces.
    Pause,
}

impl Build {
    /// All of them, the longest first.
    pub const ALL: [Self; 4] = [Self::Kubernetes, Self::Helm, Self::CoreDns, Self::Pause];

    /// What it gives, for people.
    #[must_use]
    pub fn what(self) -> String {
        match self {
            Self::Kubernetes => format!("Kubernetes {KUBERNETES} and etcd {ETCD}"),
            Self::Helm => format!("helm {HELM}"),
            Self::CoreDns => format!("CoreDNS {COREDNS}"),
            Self::Pause => "the pause program".to_owned(),
        }
    }

    /// Whether it lies in the cache already.
    #[must_use]
    pub fn is_there(self, cache: &Cache) -> bool {
        self.folder(cache).exists()
    }

    /// Builds it into the cache, unless it is there.
    ///
    /// # Errors
    ///
    /// Fails without `go` (or `cc` for [`Self::Pause`]), or when a module can't be fetched or built.
    pub async fn ensure(self, cache: &Cache) -> anyhow::Result<()> {
        let cache = cache.clone();
        tokio::task::spawn_blocking(move || cache.entry(&self.entry(), |making| self.make(making.folder)).map(drop)).await?
    }

    /// The name of the folder in the cache: any change of a version gives another.
    fn entry(self) -> String {
        let digest = |text: &str| -> String { Sha256::digest(text)[..4].iter().map(|byte| format!("{byte:02x}")).collect() };
        match self {
            Self::Kubernetes => format!("kubernetes-{KUBERNETES}-{}", digest(&go_mod())),
            Self::Helm => format!("helm-{HELM}"),
            Self::CoreDns => format!("coredns-{COREDNS}"),
            Self::Pause => format!("pause-{}", digest(PAUSE)),
        }
    }

    fn folder(self, cache: &Cache) -> PathBuf {
        cache.root().join(self.entry())
    }

    fn make(self, folder: &Path) -> anyhow::Result<()> {
        match self {
            Self::Kubernetes => {
                std::fs::write(folder.join("go.mod"), go_mod())?;
                let versions = format!(
                    "-s -w -X k8s.io/component-base/version.gitVersion=v{KUBERNETES} \
                     -X k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}"
                );
                // go.mod names what is wanted; the go command adds what that needs.
                go_install(folder, "-mod=mod -buildvcs=false", &versions, "tool")?;
                std::fs::rename(folder.join("server"), folder.join("etcd")).context("etcd's server")
            }
            Self::Helm => go_install_package(folder, "helm.sh/helm/v3/cmd/helm", HELM),
            Self::CoreDns => go_install_package(folder, "github.com/coredns/coredns", COREDNS),
            Self::Pause => {
                std::fs::write(folder.join("pause.c"), PAUSE)?;
                let mut cc = Command::new("cc");
                cc.args(["-static", "-Os", "-s", "-o", "pause", "pause.c"]).current_dir(folder);
                run(&mut cc).map(drop)
            }
        }
    }
}

/// The built programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    cache: Cache,
}

impl Binaries {
    /// The programs in `cache`, built or not.
    #[must_use]
    pub fn of(cache: &Cache) -> Self {
        Self { cache: cache.clone() }
    }

    /// The path of a program: `kubectl`, `helm`, `etcd`, `coredns`, `pause` or one of the cluster's own.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        let build = match name {
            "helm" => Build::Helm,
            "coredns" => Build::CoreDns,
            "pause" => Build::Pause,
            _ => Build::Kubernetes,
        };
        build.folder(&self.cache).join(name)
    }
}

fn go_install_package(folder: &Path, path: &str, version: &str) -> anyhow::Result<()> {
    go_install(folder, "-buildvcs=false", "-s -w", &format!("{path}@v{version}"))
}

fn go_install(folder: &Path, flags: &str, linker_flags: &str, what: &str) -> anyhow::Result<()> {
    let go = find_program("go").context("`go` is not installed: Kubernetes is built from Go modules")?;
    // The build ends with the one who waits for it: an orphan would go on writing into a folder that the next build makes anew.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "timeout", LONGEST_BUILD, "nice", "-n", "10"])
        .arg(go)
        .args(["install", "-trimpath", "-ldflags", linker_flags, what])
        .env("GOFLAGS", flags)
        .env("GOBIN", folder)
        .env("CGO_ENABLED", "0")
        .current_dir(folder);
    run(&mut command).map(drop)
}

/// The go.mod whose tools are the programs of Kubernetes and etcd.
fn go_mod() -> String {
    let mut lines = vec!["module tapekeeper.dev/local-cluster".to_owned(), String::new(), "go 1.24.0".to_owned(), String::new()];
    lines.extend(COMMANDS.map(|name| format!("tool k8s.io/kubernetes/cmd/{name}")));
    lines.push("tool go.etcd.io/etcd/server/v3".to_owned());
    lines.push(String::new());
    lines.push(format!("require k8s.io/kubernetes v{KUBERNETES}"));
    lines.push(format!("require go.etcd.io/etcd/server/v3 v{ETCD}"));
    lines.push(String::new());
    let (_, minor) = KUBERNETES.split_at(1);
    lines.extend(STAGING.map(|name| format!("replace k8s.io/{name} => k8s.io/{name} v0{minor}")));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_staging_modules_carry_the_version_of_kubernetes() {
        let text = go_mod();
        assert!(text.contains("\nrequire k8s.io/kubernetes v1.34.4\n"));
        assert!(text.contains("\nreplace k8s.io/api => k8s.io/api v0.34.4\n"));
        assert!(text.contains("\ntool k8s.io/kubernetes/cmd/kubelet\n"));
    }

    #[test]
    fn nothing_is_there_in_an_empty_cache() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        assert!(Build::ALL.iter().all(|build| !build.is_there(&cache)));
    }
}
