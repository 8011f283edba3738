//! Work that would hold the server for too long in one script, done in steps.

use parking_lot::Mutex;

use super::server::Server;
use crate::fault::Fault;

/// The server's word for the beginning and for the end of a look through all keys.
const FIRST_LOOK: &str = "0";

/// The most steps of a look through all keys, each of about a thousand, in one call.
const LOOKS: u32 = 10;

/// Lets go dependents that were too many for the script in which their job ended, in at most so many `steps`.
pub(super) async fn release(server: &Server, steps: u32) -> Result<(), Fault> {
    for _ in 0..steps {
        let call = server.prepare(&server.scripts.release);
        let is_more: u8 = server.link.invoke(&call, || "let dependents go".to_owned()).await?;
        if is_more == 0 {
            break;
        }
    }
    Ok(())
}

/// A look through all keys, a part at a time.
pub(super) struct KeyLook {
    /// Where its next part begins.
    next: Mutex<String>,
}

impl Default for KeyLook {
    fn default() -> Self {
        Self { next: Mutex::new(FIRST_LOOK.to_owned()) }
    }
}

impl KeyLook {
    /// Forgets unique keys of jobs that ended or went in a way that nobody here saw.
    pub(super) async fn free_keys(&self, server: &Server) -> Result<(), Fault> {
        for _ in 0..LOOKS {
            let mut call = server.prepare(&server.scripts.free_keys);
            call.arg(&*self.next.lock());
            let next: String =
                server.link.invoke(&call, || "look for unique keys that nobody holds".to_owned()).await?;
            let is_end = next == FIRST_LOOK;
            *self.next.lock() = next;
            if is_end {
                break;
            }
        }
        Ok(())
    }
}
