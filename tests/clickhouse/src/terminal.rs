//! The terminal that the engine believes to talk to.
//!
//! With a pipe or a file as input the engine installs a handler that aborts the process on any exception that leaves a
//! connection's thread, and one malformed request is enough. With a terminal it doesn't, and the terminal is also the
//! way to ask for a clean end: by typing `exit`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};

use crate::signals::exit_without_destructors;

/// The column name that shows on the screen when every start-up statement has succeeded.
pub(crate) const READY: &str = "tapekeeper_ready";
/// The engine's prompt; when it shows before [`READY`], a start-up statement has failed.
pub(crate) const PROMPT: &str = "tapekeeper-prompt>";
/// What the launcher prints on its own standard output once connections are accepted.
const READY_LINE: &[u8] = b"clickhouse ready\n";
/// More than the engine ever shows at start-up; the rest is not looked at.
const SCREEN_BYTES: usize = 64 << 10;

/// The master side of the pseudo-terminal, and the standard output the process was started with.
pub(crate) struct Terminal {
    master: File,
    stdout: File,
}

/// Types into the terminal.
pub(crate) struct Keyboard {
    master: File,
}

impl Terminal {
    /// Opens a pseudo-terminal and makes it the process's standard input and output.
    #[allow(unsafe_code)]
    pub(crate) fn take_over_stdio() -> io::Result<Self> {
        let (mut master, mut slave) = (0, 0);
        let window = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the pointers are to live locals or null where openpty(3) allows null.
        check(unsafe { libc::openpty(&mut master, &mut slave, std::ptr::null_mut(), std::ptr::null_mut(), &window) })?;
        // SAFETY: openpty has just opened both, and nobody else owns them.
        let (master, slave) = unsafe { (File::from_raw_fd(master), File::from_raw_fd(slave)) };
        without_echo(&slave)?;
        // SAFETY: dup gives a new descriptor that nobody else owns.
        let stdout = unsafe { File::from_raw_fd(check(libc::dup(libc::STDOUT_FILENO))?) };
        for standard in [libc::STDIN_FILENO, libc::STDOUT_FILENO] {
            // SAFETY: both are open descriptors; replacing the standard streams is the purpose, and nothing of ours
            // has buffered anything for them.
            check(unsafe { libc::dup2(slave.as_raw_fd(), standard) })?;
        }
        // SAFETY: no other thread exists yet, so nobody reads the environment meanwhile.
        unsafe { std::env::set_var("TERM", "dumb") };
        Ok(Self { master, stdout })
    }

    /// Reads the screen on a thread of its own for as long as the process lives, so that the engine never blocks on
    /// output; announces readiness, and ends the process when start-up failed.
    pub(crate) fn watch_screen(self) -> Keyboard {
        let Self { master, mut stdout } = self;
        let keyboard = Keyboard {
            master: master.try_clone().unwrap_or_else(|error| {
                eprintln!("clickhouse: terminal: {error}");
                exit_without_destructors(1)
            }),
        };
        std::thread::spawn(move || {
            let (mut master, mut chunk, mut screen, mut ready) = (master, [0_u8; 4096], String::new(), false);
            while let Ok(length @ 1..) = master.read(&mut chunk) {
                if ready || screen.len() > SCREEN_BYTES {
                    continue;
                }
                screen.push_str(&String::from_utf8_lossy(&chunk[..length]));
                if screen.contains(READY) {
                    ready = true;
                    // Whoever started us may have closed its end: serving goes on.
                    let _ = stdout.write_all(READY_LINE);
                } else if screen.contains(PROMPT) {
                    eprintln!("clickhouse: start-up failed: {}", screen.trim());
                    exit_without_destructors(1);
                }
            }
        });
        keyboard
    }
}

impl Keyboard {
    /// Types `line` and Return.
    pub(crate) fn type_line(&self, line: &str) -> io::Result<()> {
        (&self.master).write_all(format!("{line}\n").as_bytes())
    }
}

/// An in-memory file for the line editor's history, by path.
///
/// The line editor changes the mode of its history file to 0600: pointed at a device such as `/dev/null`, as root, it
/// would take that device away from everybody.
#[allow(unsafe_code)]
pub(crate) fn history_file() -> io::Result<String> {
    // SAFETY: the name is a NUL-terminated literal. The descriptor stays open until the process ends, on purpose.
    let descriptor = check(unsafe { libc::memfd_create(c"history".as_ptr(), 0) })?;
    Ok(format!("/proc/self/fd/{descriptor}"))
}

#[allow(unsafe_code)]
fn without_echo(terminal: &File) -> io::Result<()> {
    // SAFETY: termios is plain data for which all zeroes is a valid value; tcgetattr fills it.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is an open terminal and the pointer is to a live local.
    check(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut settings) })?;
    settings.c_lflag &= !libc::ECHO;
    // SAFETY: as above; tcsetattr only reads the settings.
    check(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &settings) })?;
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
