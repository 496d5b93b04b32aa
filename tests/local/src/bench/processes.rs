//! What each part of an instance uses: processor time and resident memory of its processes, pods included, as the kernel counts them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use tapekeeper_test_ground::kubernetes::{Instance, resident_bytes};

/// Hundredths of a second: the unit of processor time in `/proc`, on every x86-64 Linux.
const CLOCK_TICK: Duration = Duration::from_millis(10);

/// What one part used while it was watched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Used {
    /// Processor time, user and system; in seconds as JSON.
    #[serde(serialize_with = "seconds")]
    pub(crate) processor: Duration,
    /// Resident memory in bytes at the most that was seen, all its processes together.
    pub(crate) resident_peak: u64,
}

/// Looks at the processes of an instance again and again.
#[derive(Debug)]
pub(crate) struct Watch {
    cgroup: String,
    instance: Instance,
    processes: BTreeMap<i32, Seen>,
    peaks: BTreeMap<String, u64>,
    machine_before: Duration,
}

#[derive(Debug)]
struct Seen {
    part: String,
    first: Duration,
    last: Duration,
}

impl Watch {
    /// Begins with a first look.
    pub(crate) fn begin(instance: &Instance) -> Self {
        let mut this = Self {
            cgroup: format!("/{}/", instance.qualified_name()),
            instance: instance.clone(),
            processes: BTreeMap::new(),
            peaks: BTreeMap::new(),
            machine_before: machine_busy(),
        };
        this.look_at(true);
        this
    }

    /// Looks again. What a process used that began and ended between two looks is not seen.
    pub(crate) fn look(&mut self) {
        self.look_at(false);
    }

    fn look_at(&mut self, is_first: bool) {
        let mut resident = BTreeMap::<String, u64>::new();
        for pid in self.pids() {
            let (Some(part), Some(used)) = (part_of(pid), processor_time(pid)) else { continue };
            *resident.entry(part.clone()).or_default() += u32::try_from(pid).map_or(0, resident_bytes);
            let first = if is_first { used } else { Duration::ZERO };
            let seen = self.processes.entry(pid).or_insert(Seen { part, first, last: used });
            seen.last = used;
        }
        for (part, bytes) in resident {
            let peak = self.peaks.entry(part).or_default();
            *peak = bytes.max(*peak);
        }
    }

    fn pids(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self.instance.processes_inside().iter().map(|pid| pid.as_raw()).collect();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let all = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
        pids.extend(all.filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroups| cgroups.contains(&self.cgroup))));
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// What each part used since the first look, and the processor time of the whole machine.
    pub(crate) fn end(mut self) -> (BTreeMap<String, Used>, Duration) {
        self.look();
        let machine = machine_busy().saturating_sub(self.machine_before);
        let mut parts = BTreeMap::<String, Used>::new();
        for seen in self.processes.into_values() {
            parts.entry(seen.part).or_default().processor += seen.last.saturating_sub(seen.first);
        }
        for (part, bytes) in self.peaks {
            parts.entry(part).or_default().resident_peak = bytes;
        }
        (parts, machine)
    }
}

/// Writes a time as seconds.
pub(crate) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// Processor time that this program used.
pub(crate) fn own_processor_time() -> Duration {
    i32::try_from(std::process::id()).ok().and_then(processor_time).unwrap_or_default()
}

/// The part that a process belongs to.
fn part_of(pid: i32) -> Option<String> {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> = command.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    name_of(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn name_of(words: &[&str]) -> Option<String> {
    // Erlang's helpers write their arguments into the first word.
    let program = words.first()?.rsplit('/').next()?.split(' ').next()?;
    let name = match program {
        "" => return None,
        "beam.smp" | "cpu_sup" | "epmd" | "erl_child_setup" | "inet_gethost" | "memsup" | "sh" => "rabbitmq",
        "haproxy" => "tls-front",
        "tapekeeper-operator" => "operator",
        "tapekeeper-test-clickhouse" => "clickhouse",
        "tapekeeper-test-venue" => "venue",
        "tapekeeper-worker" => words.get(1)?,
        "containerd" | "containerd-shim-runc-v2" | "pause" | "runc" => "containerd",
        other => other,
    };
    Some(name.to_owned())
}

fn processor_time(pid: i32) -> Option<Duration> {
    processor_time_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// From proc_pid_stat(5): fields 14 and 15, counted after the command's name, which is in parentheses and may hold anything.
fn processor_time_in(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(CLOCK_TICK * (user + system))
}

/// Processor time of the whole machine since it booted.
fn machine_busy() -> Duration {
    std::fs::read_to_string("/proc/stat").ok().and_then(|text| busy_in(&text)).unwrap_or_default()
}

/// From proc_stat(5), first line: user, nice, system, idle, iowait, irq, softirq.
fn busy_in(stat: &str) -> Option<Duration> {
    let fields: Vec<u32> = stat.lines().next()?.split_ascii_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _, _, irq, softirq, ..] = fields[..] else { return None };
    Some(CLOCK_TICK * (user + nice + system + irq + softirq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_belongs_to_the_part_that_its_command_names() {
        let parts = [
            (vec!["/tapekeeper-worker", "batcher"], Some("batcher")),
            (vec!["/opt/erlang/beam.smp", "-W", "w"], Some("rabbitmq")),
            (vec!["erl_child_setup 1024"], Some("rabbitmq")),
            (vec!["/usr/sbin/haproxy", "-db"], Some("tls-front")),
            (vec!["/cache/etcd", "--name=local"], Some("etcd")),
            (vec![""], None),
        ];
        for (words, part) in parts {
            assert_eq!(name_of(&words).as_deref(), part, "{words:?}");
        }
    }

    #[test]
    fn processor_time_is_user_and_system_time() {
        let stat = "42 (odd) name) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 1 0 987654 1 1";
        assert_eq!(processor_time_in(stat), Some(Duration::from_secs(2)));
        assert_eq!(busy_in("cpu  100 10 50 9999 77 3 37 0 0 0\ncpu0 1"), Some(Duration::from_secs(2)));
    }

    #[test]
    fn this_program_has_used_processor_time() {
        let begin = std::time::Instant::now();
        while own_processor_time().is_zero() {
            assert!(begin.elapsed() < Duration::from_secs(20));
        }
    }
}
