//! Which process it is: a pid alone may have been given to someone else since.

use std::path::Path;

use anyhow::{Context, Result};

/// A pid together with the time its process started, which no later process of the same pid shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// In clock ticks since the machine booted.
    pub start_time: u64,
}

impl Identity {
    /// Of the process that has `pid` now; `None` when there is none, or only its unreaped remains.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start_time) = state_and_start_time(&stat)?;
        // A process whose first thread has ended looks like a dead one while its other threads still work.
        let over = matches!(state, 'Z' | 'X') && threads(pid) <= 1;
        (!over).then_some(Self { pid, start_time })
    }

    /// Whether this very process still runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Reads a pidfile; `None` when it is missing or not whole.
    pub fn read(pidfile: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(pidfile).ok()?;
        let (pid, start_time) = text.trim_end().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
    }

    /// Writes a pidfile: `PID START_TIME`.
    pub fn write(&self, pidfile: &Path) -> Result<()> {
        std::fs::write(pidfile, format!("{} {}\n", self.pid, self.start_time)).with_context(|| format!("writing {}", pidfile.display()))
    }
}

fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// From proc_pid_stat(5): fields 3 and 22, counted after the command's name, which is in parentheses and may hold
/// anything.
fn state_and_start_time(stat: &str) -> Option<(char, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "42 (odd) name) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 1";
        assert_eq!(state_and_start_time(stat), Some(('S', 987_654)));
    }

    #[test]
    fn the_unreaped_remains_of_a_process_are_nobody() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        while !std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") Z ") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(Identity::of(child.id()), None);
        child.wait().unwrap();
    }

    #[test]
    fn a_recycled_pid_is_someone_else() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Identity { start_time: me.start_time - 1, ..me }.is_alive());
    }
}
