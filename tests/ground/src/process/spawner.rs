//! One thread that starts every process.
//!
//! The kernel sends the parent-death signal when the *thread* that started a process ends, not its process. A worker
//! thread of an asynchronous runtime may end at any time; this one lives as long as the process.

use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

type Order = (Command, Sender<std::io::Result<Child>>);

/// Starts `command` from the spawner's thread.
pub(super) fn spawn(command: Command) -> std::io::Result<Child> {
    static ORDERS: OnceLock<Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in receiver {
                // The one who asked waits for the answer below.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (sender, answer) = channel();
    let gone = |_| std::io::Error::other("the spawner's thread is gone");
    orders.send((command, sender)).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}
