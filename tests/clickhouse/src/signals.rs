//! Signals are taken by one waiting thread; no handler ever runs inside the engine's threads.

use std::io;

/// What the waiting thread woke up for.
pub(crate) enum Event {
    /// SIGTERM or SIGINT.
    StopRequested,
    /// The engine's thread is done.
    EngineEnded,
}

/// The blocked set; every thread started after [`Signals::block`] inherits the block.
pub(crate) struct Signals {
    set: libc::sigset_t,
}

/// Lets the engine's thread wake the waiting one.
pub(crate) struct Waker {
    thread: libc::pthread_t,
}

const ENGINE_ENDED: libc::c_int = libc::SIGUSR2;

impl Signals {
    /// Blocks the stop signals and the engine's own for this thread and its later children; ignores a hang-up.
    #[allow(unsafe_code)]
    pub(crate) fn block() -> io::Result<Self> {
        // SAFETY: `sigemptyset` initialises the zeroed set; the other calls only read it.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGTERM, libc::SIGINT, ENGINE_ENDED] {
                libc::sigaddset(&mut set, signal);
            }
            match libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) {
                0 => {}
                code => return Err(io::Error::from_raw_os_error(code)),
            }
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            Ok(Self { set })
        }
    }

    /// A waker of the calling thread, which must be the one that calls [`Signals::wait`].
    #[allow(unsafe_code)]
    pub(crate) fn waker(&self) -> Waker {
        // SAFETY: always succeeds and has no preconditions.
        Waker { thread: unsafe { libc::pthread_self() } }
    }

    /// Waits for the next signal.
    #[allow(unsafe_code)]
    pub(crate) fn wait(&self) -> io::Result<Event> {
        let mut signal = 0;
        // SAFETY: the set was initialised by `block`, and `signal` is a valid place for the answer.
        match unsafe { libc::sigwait(&self.set, &mut signal) } {
            0 if signal == ENGINE_ENDED => Ok(Event::EngineEnded),
            0 => Ok(Event::StopRequested),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

impl Waker {
    /// Tells the waiting thread that the engine is done.
    #[allow(unsafe_code)]
    pub(crate) fn engine_ended(&self) {
        // SAFETY: the main thread waits in `Signals::wait` until the process ends, so its id stays valid.
        unsafe { libc::pthread_kill(self.thread, ENGINE_ENDED) };
    }
}

/// Makes this process the leader of a process group of its own; no effect when it already is.
#[allow(unsafe_code)]
pub(crate) fn lead_own_group() {
    // SAFETY: no memory is involved. The only failure is being a session leader, who leads a group already.
    unsafe { libc::setpgid(0, 0) };
}

/// Ends the process without running static destructors: the engine's crash when its threads are still there.
#[allow(unsafe_code)]
pub(crate) fn exit_without_destructors(status: i32) -> ! {
    // SAFETY: `_exit` has no preconditions; standard error is unbuffered, so nothing of ours is lost.
    unsafe { libc::_exit(status) }
}
