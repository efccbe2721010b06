//! libnftables, loaded when the first fault needs it: a machine without it can still do all
//! that needs no packet filter.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libloading::Library;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};

use crate::{Error, Result};

const LIBRARY: &str = "libnftables.so.1";

/// The functions we call, with the signatures of `nftables/libnftables.h`.
struct Functions {
    ctx_new: unsafe extern "C" fn(c_uint) -> *mut c_void,
    ctx_free: unsafe extern "C" fn(*mut c_void),
    ctx_buffer_output: unsafe extern "C" fn(*mut c_void) -> c_int,
    ctx_buffer_error: unsafe extern "C" fn(*mut c_void) -> c_int,
    ctx_get_output_buffer: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    ctx_get_error_buffer: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    run_cmd_from_buffer: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    /// Never unloaded: the functions above point into it.
    _library: Library,
}

impl Functions {
    fn load() -> std::result::Result<Self, libloading::Error> {
        // SAFETY: the library is the system's own; its initialisers have no preconditions.
        let library = unsafe { Library::new(LIBRARY)? };
        // SAFETY: each type is that of the function in the library's public header, which the
        // version in the library's name (.so.1) promises to keep.
        unsafe {
            Ok(Self {
                ctx_new: *library.get(c"nft_ctx_new")?,
                ctx_free: *library.get(c"nft_ctx_free")?,
                ctx_buffer_output: *library.get(c"nft_ctx_buffer_output")?,
                ctx_buffer_error: *library.get(c"nft_ctx_buffer_error")?,
                ctx_get_output_buffer: *library.get(c"nft_ctx_get_output_buffer")?,
                ctx_get_error_buffer: *library.get(c"nft_ctx_get_error_buffer")?,
                run_cmd_from_buffer: *library.get(c"nft_run_cmd_from_buffer")?,
                _library: library,
            })
        }
    }
}

fn functions() -> Result<&'static Functions> {
    static FUNCTIONS: OnceLock<std::result::Result<Functions, String>> = OnceLock::new();
    FUNCTIONS.get_or_init(|| Functions::load().map_err(|e| e.to_string())).as_ref().map_err(|why| {
        Error::Missing {
            what: LIBRARY.into(),
            how: format!("install the package nftables or libnftables1 ({why})"),
        }
    })
}

/// Loads the library, to know early whether it is there.
pub(super) fn present() -> Result<()> {
    functions().map(|_| ())
}

/// libnftables keeps tables of names in globals that every new context fills again, so one
/// thread at a time is in it.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static GATE: Mutex<()> = Mutex::new(());
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A libnftables context: one netlink socket, in the network namespace of the thread that made
/// it. It is not `Send`; it stays on that thread, whose file table holds the socket.
pub(super) struct Context {
    functions: &'static Functions,
    raw: *mut c_void,
}

impl Context {
    /// A context in the namespace of the calling thread.
    pub(super) fn new() -> Result<Self> {
        let functions = functions()?;
        // libnftables ends the process when it cannot open its socket; so we open one first.
        socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )
        .map_err(|e| Error::Missing {
            what: "netfilter in the kernel".into(),
            how: format!(
                "load the module (modprobe nf_tables), or boot a kernel with CONFIG_NF_TABLES ({e})"
            ),
        })?;
        let _gate = one_at_a_time();
        // SAFETY: 0 is NFT_CTX_DEFAULT, the only flag there is.
        let raw = unsafe { (functions.ctx_new)(0) };
        if raw.is_null() {
            return Err(Error::system(
                "make a libnftables context",
                std::io::Error::from(std::io::ErrorKind::OutOfMemory),
            ));
        }
        let context = Self { functions, raw };
        // SAFETY: `raw` is a live context. Without buffers it would write to our stdout.
        let failed = unsafe {
            (functions.ctx_buffer_output)(raw) != 0 || (functions.ctx_buffer_error)(raw) != 0
        };
        if failed {
            return Err(Error::system(
                "buffer what libnftables says",
                std::io::Error::from(std::io::ErrorKind::OutOfMemory),
            ));
        }
        Ok(context)
    }

    /// Runs commands, as one transaction, and gives what they print. The error is what
    /// libnftables said, on one line.
    pub(super) fn run(&mut self, commands: &str) -> std::result::Result<String, String> {
        let commands = CString::new(commands).map_err(|e| e.to_string())?;
        let _gate = one_at_a_time();
        // SAFETY: `raw` is a live context and `commands` a string that outlives the call.
        let status = unsafe { (self.functions.run_cmd_from_buffer)(self.raw, commands.as_ptr()) };
        // SAFETY: as above; the buffers are the context's, and copied before its next use.
        let (output, said) = unsafe {
            (
                text((self.functions.ctx_get_output_buffer)(self.raw)),
                text((self.functions.ctx_get_error_buffer)(self.raw)),
            )
        };
        if status == 0 { Ok(output) } else { Err(one_line(&said)) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let _gate = one_at_a_time();
        // SAFETY: `raw` is a live context that nobody uses after this.
        unsafe { (self.functions.ctx_free)(self.raw) }
    }
}

/// # Safety
/// `buffer` is null or a string that lives until this returns.
unsafe fn text(buffer: *const c_char) -> String {
    if buffer.is_null() {
        return String::new();
    }
    // SAFETY: by the caller's promise.
    unsafe { CStr::from_ptr(buffer) }.to_string_lossy().into_owned()
}

/// The message alone: libnftables repeats the command and underlines the place in it.
fn one_line(said: &str) -> String {
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("Error:")).collect();
    if errors.is_empty() { said.trim().replace('\n', "; ") } else { errors.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_without_the_echo_of_the_command() {
        let said = "internal:0:0-0: Error: Could not process rule: Operation not supported\n\nadd table\n^^^\n";
        assert_eq!(
            one_line(said),
            "internal:0:0-0: Error: Could not process rule: Operation not supported"
        );
        assert_eq!(one_line("out of memory\n"), "out of memory");
    }
}
