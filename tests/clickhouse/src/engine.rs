//! The engine library: loading it, and running its command line on a thread.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::signals::Waker;
use crate::terminal::{PROMPT, READY};

/// `chdb_result* chdb_query_cmdline(int argc, char** argv)`, from the library's `chdb.h`.
type QueryCommandLine = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;
/// `const char* chdb_result_error(chdb_result*)`: null or empty when the command line ended well.
type ResultError = unsafe extern "C" fn(*mut c_void) -> *const c_char;

/// The engine's main thread recurses deeply while it parses and plans; the default of 2 MiB is not enough.
const STACK_BYTES: usize = 16 << 20;

/// The loaded library.
pub(crate) struct Engine {
    query_command_line: QueryCommandLine,
    result_error: ResultError,
}

/// The engine at work on its own thread.
pub(crate) struct Running {
    failed: Arc<AtomicBool>,
}

impl Engine {
    /// Loads `path`; the library then stays loaded until the process ends.
    #[allow(unsafe_code)]
    pub(crate) fn load(path: &str) -> Result<Self, libloading::Error> {
        // SAFETY: the library's initialisers expect to run once, before any of its functions; nothing else loads it.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }?;
        // The engine's threads outlive every scope of ours: never unload.
        let library: &'static Library = Box::leak(Box::new(library));
        // SAFETY: both names are exported with exactly these C signatures (chdb.h), and the library is never unloaded.
        unsafe {
            Ok(Self {
                query_command_line: *library.get::<QueryCommandLine>(c"chdb_query_cmdline")?,
                result_error: *library.get::<ResultError>(c"chdb_result_error")?,
            })
        }
    }

    /// Starts the engine with `options`, and wakes `waker`'s thread when it has ended, well or not.
    pub(crate) fn run(self, options: Vec<String>, history_file: &str, waker: Waker) -> io::Result<Running> {
        let mut arguments = vec!["clickhouse".to_owned()];
        arguments.extend(options);
        arguments.push(format!("--history_file={history_file}"));
        arguments.extend(["--interactive", "--disable_suggestion", "--progress=off", "--progress-table=off"].map(str::to_owned));
        arguments.push(format!("--prompt={PROMPT}"));
        arguments.push(format!("--query=SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT 1 AS {READY}"));
        let arguments = arguments.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>()?;

        let failed = Arc::new(AtomicBool::new(false));
        let running = Running { failed: Arc::clone(&failed) };
        std::thread::Builder::new().name("engine".into()).stack_size(STACK_BYTES).spawn(move || {
            if let Err(message) = self.run_to_end(arguments) {
                eprintln!("clickhouse: {message}");
                failed.store(true, Ordering::SeqCst);
            }
            waker.engine_ended();
        })?;
        Ok(running)
    }

    #[allow(unsafe_code)]
    fn run_to_end(&self, arguments: Vec<CString>) -> Result<(), String> {
        let count = c_int::try_from(arguments.len()).map_err(|error| error.to_string())?;
        let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
        pointers.push(std::ptr::null_mut());
        // The engine keeps pointers into its argv: both the strings and the array live as long as the process.
        let pointers = pointers.leak();
        // SAFETY: argv is `count` NUL-terminated strings and a null pointer, none of them ever freed or moved.
        let result = unsafe { (self.query_command_line)(count, pointers.as_mut_ptr()) };
        if result.is_null() {
            return Err("the engine gave no result".to_owned());
        }
        // SAFETY: `result` is a result of this library that nobody has destroyed.
        let error = unsafe { (self.result_error)(result) };
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: a non-null error is a NUL-terminated string owned by `result`, which is never destroyed.
        match unsafe { CStr::from_ptr(error) } {
            empty if empty.is_empty() => Ok(()),
            message => Err(message.to_string_lossy().into_owned()),
        }
    }
}

impl Running {
    /// Whether the engine ended with an error.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}
