//! A ClickHouse server in the foreground, from ClickHouse's own engine library (`libchdb.so`).
//!
//! `tapekeeper-test-clickhouse LIBRARY [ENGINE OPTION]…` loads the library, starts its HTTP and native listeners as the
//! configuration file among the options says, prints `clickhouse ready` when they accept connections, and serves until
//! SIGTERM or SIGINT. A second signal ends it at once.
//!
//! Exit status: 0 after a signal, 1 when the engine failed (a taken port, a locked data folder, a bad configuration),
//! 2 when the library could not be loaded or the command line is incomplete.
//!
//! The library is meant for embedding; what makes it a server is its own client mode with a terminal as input, see
//! [`terminal`]. It has no TLS listener: that belongs to whatever stands in front.

mod engine;
mod signals;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(library) = arguments.next() else {
        eprintln!("usage: tapekeeper-test-clickhouse LIBRARY [ENGINE OPTION]...");
        return ExitCode::from(2);
    };
    let engine = match engine::Engine::load(&library) {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("clickhouse: {error}");
            return ExitCode::from(2);
        }
    };
    match serve(engine, arguments.collect()) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("clickhouse: {error}");
            ExitCode::from(1)
        }
    }
}

fn serve(engine: engine::Engine, options: Vec<String>) -> std::io::Result<std::convert::Infallible> {
    // `SYSTEM SHUTDOWN` signals the whole process group: it must be ours alone.
    signals::lead_own_group();
    // Before the engine's first thread exists, so that every thread inherits the mask and only `wait` sees a signal.
    let signals = signals::Signals::block()?;
    let terminal = terminal::Terminal::take_over_stdio()?;
    let history = terminal::history_file()?;
    let engine = engine.run(options, &history, signals.waker())?;

    let keyboard = terminal.watch_screen();
    let mut closing = false;
    loop {
        match signals.wait()? {
            signals::Event::EngineEnded => {
                let failed = engine.failed() || !closing;
                signals::exit_without_destructors(i32::from(failed));
            }
            signals::Event::StopRequested if closing => signals::exit_without_destructors(1),
            signals::Event::StopRequested => {
                closing = true;
                keyboard.type_line("exit")?;
            }
        }
    }
}
